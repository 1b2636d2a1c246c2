"""The one thread pool, and its scratch buffers.

NumPy lets go of the interpreter lock inside its long calls, so Python threads that issue such calls run at
the same time. BLAS is held to one thread meanwhile (blas.py).

Results never depend on the number of threads. Whoever cuts work into jobs looks at the problem's shape, never
at `get_num_threads`, gives every job its own part of the result, and adds partial sums up in the order of the
jobs.
"""

from __future__ import annotations

import contextvars
import math
import os
import queue
import threading
import weakref
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from minires.blas import limit_this_thread, single_threaded_blas
from minires.memory import new_array

Job = TypeVar("Job")
Result = TypeVar("Result")
_Views: TypeAlias = dict[tuple[int, ...], npt.NDArray[Any]]
_MOST_VIEWS = 1000  # shapes in which a buffer is remembered
Steps: TypeAlias = Generator[tuple[Callable[[Any], object], Iterable[Any]], None, Result]


def available_cpus() -> int:
    """The number of CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


# --- The pool ---------------------------------------------------------------------------------------------


class _Region:
    """One call of `parallel_steps`: the jobs of the present step, how far they are, and the first error among them."""

    def __init__(self, steps: Steps[Any], pool: _Pool) -> None:
        self.pool, self.helpers = pool, 0
        self.lock = threading.Lock()
        self.changed = threading.Condition(self.lock)  # notified when a step begins, and when all is over
        self.steps = steps
        self.context = contextvars.copy_context()  # of the caller: np.errstate, for one
        self.function: Callable[[Any], object] | None = None
        self.jobs: list[Any] = []
        self.taken = self.running = 0
        self.error: tuple[int, BaseException] | None = None
        self.result: Any = None
        self.over = False
        self._begin_next()

    def work(self) -> None:
        """Take jobs and run them until all steps are over; after an error no further job is begun."""
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
        """The next job; None if all is over. While others run the last jobs of a step, wait for the next step."""
        with self.lock:
            while not self.over and (self.error is not None or self.taken == len(self.jobs)):
                self.changed.wait()
            if self.over:
                return None
            self.taken += 1
            self.running += 1
            return self.taken - 1

    def _finish(self, index: int, error: BaseException | None) -> None:
        with self.lock:
            if error is not None and (self.error is None or index < self.error[0]):
                self.error = (index, error)
            self.running -= 1
            if self.running == 0 and (self.error is not None or self.taken == len(self.jobs)):
                self._begin_next()
                self.changed.notify_all()

    def _begin_next(self) -> None:
        """Begin the next step that has jobs, in the thread that ended the last one, with the lock held.

        Threads are asked to help from the first step on that has jobs for them.
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
        self.function, self.jobs = None, []  # a worker that is slow to wake must not keep arrays alive

    def outcome(self) -> Any:
        """What the generator returned, or raise the error of the first job that failed; the region forgets either."""
        result, error = self.result, self.error
        self.result = self.error = None
        if error is not None:
            raise error[1]
        return result


class _Pool:
    """``workers`` threads that look for regions in a queue; they are started when first needed."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.started = False
        self.lock = threading.Lock()
        self.regions: queue.SimpleQueue[_Region | None] = queue.SimpleQueue()

    def help(self, region: _Region, helpers: int) -> None:
        """Ask ``helpers`` workers to join a region; one who comes when it is over finds nothing to do."""
        with self.lock:
            if not self.started:
                self.started = True
                for number in range(self.workers):
                    name = f"minires-{number}"
                    threading.Thread(target=_serve, args=(self.regions,), name=name, daemon=True).start()
        for _ in range(helpers):
            self.regions.put(region)

    def dismiss(self) -> None:
        """Let the workers end after what they are doing."""
        for _ in range(self.workers):
            self.regions.put(None)


def _serve(regions: queue.SimpleQueue[_Region | None]) -> None:
    limit_this_thread()
    while (region := regions.get()) is not None:
        region.context.copy().run(region.work)
        del region  # or an idle worker would keep the last region's arrays alive


class _Local(threading.local):
    """What each thread has for itself."""

    def __init__(self) -> None:
        self.inside = False  # whether the thread is running a job
        self.arena = _Arena()
        _arenas.add(self.arena)


class _Arena:
    """The scratch buffers of one thread, each with the views of it that were asked for."""

    def __init__(self) -> None:
        self.buffers: dict[tuple[str, np.dtype[Any]], tuple[npt.NDArray[Any], _Views]] = {}


_arenas: weakref.WeakSet[_Arena] = weakref.WeakSet()
_local = _Local()
_pool = _Pool(available_cpus() - 1)
_pool_lock = threading.Lock()


def get_num_threads() -> int:
    """The number of threads that kernels run on, the caller's included."""
    return _pool.workers + 1


def set_num_threads(n: int) -> None:
    """Run kernels on ``n`` threads, the caller's included. It changes their speed, never their results.

    Raises
    ------
    ValueError : if n is not an integer of at least 1.
    """
    global _pool
    if not hasattr(n, "__index__") or isinstance(n, bool) or n < 1:
        raise ValueError(f"the number of threads must be an integer of at least 1, got {n!r}")
    with _pool_lock:
        if n != _pool.workers + 1:
            previous, _pool = _pool, _Pool(int(n) - 1)
            previous.dismiss()


def parallel(function: Callable[[Job], object], jobs: Iterable[Job]) -> None:
    """Call ``function(job)`` for every job, in any order, on the pool's threads; return when all are done.

    The caller takes jobs too, so a call ends even if no worker is free. Several threads may call at the same
    time; a call from within a job runs in that job's thread. BLAS has one thread meanwhile.

    Raises
    ------
    Whatever a job raised: the error of the earliest job that failed. Jobs not begun by then are dropped.
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
    """Several calls of `parallel`, one after the other, for which the threads come together only once.

    To wake a thread takes as long as ten thousand additions or more, so kernels of several steps are written as one
    generator. What stands between two steps is run by one thread, when all jobs of the first are done:

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
    Whatever a job or the generator raised, as `parallel` does. Steps not begun by then are dropped.
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
    while True:
        try:
            function, jobs = next(steps)
        except StopIteration as end:
            result: Result = end.value
            return result
        for job in jobs:
            function(job)


# --- Scratch ----------------------------------------------------------------------------------------------


def scratch(key: str, shape: Sequence[int], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """An uninitialised C-order array for this thread, the same memory whenever it asks with the same key.

    The buffer grows as needed and stays until `release_scratch`: fresh pages cost more than the arithmetic
    done on them. It holds until the thread asks for the same key again, so a key belongs to one function.
    """
    dtype, shape = np.dtype(dtype), tuple(shape)
    buffers = _local.arena.buffers
    buffer, views = buffers.get((key, dtype), (None, {}))
    if shape in views:
        return views[shape]
    size = math.prod(shape) * dtype.itemsize
    if buffer is None or buffer.size < size or len(views) > _MOST_VIEWS:
        buffer, views = buffers[key, dtype] = new_array((size,), np.uint8), {}
    view = views[shape] = buffer[:size].view(dtype).reshape(shape)
    return view


def release_scratch() -> None:
    """Give the scratch buffers of all threads back to the system; kernels that run at present keep theirs."""
    for arena in list(_arenas):
        arena.buffers.clear()


def _after_fork() -> None:
    """A child process has none of its parent's workers, and locks may have been held by them."""
    global _pool, _pool_lock
    _pool_lock = threading.Lock()
    _pool = _Pool(_pool.workers)
    _local.inside = False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
