"""Compute the next items of an iterator in a thread while the consumer works on this one."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")


@dataclass
class _End:
    """The last entry of the queue: the iterator ended, or it raised ``error``."""

    error: BaseException | None = None


def prefetched(items: Iterator[T], depth: int) -> Generator[T, None, None]:
    """The items of ``items``, of which up to ``depth`` are ready before they are asked for.

    Parameters
    ----------
    items : is advanced in another thread, from the first ``next`` on
    depth : at least 1

    Returns
    -------
    An iterator. An exception that ``items`` raises is raised in its place. When it ends, raises or is closed
    (as when a ``for`` loop is left), the thread has ended too.
    """
    ready: SimpleQueue[T | _End] = SimpleQueue()
    room = threading.Semaphore(depth - 1)  # the item in the making needs none
    stopped = threading.Event()

    def produce() -> None:
        end = _End()
        try:
            for item in items:
                ready.put(item)
                room.acquire()
                if stopped.is_set():
                    return
        except BaseException as error:  # all of them belong to the consumer
            end.error = error
        ready.put(end)

    thread = threading.Thread(target=produce, name="minires-prefetch", daemon=True)
    thread.start()
    try:
        while not isinstance(entry := ready.get(), _End):
            room.release()
            yield entry
        if entry.error is not None:
            raise entry.error
    finally:
        stopped.set()
        room.release()
        thread.join()
