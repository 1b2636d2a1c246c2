"""The thread pool of all kernels.

NumPy releases the interpreter lock inside its long calls, so several Python threads can run such calls at the same
time. BLAS uses one thread meanwhile (blas.py).

Results never depend on the number of threads. For that, a kernel divides its work into jobs by the shapes alone, never
by `get_num_threads`. Every job has its own part of the result, and partial sums are added in the order of the jobs.
"""

from __future__ import annotations

import contextvars
import os
import queue
import threading
from collections.abc import Callable, Generator, Iterable
from typing import Any, TypeAlias, TypeVar

from minires.blas import limit_this_thread, single_threaded_blas

Job = TypeVar("Job")
Result = TypeVar("Result")
Steps: TypeAlias = Generator[tuple[Callable[[Any], object], Iterable[Any]], None, Result]


def available_cpus() -> int:
    """Return the number of CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Region:
    """One call of `parallel_steps`: the jobs of the current step, their progress, and the first error."""

    def __init__(self, steps: Steps[Any], pool: _Pool) -> None:
        self.pool = pool
        self.helpers = 0  # how many workers were asked to help
        self.lock = threading.Lock()
        self.changed = threading.Condition(self.lock)  # notified when a step begins and when all are over
        self.steps = steps
        self.context = contextvars.copy_context()  # the caller's, for example with np.errstate
        self.function: Callable[[Any], object] | None = None
        self.jobs: list[Any] = []
        self.taken = 0  # how many jobs of the step have begun
        self.running = 0  # how many of them have not ended
        self.error: tuple[int, BaseException] | None = None
        self.result: Any = None
        self.over = False
        self._begin_next()

    def work(self) -> None:
        """Take and run jobs until all steps are over. After an error no further job begins."""
        was_inside, _local.inside = _local.inside, True
        try:
            while (index := self._take()) is not None:
                try:
                    assert self.function is not None
                    self.function(self.jobs[index])
                except BaseException as error:
                    self._finish(index, error)
                else:
                    self._finish(index, None)
        finally:
            _local.inside = was_inside

    def _take(self) -> int | None:
        """Return the index of the next job, or None if all steps are over; wait while no job is left in this step."""
        with self.lock:
            while not self.over and (self.error is not None or self.taken == len(self.jobs)):
                self.changed.wait()
            if self.over:
                return None
            self.taken += 1
            self.running += 1
            return self.taken - 1

    def _finish(self, index: int, error: BaseException | None) -> None:
        """Note that a job ended, and begin the next step after the last job."""
        with self.lock:
            if error is not None and (self.error is None or index < self.error[0]):
                self.error = (index, error)
            self.running -= 1
            if self.running == 0 and (self.error is not None or self.taken == len(self.jobs)):
                self._begin_next()
                self.changed.notify_all()

    def _begin_next(self) -> None:
        """Begin the next step that has jobs, in the thread that ended the last step, with the lock held.

        Workers are asked to help as soon as a step has jobs for them.
        """
        was_inside, _local.inside = _local.inside, True
        try:
            while self.error is None:
                self.function, jobs = next(self.steps)
                self.jobs, self.taken = list(jobs), 0
                if self.jobs:
                    more = min(self.pool.workers, len(self.jobs) - 1) - self.helpers
                    if more > 0:
                        self.helpers += more
                        self.pool.help(self, more)
                    return
        except StopIteration as end:
            self.result = end.value
        except BaseException as error:
            self.error = (0, error)
        finally:
            _local.inside = was_inside
        self.over = True
        self.function, self.jobs = None, []  # so that a worker that wakes late keeps no arrays alive

    def outcome(self) -> Any:
        """Return what the generator returned, or raise the error of the first job that failed. Then forget both."""
        result, error = self.result, self.error
        self.result = self.error = None
        if error is not None:
            raise error[1]
        return result


class _Pool:
    """``workers`` threads that take regions from a queue. They start at the first use."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.started = False
        self.lock = threading.Lock()
        self.regions: queue.SimpleQueue[_Region | None] = queue.SimpleQueue()

    def help(self, region: _Region, helpers: int) -> None:
        """Ask ``helpers`` workers to join a region. A worker that comes too late finds no jobs."""
        with self.lock:
            if not self.started:
                self.started = True
                for index in range(self.workers):
                    name = f"minires-{index}"
                    threading.Thread(target=_serve, args=(self.regions,), name=name, daemon=True).start()
        for _ in range(helpers):
            self.regions.put(region)

    def dismiss(self) -> None:
        """End the workers after their current regions."""
        for _ in range(self.workers):
            self.regions.put(None)


def _serve(regions: queue.SimpleQueue[_Region | None]) -> None:
    """Run a worker thread: work on regions until None arrives."""
    limit_this_thread()
    while (region := regions.get()) is not None:
        region.context.copy().run(region.work)
        del region  # otherwise an idle worker keeps the arrays of its last region alive


class _Local(threading.local):
    """Variables that each thread has for itself."""

    inside = False  # whether the thread is running a job


_local = _Local()
_pool = _Pool(available_cpus() - 1)
_pool_lock = threading.Lock()


def get_num_threads() -> int:
    """Return the number of threads that kernels run on, including the caller's."""
    return _pool.workers + 1


def set_num_threads(n: int) -> None:
    """Run kernels on ``n`` threads, including the caller's. This changes their speed, never their results.

    Raises
    ------
    ValueError : if ``n`` is not an integer of at least 1.
    """
    global _pool
    if not hasattr(n, "__index__") or isinstance(n, bool) or n < 1:
        raise ValueError(f"the number of threads must be an integer of at least 1, got {n!r}")
    with _pool_lock:
        if n != _pool.workers + 1:
            previous, _pool = _pool, _Pool(int(n) - 1)
            previous.dismiss()


def parallel(function: Callable[[Job], object], jobs: Iterable[Job]) -> None:
    """Call ``function(job)`` for every job, in any order, on the pool's threads; return when all have ended.

    The caller's thread runs jobs too, so a call ends even if no worker is free. Several threads may call at the same
    time. A call inside one of several jobs runs in that job's thread. BLAS uses one thread meanwhile.

    Raises
    ------
    The error of the earliest job that failed. Jobs that have not begun by then do not run.
    """
    jobs = list(jobs)
    if len(jobs) > 1:
        parallel_steps(_one_step(function, jobs))
    elif jobs:
        with single_threaded_blas():
            function(jobs[0])


def _one_step(function: Callable[[Job], object], jobs: list[Job]) -> Steps[None]:
    yield function, jobs


def parallel_steps(steps: Steps[Result]) -> Result:
    """Run several steps of jobs one after the other, but wake the threads only once.

    Waking a thread takes as long as ten thousand additions or more. So a kernel of several steps is written as one
    generator. One thread runs the code between two steps, when all jobs of the first step have ended:

        def mean_and_centred():
            yield add_up, blocks
            mean[...] = sums.sum(0) / len(x)
            yield subtract_mean, blocks
            return mean

    Parameters
    ----------
    steps : a generator of pairs ``(function, jobs)``

    Returns
    -------
    what the generator returns

    Raises
    ------
    The error of a job, as `parallel` does, or of the generator. Steps that have not begun by then do not run.
    """
    with single_threaded_blas():
        pool = _pool
        if pool.workers < 1 or _local.inside:
            return _in_this_thread(steps)
        region = _Region(steps, pool)
        region.work()
        result: Result = region.outcome()
        return result


def _in_this_thread(steps: Steps[Result]) -> Result:
    """Run all steps without the pool."""
    while True:
        try:
            function, jobs = next(steps)
        except StopIteration as end:
            result: Result = end.value
            return result
        for job in jobs:
            function(job)


def _after_fork() -> None:
    """Start afresh in a child process: it has no workers, and a thread of the parent may have held the lock."""
    global _pool, _pool_lock
    _pool_lock = threading.Lock()
    _pool = _Pool(_pool.workers)
    _local.inside = False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
