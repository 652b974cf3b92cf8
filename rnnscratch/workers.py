"""Data-parallel training: several processes each take a part of every batch, and their gradients are added up.

Rank 0 trains. For each batch the others take its parameters, find the gradient of their part of the batch, and give it
back. All that passes between them goes through a `Communicator`: `Processes` on one machine, where arrays are in shared
memory, or `MPI` on several.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import pickle
import signal
import sys
import traceback
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, Protocol

import numpy as np

from .backend import Array, blas_threads, get_array_module
from .checks import check_sizes
from .progress import shown

MAIN_GUARD = '; a script must be a file, and start workers under `if __name__ == "__main__":`'


class WorkerFailed(RuntimeError):
    """A worker raised an error, or its process was ended."""


class Communicator(Protocol):
    """What passes between `size` processes, of which this one is number `rank`. All call the same in the same order."""

    rank: int
    size: int

    def scatter(self, values: Sequence[Any] | None) -> Any:
        """Of rank 0's values, one for each rank, this rank's. The others give None."""

    def gather(self, value: Any) -> list[Any] | None:
        """On rank 0 the values of all, by rank; on others None."""

    def share(self, arrays: Mapping[str, Array]) -> None:
        """Fill everyone's arrays with those of rank 0."""

    def sum(self, arrays: Mapping[str, Array]) -> None:
        """Add everyone's arrays to those of rank 0, in the order of ranks, so that the bits are always the same."""


class MPI:
    """The processes that `mpiexec -n 2 python -m mpi4py train.py` starts, each of which runs the whole script.

    `comm` is a communicator of mpi4py (extra `mpi`): its COMM_WORLD where none is given. With `-m mpi4py` an error
    that one process has before or after training ends all of them, where the others would wait for it.
    """

    def __init__(self, comm: Any = None):
        if comm is None:
            from mpi4py import MPI as mpi

            comm = mpi.COMM_WORLD
        self._comm = comm
        self.rank, self.size = comm.Get_rank(), comm.Get_size()
        self.scatter, self.gather = comm.scatter, comm.gather

    def share(self, arrays: Mapping[str, Array]) -> None:
        """See `Communicator`."""
        for array in arrays.values():
            self._comm.Bcast(array)

    def sum(self, arrays: Mapping[str, Array]) -> None:
        """See `Communicator`."""
        for array in arrays.values():
            if self.rank:
                self._comm.Send(array, dest=0)
                continue
            received = np.empty_like(array)
            for rank in range(1, self.size):
                self._comm.Recv(received, source=rank)
                array += received


class Shared:
    """One process's end of shared memory, which holds rank 0's parameters and then the gradients of each other rank."""

    def __init__(self, rank: int, size: int, memory: Any, ends: list[Connection]):
        self.rank, self.size, self._memory = rank, size, memory
        self._ends = ends  # of rank 0 to each of the others, and of those to rank 0

    def scatter(self, values: Sequence[Any] | None) -> Any:
        """See `Communicator`."""
        if values is None:
            return self._ends[0].recv()
        for rank, value in enumerate(values[1:], 1):
            self._send(rank, value)
        return values[0]

    def gather(self, value: Any) -> list[Any] | None:
        """See `Communicator`."""
        if self.rank:
            self._ends[0].send(value)
            return None
        return [value, *(self._receive(rank) for rank in range(1, self.size))]

    def share(self, arrays: Mapping[str, Array]) -> None:
        """See `Communicator`."""
        views = self._views(0, arrays)
        if self.rank:
            self._ends[0].recv()  # a sign that they are there
            for array, view in zip(arrays.values(), views):
                array[...] = view
            return
        for array, view in zip(arrays.values(), views):
            view[...] = array
        for rank in range(1, self.size):
            self._send(rank, None)

    def sum(self, arrays: Mapping[str, Array]) -> None:
        """See `Communicator`."""
        if self.rank:
            for array, view in zip(arrays.values(), self._views(self.rank, arrays)):
                view[...] = array
            self._ends[0].send(None)
            return
        for rank in range(1, self.size):
            self._receive(rank)
            for array, view in zip(arrays.values(), self._views(rank, arrays)):
                array += view

    def _send(self, rank: int, value: Any) -> None:
        self._ends[rank - 1].send(value)

    def _receive(self, rank: int) -> Any:
        return self._ends[rank - 1].recv()

    def _views(self, rank: int, arrays: Mapping[str, Array]) -> list[np.ndarray]:
        """The place in shared memory of that rank's arrays."""
        place, found = rank * room(arrays), []
        for array in arrays.values():
            found.append(np.frombuffer(self._memory, array.dtype, array.size, place).reshape(array.shape))
            place += padded(array)
        return found


def padded(array: Array) -> int:
    """The bytes of an array, rounded up to whole lines of the cache."""
    return -(-array.nbytes // 64) * 64


def room(arrays: Mapping[str, Array]) -> int:
    """The bytes of all of them in shared memory."""
    return sum(map(padded, arrays.values()))


class Processes(Shared):
    """New processes beside this one, which is rank 0; they end with `close`, or when this one ends.

    Their memory has no name, so nothing is left of it however they end. Raises TypeError for a model that cannot be
    pickled, and WorkerFailed where a process does not start.
    """

    def __init__(self, model: Any, size: int):
        try:
            pickled = pickle.dumps(model)
        except Exception as error:
            raise TypeError(f"model cannot be sent to workers: {error}; expected one that can be pickled") from error
        context = multiprocessing.get_context("spawn")  # a process that has threads cannot be forked safely
        memory = context.RawArray("b", max(1, size * room(model.params)))
        super().__init__(0, size, memory, [])
        self._processes: list[Any] = []
        self._starting = True
        try:
            for rank in range(1, size):
                mine, theirs = context.Pipe()
                self._ends.append(mine)
                process = context.Process(target=work, args=(rank, size, memory, theirs), daemon=True)
                with contextlib.redirect_stdout(shown(sys.stdout)), contextlib.redirect_stderr(shown(sys.stderr)):
                    process.start()  # which flushes both, whether anybody reads them or not
                self._processes.append(process)
                theirs.close()  # so that one sees from `mine` that the process has ended
            self.scatter([None, *[pickled] * (size - 1)])
            raise_failures(self.gather(None))
        except BaseException:
            self.close()
            raise
        self._starting = False

    def _send(self, rank: int, value: Any) -> None:
        try:
            super()._send(rank, value)
        except OSError as error:
            self._has_ended(rank, error)

    def _receive(self, rank: int) -> Any:
        try:
            return super()._receive(rank)
        except (EOFError, OSError) as error:
            self._has_ended(rank, error)

    def _has_ended(self, rank: int, error: Exception) -> None:
        process = self._processes[rank - 1]
        process.join(5.0)
        if process.is_alive():  # then that is not what went wrong
            raise error
        hint = MAIN_GUARD if self._starting else ""
        raise WorkerFailed(f"worker {rank} ended with exit code {process.exitcode}{hint}") from None

    def close(self) -> None:
        """End the processes, those that are at work too."""
        for end in self._ends:
            end.close()
        for process in self._processes:
            process.join(1.0)
            if process.is_alive():
                process.kill()
                process.join()


class Part(NamedTuple):
    """What one rank does for one update."""

    batch: Any  # None where the batch has fewer parts than there are ranks
    share: float  # the part's weight in the batch's mean
    seed: int | None  # of chance in ranks other than 0
    fixed: frozenset[str] = frozenset()  # the parameters that do not learn


class End(NamedTuple):
    """What other ranks hear at the end of training."""

    result: Any
    error: str | None


class Failure(NamedTuple):
    """An error in a worker."""

    traceback: str


def raise_failures(values: list[Any] | None) -> None:
    """Raise WorkerFailed if a rank gave a `Failure` to `gather`."""
    for rank, value in enumerate(values or []):
        if isinstance(value, Failure):
            raise WorkerFailed(f"worker {rank} failed:\n{value.traceback}")


class Team:
    """The processes that train one model, for the time of a `with`, as `training.fit(workers=...)` names them."""

    def __init__(self, model: Any, workers: Any):
        self.size = check_workers(workers, model)
        self.rank = 0
        self.result: Any = None  # what the other ranks of `mpiexec` are to hear at the end
        self._model, self._workers = model, workers

    def __enter__(self) -> Team:
        own = isinstance(self._workers, (int, np.integer))
        self._communicator = Processes(self._model, self.size) if own and self.size > 1 else self._workers
        if not own:
            self.rank = self._workers.rank
        return self

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        if isinstance(self._communicator, Processes):
            self._communicator.close()
        elif self.size > 1 and self.rank == 0:
            end = End(self.result, None if error is None else f"{kind.__name__}: {error}")
            self._communicator.scatter([end] * self.size)
            self._communicator.share(self._model.params)

    def follow(self) -> Any:
        """On ranks other than 0, work until rank 0 has done; its `result`. The model ends with its parameters."""
        end = serve(self._model, self._communicator)
        self._communicator.share(self._model.params)
        if end.error is not None:
            raise WorkerFailed(f"rank 0 ended with {end.error}")
        return end.result

    def gradient(self, batch: Any) -> tuple[Any, dict[str, Any]]:
        """Fill the model's `grads`; the batch's mean loss, and further figures."""
        model, communicator = self._model, self._communicator
        if self.size == 1:
            loss, back, figures = model.batch_loss(batch, train=True)
            back()
            return loss, figures
        rng = getattr(model, "rng", None)
        batches = model.split(batch, self.size)
        if not 0 < len(batches) <= self.size:
            raise ValueError(f"split gives {len(batches)} parts of a batch, expected 1 to {self.size}")
        weights = [float(model.weight(each)) if hasattr(model, "weight") else 1.0 for each in batches]
        seed = int(rng.integers(2**63)) if isinstance(rng, np.random.Generator) else None
        fixed = frozenset(getattr(model, "fixed", ()))
        parts = [Part(each, weight / sum(weights), seed, fixed) for each, weight in zip(batches, weights)]
        parts += [Part(None, 0.0, None, fixed)] * (self.size - len(parts))
        mine = communicator.scatter(parts)
        communicator.share(model.params)
        error: BaseException | None = None
        try:
            found = take_part(model, mine)
        except BaseException as raised:  # the others wait for gather and sum
            found, error = {}, raised
        results = communicator.gather(found)
        communicator.sum(model.grads)
        if error is not None:
            raise error
        raise_failures(results)
        total: dict[str, float] = {}
        for part, result in zip(parts, results or []):
            for name, value in result.items():
                total[name] = total.get(name, 0.0) + part.share * value
        return total.pop("loss"), total


def take_part(model: Any, part: Part) -> dict[str, float]:
    """Fill the model's `grads` with the part's share of the batch's gradient; the part's loss and further figures."""
    figures: dict[str, Any] = {}
    if hasattr(model, "fixed") and model.fixed != part.fixed:
        model.fixed = part.fixed
    if part.batch is not None:
        loss, back, figures = model.batch_loss(part.batch, train=True)
        back()
        figures = {"loss": loss, **figures}
    for gradient in model.grads.values():
        gradient *= part.share
    return {name: float(value) for name, value in figures.items()}


def serve(model: Any, communicator: Any) -> End:
    """What ranks other than 0 do until rank 0 has done."""
    rng = getattr(model, "rng", None)
    with blas_threads(model.params, communicator.size), np.errstate(over="ignore", invalid="ignore"):
        while True:
            task = communicator.scatter(None)
            if isinstance(task, End):
                return task
            communicator.share(model.params)
            if rng is not None and task.seed is not None:
                source = np.random.SeedSequence([task.seed, communicator.rank])
                rng.bit_generator.state = type(rng.bit_generator)(source).state
            try:
                found: Any = take_part(model, task)
            except Exception:
                found = Failure(traceback.format_exc())
            communicator.gather(found)
            communicator.sum(model.grads)


def work(rank: int, size: int, memory: Any, end: Connection) -> None:
    """A process of `Processes`, from its first line to its last."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # rank 0 is interrupted, and then ends the others
    shared = Shared(rank, size, memory, [end])
    with contextlib.suppress(EOFError, ConnectionError):  # rank 0 has ended
        pickled = shared.scatter(None)
        try:
            model = pickle.loads(pickled)
        except Exception:
            advice = "a model's class must be in a module that can be imported, not in a notebook"
            shared.gather(Failure(f"{traceback.format_exc()}{advice}"))
            return
        shared.gather(None)
        serve(model, shared)


def check_workers(workers: Any, model: Any) -> int:
    """How many processes train. Raises ValueError or TypeError for a wrong number, or a model that cannot be shared."""
    if isinstance(workers, (int, np.integer)) or not hasattr(workers, "scatter"):
        check_sizes(workers=workers)
        size = int(workers)
    else:
        size = workers.size
    if size > 1 and not hasattr(model, "split"):
        raise TypeError(f"workers is {size}, but {type(model).__name__} has no split(batch, parts): see Trainable")
    if size > 1 and get_array_module(*model.params.values()) is not np:
        raise ValueError(f"workers is {size}, expected 1 for a model on the GPU")
    for name, array in model.params.items() if size > 1 else ():
        if not (array.flags.c_contiguous and model.grads[name].flags.c_contiguous):
            raise ValueError(f"params[{name!r}] or its gradient is not C-contiguous, as what is shared must be")
    return size
