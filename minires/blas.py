"""The guard that limits BLAS to one thread while kernels run on our own threads.

Two thread pools would compete for the same cores. And with one BLAS thread, results do not depend on the number of
threads.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import threadpoolctl


class _Library(NamedTuple):
    """A BLAS library: functions that get and set its number of threads."""

    get: Callable[[], int]
    set: Callable[[int], object]


class _Limit:
    """A limit of one thread that nested and overlapping blocks share: the first sets it, the last restores it."""

    def __init__(self) -> None:
        self.depth = 0  # how many blocks are open
        self.previous: list[int] = []  # the numbers of threads before the first block

    def begin(self, libraries: list[_Library]) -> None:
        """Open a block; the first one limits the libraries."""
        if self.depth == 0:
            self.previous = [library.get() for library in libraries]
            for library in libraries:
                library.set(1)
        self.depth += 1

    def end(self, libraries: list[_Library]) -> None:
        """Close a block; the last one restores the libraries."""
        self.depth -= 1
        if self.depth == 0:
            self.restore(libraries)

    def restore(self, libraries: list[_Library]) -> None:
        """Give the libraries their numbers of threads back."""
        for library, count in zip(libraries, self.previous, strict=True):
            library.set(count)


class _ThreadLimit(_Limit, threading.local):
    """A limit that each thread has for itself."""


class _Guard(contextlib.ContextDecorator):
    """A context manager that limits all BLAS libraries of the process to one thread.

    Most libraries have one pool for the process, so its limit counts the blocks of all threads. With MKL, or OpenBLAS
    over OpenMP, each thread sets its own number of threads, so its limit counts the blocks of that thread.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.process_limit = _Limit()
        self.thread_limit = _ThreadLimit()
        self.libraries: tuple[list[_Library], list[_Library]] | None = None  # filled at the first use

    def __enter__(self) -> None:
        with self.lock:
            per_process, per_thread = self.found()
            self.process_limit.begin(per_process)
            self.thread_limit.begin(per_thread)

    def __exit__(self, *error: object) -> None:
        with self.lock:
            per_process, per_thread = self.found()
            self.thread_limit.end(per_thread)
            self.process_limit.end(per_process)

    def limit_this_thread(self) -> None:
        """Limit the libraries that have a number of threads per thread, in this thread, for good."""
        with self.lock:
            for library in self.found()[1]:
                library.set(1)

    def after_fork(self) -> None:
        """Forget the blocks of other threads in a child process: only the thread that forked lives on."""
        self.lock = threading.Lock()
        held, self.process_limit.depth = self.process_limit.depth, self.thread_limit.depth
        if held and not self.process_limit.depth:
            self.process_limit.restore(self.found()[0])

    def found(self) -> tuple[list[_Library], list[_Library]]:
        """Return the libraries with a number of threads per process, and those with one per thread."""
        if self.libraries is None:
            self.libraries = [], []
            for library in threadpoolctl.ThreadpoolController().select(user_api="blas").lib_controllers:
                self.libraries[_is_per_thread(library)].append(_library(library))
        return self.libraries


def _is_per_thread(library: Any) -> bool:
    """Return whether each thread sets its own number of BLAS threads."""
    return library.internal_api == "mkl" or getattr(library, "threading_layer", "") == "openmp"


def _library(library: Any) -> _Library:
    """Return the functions of a library that threadpoolctl found.

    With OpenBLAS, threadpoolctl works only in the thread that was the first to use it, and takes several times as long
    as the library's own functions. So the guard calls these; it has a lock.
    """
    if library.internal_api == "openblas" and not _is_per_thread(library):
        functions = ctypes.PyDLL(library.filepath)
        for prefix, suffix in itertools.product(("", "scipy_"), ("", "64_", "_64")):
            with contextlib.suppress(AttributeError):
                return _Library(
                    functions[f"{prefix}openblas_get_num_threads{suffix}"],
                    functions[f"{prefix}openblas_set_num_threads{suffix}"],
                )
    return _Library(library.get_num_threads, library.set_num_threads)


_guard = _Guard()


def single_threaded_blas() -> _Guard:
    """Return a context manager, and decorator, inside which BLAS uses one thread.

    Blocks may nest, and overlap between threads. The number of BLAS threads is set when the first block begins and
    restored when the last one ends; `_Guard` says which blocks count. `threads.parallel` and the kernels open a block
    each. A loop around many kernels may open one more, so that the number is not switched at every call.
    """
    return _guard


def limit_this_thread() -> None:
    """Limit BLAS in this thread for good, where each thread sets its own number; for threads that run only kernels."""
    _guard.limit_this_thread()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_guard.after_fork)
