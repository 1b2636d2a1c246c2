"""Checks of an optimizer's parameters and gradients, made before anything changes."""

from __future__ import annotations

from typing import Any

from minires import kernels
from minires.autograd.tensor import Tensor
from minires.device import Array, device_of, is_array, wide_dtype
from minires.errors import DeviceError, DtypeError, GraphError, ShapeError


def check_parameter(parameter: Any, where: str) -> None:
    """Raise TypeError or GraphError unless a step can change this parameter; ``where`` names it."""
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
    """Raise unless a step can use this gradient; ``where`` names the parameter."""
    if not isinstance(gradient, Tensor):
        raise TypeError(f"the gradient of {where} is a {type(gradient).__name__}; set .grad to a tensor, or None")
    p, g = parameter.array, gradient.array
    for error, differs in (
        (ShapeError, g.shape != p.shape),
        (DtypeError, g.dtype not in (p.dtype, wide_dtype(p.dtype))),
        (DeviceError, device_of(g) != device_of(p)),
    ):
        if differs:
            found, expected = described(g), described(p)
            raise error(f"the gradient of {where} is {found}, but the parameter is {expected}; nothing was changed")
    if p.dtype.kind != "f":
        raise DtypeError(f"{where} is {described(p)}; optimizers update floating-point numbers")
    kernels.choose(g)  # raises DeviceError inside `using` of a set that cannot compute on this device


def described(array: Array) -> str:
    """Return dtype, shape and device of an array, for messages."""
    return f"{array.dtype} of shape {array.shape} on {device_of(array)}"
