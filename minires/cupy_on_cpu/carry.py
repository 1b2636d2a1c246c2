"""The same tests over both backends: a function of CuPy's arrays as one of NumPy's."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

Function = TypeVar("Function", bound=Callable[..., Any])


def carried(function: Function) -> Function:
    """``function``, which takes NumPy's arrays, carries them to the device, and carries its results back.

    Arrays keep their strides, so that sliced, transposed and reversed ones are such on the device, too. Where the
    function writes into an argument, so is written into NumPy's. Called without NumPy's arrays, or with others beside
    them (CuPy's, of a subclass, a double), it is ``function``.
    """

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        if _has_others((arguments, options)):
            return function(*arguments, **options)
        seen: dict[int, tuple[Any, Any]] = {}  # by id: an array that is given twice is carried once

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
    """A CuPy array with the values and the strides of NumPy's."""
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
    """``value`` with the arrays of a kind in its lists, tuples and dictionaries replaced."""
    if type(value) is kind:
        return function(value)
    if isinstance(value, dict):
        return {key: _each(function, kind, item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_each(function, kind, item) for item in value)
    return value


def _has_others(value: Any) -> bool:
    """Whether an array that is not NumPy's own, but CuPy's, of a subclass, or a double, is among the arguments."""
    if isinstance(value, dict):
        return _has_others(tuple(value.values()))
    if type(value) in (list, tuple):
        return any(map(_has_others, value))
    return hasattr(value, "__array_ufunc__") and type(value) is not np.ndarray and not np.isscalar(value)


def _cupy() -> Any:
    import cupy

    return cupy
