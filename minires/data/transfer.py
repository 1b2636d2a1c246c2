"""Copy a batch to a GPU while the GPU computes with the previous batch."""

from __future__ import annotations

import itertools
from collections.abc import Generator
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np

from minires.device import Array, cuda_device

Arrays = tuple[Array, ...]


def sent_ahead(batches: Generator[Arrays, None, None], device: str) -> Generator[Arrays, None, None]:
    """Yield the arrays of each batch on a GPU, and copy the next batch while the consumer uses the current one.

    The first batch is yielded when the copy of the second has begun. An exception of ``batches`` is raised where its
    batch would come.

    Copies use page-locked memory and a separate stream, so that the host does not wait for them. The consumer's stream
    waits for a batch when the batch is yielded.

    Parameters
    ----------
    batches : tuples of NumPy arrays
    device : "cuda" or "cuda:<index>"

    Raises
    ------
    DeviceError : if there is no such device, or CuPy or its driver is missing.
    """
    with closing(batches):
        cupy, gpu = cuda_device(device)
        with gpu:
            stream = cupy.cuda.Stream(non_blocking=True)
        ahead: _Sent | None = None
        try:
            for batch, lane in zip(batches, itertools.cycle([_Lane(cupy, stream), _Lane(cupy, stream)]), strict=False):
                with gpu:
                    sent = lane.send(batch)
                last, ahead = ahead, sent
                if last is not None:
                    yield last.arrived()
            last, ahead = ahead, None
            if last is not None:
                yield last.arrived()
        except Exception:  # in the next batch: first yield the batch that is being copied
            if ahead is not None:
                yield ahead.arrived()
            raise
        finally:
            stream.synchronize()  # no copy may still write when the memory is reused


class _Sent(NamedTuple):
    """Arrays on a GPU, and the event that marks the end of their copy."""

    arrays: Arrays
    whole: Any
    cupy: Any

    def arrived(self) -> Arrays:
        """Return the arrays, after making the current stream wait for the copy."""
        if not self.arrays:  # a batch of strings
            return self.arrays
        device: Any = self.arrays[0].device
        with device:
            self.cupy.cuda.get_current_stream().wait_event(self.whole)
        return self.arrays


class _Lane:
    """Page-locked memory for the copy of one batch at a time."""

    def __init__(self, cupy: Any, stream: Any) -> None:
        self.cupy, self.stream = cupy, stream
        self.memory = np.empty(0, np.uint8)
        self.free: Any = None  # an event; None before the first batch

    def send(self, batch: Arrays) -> _Sent:
        """Begin to copy a batch to the current device, and return its arrays there."""
        if self.free is not None and not self.free.done:
            self.free.synchronize()
        size = sum(array.nbytes for array in batch)
        if self.memory.size < size:
            self.memory = np.frombuffer(self.cupy.cuda.alloc_pinned_memory(size), np.uint8, size)
        there = tuple(self.cupy.empty(array.shape, array.dtype) for array in batch)
        # Queued kernels may still use freed memory that this batch now reuses.
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
