"""Tasks spread over processes, any of which may be killed: another one then takes its task again.

The standard pool ends all of its work when one process is killed, as the kernel does where memory
is short. Here each process has a pipe, over which it is given one task at a time, so that the
parent knows what a dead one was at.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, Generic, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

#: How many processes a task may end before it is given up.
LIVES = 2


@dataclass(frozen=True)
class Killed:
    """A process ended in the middle of a task.

    Attributes:
        exit_code: of the process; negative for a signal.
        again: whether another process will take the task.
    """

    exit_code: int
    again: bool

    def __str__(self) -> str:
        if self.exit_code >= 0:
            return f"its process ended with exit code {self.exit_code}"
        number = -self.exit_code
        return f"its process was killed (signal {number}, {signal.strsignal(number)})"


@dataclass(frozen=True)
class _Raised:
    error: Exception


@dataclass(eq=False)
class _Worker(Generic[Task]):
    process: SpawnProcess
    pipe: Connection
    task: int

    @property
    def waits_for(self) -> list[Any]:
        return [self.pipe, self.process.sentinel]


def in_processes(
    tasks: Sequence[Task], do: Callable[[Task], Result], processes: int
) -> Generator[tuple[Task, Result | Killed], None, None]:
    """Do tasks in several processes; the outcome of each as it comes.

    A task whose process is killed is done again after all others; it is given up, with a last
    `Killed`, when it has ended `LIVES` processes. The processes end with the one that started them.

    Args:
        tasks: taken in this order; they travel to other processes.
        do: is called with a task in another process.
        processes: how many to use at most, at least 1.

    Raises:
        Exception: what `do` raised; the other processes are ended then.
    """
    waiting, deaths = deque(range(len(tasks))), Counter[int]()
    crew: list[_Worker[Task]] = []
    try:
        while waiting or crew:
            while waiting and len(crew) < processes:
                crew.append(_start(do, tasks, waiting.popleft()))
            ready = wait([thing for worker in crew for thing in worker.waits_for])
            for worker in [w for w in crew if any(thing in ready for thing in w.waits_for)]:
                outcome = _outcome(worker)
                if isinstance(outcome, _Raised):
                    raise outcome.error
                done = worker.task
                if isinstance(outcome, int):
                    crew.remove(worker)
                    deaths[done] += 1
                    killed = Killed(outcome, again=deaths[done] < LIVES)
                    if killed.again:
                        waiting.append(done)
                    yield tasks[done], killed
                    continue
                if waiting:
                    _give(worker, tasks, waiting.popleft())
                else:
                    crew.remove(worker)
                    worker.pipe.close()  # which tells it to end
                    worker.process.join()
                yield tasks[done], outcome[0]
    finally:
        for worker in crew:
            worker.process.terminate()
            worker.process.join()


def _start(do: Callable[[Task], Any], tasks: Sequence[Task], number: int) -> _Worker[Task]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(do, theirs))
    process.start()
    theirs.close()
    worker: _Worker[Task] = _Worker(process, ours, number)
    _give(worker, tasks, number)
    return worker


def _give(worker: _Worker[Task], tasks: Sequence[Task], number: int) -> None:
    worker.task = number
    try:
        worker.pipe.send(tasks[number])
    except OSError:  # it is dead already: `_outcome` will see it
        return


def _outcome(worker: _Worker[Task]) -> tuple[Any] | _Raised | int:
    """What a process says: a result, what was raised; or the exit code of a dead one."""
    try:
        if worker.pipe.poll():
            said: tuple[Any] | _Raised = worker.pipe.recv()
            return said
    except (EOFError, OSError):
        pass
    # Only a process that was waited for has dropped its locks.
    worker.process.join()
    worker.pipe.close()
    return worker.process.exitcode or 0


def _serve(do: Callable[[Any], Any], pipe: Connection) -> None:
    """Another process: do what comes over the pipe until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it too, and ends us
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            task = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send((do(task),))
        except Exception as error:
            pipe.send(_Raised(_portable(error)))


def _portable(error: Exception) -> Exception:
    """An error that survives the way to the parent."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _end_with_parent() -> None:
    """A parent that was killed cannot end its children; hours of training would go on unseen."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
