"""The one guard around BLAS' threads: kernels run on threads of ours, and two pools would fight for the same cores."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import threadpoolctl


class _Limit(NamedTuple):
    """How many threads a library uses: functions that tell and set it."""

    get: Callable[[], int]
    set: Callable[[int], object]


class _Libraries(NamedTuple):
    """The limits of all BLAS libraries of the process: those that it has once, and those that each thread has."""

    shared: list[_Limit]
    own: list[_Limit]


class _OfThread(threading.local):
    """What each thread has for itself."""

    def __init__(self) -> None:
        self.depth = 0  # how many blocks it is in
        self.previous: list[int] = []  # its own limits before the first of them


_of_thread = _OfThread()


class _Guard(contextlib.ContextDecorator):
    """Counts the blocks that want BLAS on one thread: the first one sets it, the last one resets it.

    Most libraries have one pool for the process, and one limit, counted over all threads. With MKL, or OpenBLAS
    over OpenMP, each thread has a limit of its own, counted in that thread.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.depth = 0
        self.previous: list[int] = []
        self.libraries: _Libraries | None = None  # looked for once

    def __enter__(self) -> None:
        with self.lock:
            libraries = self._found()
            if self.depth == 0:
                self.previous = _to_one(libraries.shared)
            self.depth += 1
            if _of_thread.depth == 0:
                _of_thread.previous = _to_one(libraries.own)
            _of_thread.depth += 1

    def __exit__(self, *error: object) -> None:
        with self.lock:
            libraries = self._found()
            _of_thread.depth -= 1
            if _of_thread.depth == 0:
                _restore(libraries.own, _of_thread.previous)
            self.depth -= 1
            if self.depth == 0:
                _restore(libraries.shared, self.previous)

    def limit_this_thread(self) -> None:
        """Set the limits that this thread has for itself to one, for good."""
        with self.lock:
            _to_one(self._found().own)

    def after_fork(self) -> None:
        """In the child: of all threads only the one that forked lives on, and so do its blocks."""
        self.lock = threading.Lock()
        held, self.depth = self.depth, _of_thread.depth
        if held and not self.depth:
            _restore(self._found().shared, self.previous)

    def _found(self) -> _Libraries:
        if self.libraries is None:
            found = threadpoolctl.ThreadpoolController().select(user_api="blas").lib_controllers
            limits: dict[bool, list[_Limit]] = {True: [], False: []}
            for library in found:
                limits[_has_limits_per_thread(library)].append(_limit(library))
            self.libraries = _Libraries(shared=limits[False], own=limits[True])
        return self.libraries


def _has_limits_per_thread(library: Any) -> bool:
    return library.internal_api == "mkl" or getattr(library, "threading_layer", "") == "openmp"


def _limit(library: Any) -> _Limit:
    """The limit of a library that threadpoolctl found.

    With OpenBLAS, threadpoolctl obeys only the thread that was the first to set it, and takes several times as long
    as the library's own functions. These are called, then: the guard has a lock.
    """
    if library.internal_api == "openblas" and not _has_limits_per_thread(library):
        functions = ctypes.PyDLL(library.filepath)
        for prefix, suffix in itertools.product(("", "scipy_"), ("", "64_", "_64")):
            with contextlib.suppress(AttributeError):
                return _Limit(*(functions[f"{prefix}openblas_{verb}_num_threads{suffix}"] for verb in ("get", "set")))
    return _Limit(library.get_num_threads, library.set_num_threads)


def _to_one(limits: list[_Limit]) -> list[int]:
    """Set limits to one thread; what they were."""
    previous = [limit.get() for limit in limits]
    _restore(limits, [1] * len(limits))
    return previous


def _restore(limits: list[_Limit], counts: list[int]) -> None:
    for limit, count in zip(limits, counts, strict=True):
        limit.set(count)


_guard = _Guard()


def single_threaded_blas() -> _Guard:
    """``with single_threaded_blas():`` BLAS computes on one thread inside, and as before afterwards.

    Blocks may nest and overlap between threads: the number of BLAS threads belongs to the whole process, is
    set when the first block begins and restored when the last one ends. `threads.parallel` opens one, and kernels
    do; a loop around many of them may hold one to spare them the switching.
    """
    return _guard


def limit_this_thread() -> None:
    """For threads that live for kernels alone: where BLAS has limits per thread, set this thread's to one."""
    _guard.limit_this_thread()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_guard.after_fork)
