"""What an optimizer makes sure of before anything changes: parameters, gradients, and states that are loaded."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np

from minires import kernels
from minires.autograd.tensor import Tensor
from minires.device import Array, device_of, is_array, wide_dtype
from minires.errors import CheckpointError, DeviceError, DtypeError, GraphError, ShapeError
from minires.nn.state import as_array


def check_parameter(parameter: Any, where: str) -> None:
    """Make sure that a step can change what was given as a parameter."""
    if not isinstance(parameter, Tensor):
        advice = "give tensors, such as model.parameters()"
        if isinstance(parameter, tuple):
            advice = "give model.parameters(), not model.named_parameters()"
        elif is_array(parameter):
            advice = "make it a parameter with nn.Parameter(array), and compute with that"
        raise TypeError(f"{where} is a {type(parameter).__name__}, not a tensor; {advice}")
    if not parameter.is_leaf:
        raise GraphError(
            f"{where} was computed ({parameter.history()}), so a step cannot change it; "
            "give the tensors it was computed from, or a copy of it, mr.tensor(x, requires_grad=True)"
        )
    if parameter._version.array is not parameter._array:
        raise GraphError(f"{where} is a view of another tensor; give that one, or a copy, mr.tensor(x)")


def check_parameter_gradient(gradient: Any, parameter: Tensor, where: str) -> None:
    """Make sure that nothing can fail once a step has begun."""
    if not isinstance(gradient, Tensor):
        raise TypeError(f"the gradient of {where} is a {type(gradient).__name__}; set .grad to a tensor, or None")
    p, g = parameter.array, gradient.array
    for error, differs in (
        (ShapeError, g.shape != p.shape),
        (DtypeError, g.dtype not in (p.dtype, wide_dtype(p.dtype))),
        (DeviceError, device_of(g) != device_of(p)),
    ):
        if differs:
            found, expected = _look(g), _look(p)
            raise error(f"the gradient of {where} is {found}, but the parameter is {expected}; nothing was changed")
    if p.dtype.kind != "f":
        raise DtypeError(f"{where} is {_look(p)}; optimizers update floating-point numbers")
    kernels.choose(g)  # raises DeviceError where `using` asks for a set that cannot compute this


def check_count(name: str, value: Any, place: int) -> int:
    """Return a saved count as an integer, if it is one: a number, or an array of one."""
    array = as_array(value)
    count = value if array is None or array.shape not in ((), (1,)) else array.item()
    if not (isinstance(count, Integral) and int(count) >= 0):
        raise CheckpointError(f"the saved {name} of parameter {place} must be an integer from 0 on, got {value!r}")
    return int(count)


def check_kept(name: str, value: Any, parameter: Tensor, place: int) -> Array:
    """Return a saved tensor as an array, if it is like its ``parameter``, on any device."""
    like, array = parameter.array, as_array(value)
    if array is None or (array.shape, array.dtype) != (like.shape, wide_dtype(like.dtype)):
        found = f"a {type(value).__name__}" if array is None else _look(array)
        wanted = f" and needs {wide_dtype(like.dtype)}" if like.dtype == np.float16 else ""
        raise CheckpointError(
            f"the saved {name} of parameter {place} is {found}, but the parameter is {_look(like)}{wanted}"
        )
    return array


def _look(array: Array) -> str:
    return f"{array.dtype} of shape {array.shape} on {device_of(array)}"
