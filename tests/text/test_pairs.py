"""Batches of pairs: every pair once, framed by start and end, in buckets of both lengths."""

from __future__ import annotations

import numpy as np
import pytest

from rnnscratch.text import PairBatches


def pairs(count, seed=0):
    rng = np.random.default_rng(seed)
    sources = [rng.integers(3, 50, rng.integers(1, 30)) for _ in range(count)]
    targets = [rng.integers(3, 50, rng.integers(0, 30)) for _ in range(count)]
    return sources, targets


@pytest.mark.parametrize("shuffle", [False, True])
def test_every_pair_comes_once_with_start_and_end(shuffle):
    sources, targets = pairs(103)
    batches = PairBatches(sources, targets, 8, shuffle, seed=0)
    seen = []
    for batch in batches:
        assert (batch.lengths == batch.source_lengths + batch.target_lengths).all()
        assert batch.source.shape == (batch.source_lengths.max(), len(batch.indices))
        assert batch.target_in.shape == batch.target_out.shape == (batch.target_lengths.max(), len(batch.indices))
        for column, k in enumerate(batch.indices):
            S, T = batch.source_lengths[column], batch.target_lengths[column]
            assert batch.source[:S, column].tolist() == sources[k].tolist()
            assert batch.target_in[:T, column].tolist() == [1, *targets[k]]
            assert batch.target_out[:T, column].tolist() == [*targets[k], 2]
            for ids, end in ((batch.source, S), (batch.target_in, T), (batch.target_out, T)):
                assert not ids[end:, column].any()
        seen += batch.indices.tolist()
    assert sorted(seen) == list(range(103)) and len(batches) == 13
    again = [batch.indices.tolist() for batch in batches]
    assert (again == [batch.indices.tolist() for batch in batches]) != shuffle


def test_buckets_hold_pairs_of_about_the_same_lengths():
    sources, targets = pairs(2000)
    padded, alone = [0, 0], [0, 0]
    for shuffle in (False, True):
        for batch in PairBatches(sources, targets, 16, shuffle, seed=1):
            for side, (ids, lengths) in enumerate(
                ((batch.source, batch.source_lengths), (batch.target_in, batch.target_lengths))
            ):
                padded[side] += ids.size
                alone[side] += lengths.sum()
    assert padded[0] < 1.06 * alone[0] and padded[1] < 1.45 * alone[1]


def test_both_sides_keep_their_first_ids_and_an_empty_source_becomes_one_unknown_token():
    (batch,) = PairBatches([[], [3, 4, 5, 6]], [[7, 8, 9], []], max_length=2)
    order = np.argsort(batch.indices)
    assert batch.source[:, order].T.tolist() == [[0, 0], [3, 4]]
    assert batch.source_lengths[order].tolist() == [1, 2]
    assert batch.target_out[:, order].T.tolist() == [[7, 8, 2], [2, 0, 0]]


def test_a_summary_tells_data_apart():
    sources, targets = pairs(9)
    first = PairBatches(sources, targets).summary()
    assert first == PairBatches(sources, targets, 3, True, seed=4).summary()
    assert first["pairs"] == 9 and first["tokens"] == sum(map(len, sources)) + sum(map(len, targets)) + 9
    assert first != PairBatches(targets and sources, [*targets[:-1], [3]]).summary()
    moved = PairBatches([[3], [4, 5]], [[6], [7]]).summary(), PairBatches([[3, 4], [5]], [[6], [7]]).summary()
    assert moved[0] != moved[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[3]], [[3], [4]]), "targets number 2, expected 1 as sources"),
        (([[3]], [[3, 2]]), r"targets\[0\] holds the id 1 or 2"),
        (([[3.5]], [[3]]), r"sources\[0\]"),
        (([], []), "sources is empty"),
        (([[3]], [[3]], 0), "batch_size is 0"),
        (([[3]], [[3]], 1, "yes"), "shuffle is 'yes'"),
        (([[3]], [[3]], 1, False, None, 0), "max_length is 0"),
    ],
)
def test_what_is_wrong_is_named(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        PairBatches(*arguments)
