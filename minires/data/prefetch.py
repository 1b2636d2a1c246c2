"""Compute the next items of an iterator in a thread while the consumer works on the current item."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")


@dataclass
class _End:
    """The last entry of the queue: the iterator ended or raised ``error``."""

    error: BaseException | None = None


def prefetched(items: Iterator[T], depth: int) -> Generator[T, None, None]:
    """Iterate over ``items``, and compute up to ``depth`` of them in advance.

    Parameters
    ----------
    items : another thread advances it, from the first ``next`` on
    depth : at least 1

    Returns
    -------
    An iterator, which raises an exception of ``items`` where the next item would come. When it has ended, raised or
    been closed (by leaving a ``for`` loop), the thread has ended as well.
    """
    ready: SimpleQueue[T | _End] = SimpleQueue()
    room = threading.Semaphore(depth - 1)  # the item being computed takes no room in the queue
    stopped = threading.Event()

    def produce() -> None:
        end = _End()
        try:
            for item in items:
                ready.put(item)
                room.acquire()
                if stopped.is_set():
                    return
        except BaseException as error:  # the consumer raises it
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
