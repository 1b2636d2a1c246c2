"""Batches on their way to a GPU while it computes with the one before."""

from __future__ import annotations

import itertools
from collections.abc import Generator
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np

from minires.device import Array, cuda_device

Arrays = tuple[Array, ...]


def sent_ahead(batches: Generator[Arrays, None, None], device: str) -> Generator[Arrays, None, None]:
    """The arrays of each batch on a GPU. One batch is always ahead: it is copied while its consumer has the last one.

    So the first batch is there when the second is on its way. What goes wrong in ``batches`` is raised in its place.

    Copies go through page-locked memory, on a stream of their own, so that the host need not wait for them; the
    consumer's stream waits for a batch when it is handed over.

    Parameters
    ----------
    batches : tuples of NumPy arrays
    device : "cuda" or "cuda:<index>"

    Raises
    ------
    DeviceError : if there is no such device, or CuPy or its driver is missing.
    """
    with closing(batches):
        cupy, place = cuda_device(device)
        with place:
            stream = cupy.cuda.Stream(non_blocking=True)
        ahead: _Sent | None = None
        try:
            for batch, lane in zip(batches, itertools.cycle([_Lane(cupy, stream), _Lane(cupy, stream)]), strict=False):
                with place:
                    sent = lane.send(batch)
                last, ahead = ahead, sent
                if last is not None:
                    yield last.arrived()
            last, ahead = ahead, None
            if last is not None:
                yield last.arrived()
        except Exception:  # of the batch after the one that is on its way
            if ahead is not None:
                yield ahead.arrived()
            raise
        finally:
            stream.synchronize()  # before memory that is still written to is used for something else


class _Sent(NamedTuple):
    """Arrays on a GPU, and the event after which they are whole."""

    arrays: Arrays
    whole: Any
    cupy: Any

    def arrived(self) -> Arrays:
        """The arrays, for whatever the current stream does from now on."""
        if not self.arrays:  # a batch of strings
            return self.arrays
        place: Any = self.arrays[0].device
        with place:
            self.cupy.cuda.get_current_stream().wait_event(self.whole)
        return self.arrays


class _Lane:
    """Page-locked memory that one batch at a time goes through."""

    def __init__(self, cupy: Any, stream: Any) -> None:
        self.cupy, self.stream = cupy, stream
        self.memory = np.empty(0, np.uint8)
        self.free: Any = None  # an event; None before the first batch

    def send(self, batch: Arrays) -> _Sent:
        """Begin to copy a batch to the current device."""
        if self.free is not None and not self.free.done:
            self.free.synchronize()
        size = sum(array.nbytes for array in batch)
        if self.memory.size < size:
            self.memory = np.frombuffer(self.cupy.cuda.alloc_pinned_memory(size), np.uint8, size)
        there = tuple(self.cupy.empty(array.shape, array.dtype) for array in batch)
        # Kernels that are still to run may use memory that was freed, and is now given to this batch.
        self.stream.wait_event(self.cupy.cuda.get_current_stream().record())
        start = 0
        for array, target in zip(batch, there, strict=True):
            stop = start + array.nbytes
            here = self.memory[start:stop].view(array.dtype).reshape(array.shape)
            here[...] = array
            target.set(here, stream=self.stream)
            start = stop
        self.free = self.stream.record()
        return _Sent(there, self.free, self.cupy)
