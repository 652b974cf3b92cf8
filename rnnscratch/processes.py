"""Other processes that compute beside this one, and end when it is done with them, however that comes about.

An executor of the standard library's waits at Python's end for what its processes are at work on, and an interrupt that
comes while it holds the lock of a future leaves it waiting for ever; here this process has no threads and no locks.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import pickle
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import wait
from typing import Any

from .progress import shown
from .workers import MAIN_GUARD, WorkerFailed


def as_done(
    function: Callable[[Any], Any],
    tasks: Iterable[Any],
    workers: int,
    begin: Callable[..., object] | None = None,
    *arguments: Any,
) -> Iterator[tuple[int, Any]]:
    """The number of each task and `function(task)`, as each is done by so many new processes.

    Each first calls `begin(*arguments)`. One task is drawn before a process asks for it. Where the iterator is closed,
    an error comes or this process is interrupted, what they are at work on is given up. Raises what `function` and
    `begin` do, and WorkerFailed where a process ends or an error cannot be sent.
    """
    context = multiprocessing.get_context("spawn")  # a process that has threads cannot be forked safely
    processes: dict[Any, Any] = {}  # by this process's end of what connects them
    at_work: dict[Any, int | None] = {}  # the number of the task; at first none
    try:
        for _ in range(workers):
            mine, theirs = context.Pipe()
            processes[mine] = context.Process(target=_work, args=(theirs, function, begin, arguments), daemon=True)
            with contextlib.redirect_stdout(shown(sys.stdout)), contextlib.redirect_stderr(shown(sys.stderr)):
                processes[mine].start()  # which flushes both, whether anybody reads them or not
            theirs.close()  # so that one sees from `mine` that the process has ended
            at_work[mine] = None
        numbered = enumerate(tasks)
        upcoming = next(numbered, None)
        while upcoming is not None or any(number is not None for number in at_work.values()):
            done, failed = [], None
            end: Any
            for end in wait(list(at_work)):
                number = at_work.pop(end)
                try:
                    result = _answer(end, processes[end])
                except Exception as error:
                    failed = error
                    break
                if number is not None:
                    done.append((number, result))
                if upcoming is not None:
                    at_work[end], task = upcoming
                    with contextlib.suppress(OSError):  # it has ended, which its answer tells
                        end.send(task)
                    upcoming = next(numbered, None)
            yield from done
            if failed is not None:
                raise failed
    finally:
        for process in processes.values():
            if process.pid is not None:  # else an interrupt came before it started
                process.kill()
        for end in processes:
            end.close()


def _answer(end: Any, process: Any) -> Any:
    """What a process has found, or that it has begun: nothing."""
    try:
        result, error = pickle.loads(end.recv_bytes())
    except (EOFError, OSError):
        process.join(5.0)
        hint = MAIN_GUARD if process.exitcode == 1 else ""
        raise WorkerFailed(f"a process ended with exit code {process.exitcode}{hint}") from None
    if error is not None:
        raise error
    return result


def _work(end: Any, function: Callable[[Any], Any], begin: Callable[..., object] | None, arguments: Any) -> None:
    """A process of `as_done`, from its first line to its last."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started it is interrupted, and then ends it

    def answer(ask: Callable[..., object], *arguments: Any) -> bytes:
        try:
            return pickle.dumps((ask(*arguments), None))
        except Exception as error:
            return _pickled(error)

    with contextlib.suppress(EOFError, ConnectionError):  # who started it has ended, or wants no more of it
        end.send_bytes(answer(begin, *arguments) if begin is not None else pickle.dumps((None, None)))
        while True:
            end.send_bytes(answer(function, end.recv()))


def _pickled(error: Exception) -> bytes:
    """An error to be raised elsewhere, as it is or where that cannot be sent as its words."""
    try:
        answer = pickle.dumps((None, error))
        pickle.loads(answer)
    except Exception:
        answer = pickle.dumps((None, WorkerFailed("".join(traceback.format_exception(error)))))
    return answer
