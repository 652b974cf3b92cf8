"""How grid.cu, whose blocks wait for one another, divides a cell's units and a batch among the multiprocessors."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

THREADS = 512  # of a block


class Grid(NamedTuple):
    """Blocks of so many units, `tiles` of them, and of so many sequences, in `groups`; how many of the latter a block
    takes at a time, and its bytes of shared memory, forward and backward.
    """

    units: int
    tiles: int
    sequences: int
    groups: int
    threads: int
    rows_forward: int
    rows_backward: int
    bytes_forward: int
    bytes_backward: int


@lru_cache(maxsize=256)
def divide(G: int, H: int, B: int, size: int, multiprocessors: int, shared: int, threads: int) -> Grid | None:
    """The division with the least work of a block, and of these the one that reads h the least; None where the
    multiprocessors' shared memory, so many bytes of a block, does not hold U.

    G gates of H units, B sequences, numbers of so many bytes, blocks of so many threads.
    """
    found = []
    for units in (2, 4, 8, 16, 32):
        tiles = -(-H // units)
        if tiles > multiprocessors:
            continue
        groups = min(multiprocessors // tiles, -(-B // 4))
        sequences = -(-B // groups // 4) * 4  # a thread takes four at a time
        forward, backward = (rows_of(G, H, units, sequences, size, shared, threads, vectors) for vectors in (1, G))
        if forward and backward:
            rows, needs = (forward[0], backward[0]), (forward[1], backward[1])
            found.append(Grid(units, tiles, sequences, -(-B // sequences), threads, *rows, *needs))
    return min(found, key=lambda grid: (grid.sequences * grid.units, -grid.units), default=None)


def rows_of(
    G: int, H: int, units: int, sequences: int, size: int, shared: int, threads: int, vectors: int
) -> tuple[int, int] | None:
    """As many sequences as a block can take at a time, of `vectors` rows each, and the bytes that this needs."""
    columns, padded = G * units, -(-H // 4) * 4
    for rows in (32, 16, 8, 4):
        parts = min(threads // (columns // 2 * rows // 4), padded // 4)
        needs = (padded * columns + rows * vectors * (padded + 4) + parts * rows * columns) * size
        if parts and rows * units <= threads and needs <= shared and rows < 2 * sequences:
            return rows, needs
    return None


def sizes(grid: Grid, H: int) -> tuple[str, ...]:
    """What grid.cu is told of it."""
    rows = f"ROWS_FORWARD={grid.rows_forward}", f"ROWS_BACKWARD={grid.rows_backward}"
    return f"HIDDEN={H}", f"UNITS={grid.units}", f"THREADS={grid.threads}", *rows
