"""Run the same tests on both backends: a function of CuPy arrays as a function of NumPy arrays."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

Function = TypeVar("Function", bound=Callable[..., Any])


def carried(function: Function) -> Function:
    """Return ``function`` for NumPy arrays: it copies them to the device, and its results back.

    Arrays keep their strides, so sliced, transposed and reversed arrays remain so on the device. Where the function
    writes into an argument, the NumPy array changes too. Called without NumPy arrays, or with other arrays among the
    arguments (CuPy's, of a subclass, a double), it is ``function`` itself.
    """

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        if _has_others((arguments, options)):
            return function(*arguments, **options)
        seen: dict[int, tuple[Any, Any]] = {}  # by id: an array that is passed twice is copied once

        def carry(array: Any) -> Any:
            if id(array) not in seen:
                seen[id(array)] = array, to_device(array)
            return seen[id(array)][1]

        there = [_each(carry, np.ndarray, argument) for argument in (arguments, options)]
        result = function(*there[0], **there[1])
        if not seen:
            return result
        for array, copy in seen.values():
            if array.flags.writeable:
                array[...] = copy.get()
        same = {id(copy): array for array, copy in seen.values()}
        cupy = _cupy()
        return _each(lambda array: same.get(id(array), array.get()), cupy.ndarray, result)

    return call  # type: ignore[return-value]


def to_device(array: Any) -> Any:
    """Return a CuPy array with the values and strides of a NumPy array."""
    cupy = _cupy()
    if not array.size:
        return cupy.empty(array.shape, array.dtype)
    spans = [(n - 1) * stride for n, stride in zip(array.shape, array.strides, strict=True)]
    before, behind = -sum(span for span in spans if span < 0), sum(span for span in spans if span > 0)
    start = array.__array_interface__["data"][0] - before
    memory = (ctypes.c_char * (before + behind + array.itemsize)).from_address(start)
    there = cupy.asarray(np.frombuffer(memory, np.uint8))
    return cupy.ndarray(array.shape, array.dtype, there.data + before, array.strides)


def _each(function: Callable[[Any], Any], kind: type, value: Any) -> Any:
    """Return ``value`` with the arrays of type ``kind`` in its lists, tuples and dictionaries replaced."""
    if type(value) is kind:
        return function(value)
    if isinstance(value, dict):
        return {key: _each(function, kind, item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_each(function, kind, item) for item in value)
    return value


def _has_others(value: Any) -> bool:
    """Return whether an argument is an array but not exactly numpy.ndarray: CuPy's, of a subclass, or a double."""
    if isinstance(value, dict):
        return _has_others(tuple(value.values()))
    if type(value) in (list, tuple):
        return any(map(_has_others, value))
    return hasattr(value, "__array_ufunc__") and type(value) is not np.ndarray and not np.isscalar(value)


def _cupy() -> Any:
    import cupy

    return cupy
