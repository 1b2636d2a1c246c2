"""Checks of an optimizer's saved state, made before any of it is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np

from minires.autograd.tensor import Tensor
from minires.device import Array, asarray, copied, wide_dtype
from minires.errors import CheckpointError
from minires.nn.state import as_array
from minires.optim.checks import described

_OF_PYTORCH = {"foreach", "maximize", "capturable", "differentiable", "fused"}  # options that only its groups have


def checked_groups(
    saved: Any, groups: Sequence[Mapping[str, Any]], check_options: Callable[[Mapping[str, Any]], None], optimizer: str
) -> list[dict[str, Any]]:
    """Return the options of saved groups.

    Parameters
    ----------
    saved : "param_groups" of a saved state
    groups : the groups of the optimizer, whose name is ``optimizer``
    check_options : raises ValueError for options out of range

    Raises
    ------
    CheckpointError : if the saved groups do not fit the groups of the optimizer.
    """
    if not (isinstance(saved, list | tuple) and all(isinstance(group, Mapping) for group in saved)):
        raise CheckpointError(f"saved 'param_groups' must be a list of dictionaries, got {saved!r}")
    if len(saved) != len(groups):
        raise CheckpointError(f"saved are {len(saved)} parameter groups, but here are {len(groups)}")
    for number, (group, mine) in enumerate(zip(saved, groups, strict=True)):
        expected = set(mine) - {"params"}
        if _OF_PYTORCH & set(group):
            raise CheckpointError(
                f"it is the state of an optimizer of PyTorch, and these do not load: go on with a new optim."
                f"{optimizer}, given the learning rate that was reached; only what it remembers of "
                "earlier steps, such as momentum, is lost (the network's state does load)"
            )
        if set(group) != expected:
            found = sorted(map(str, group))
            raise CheckpointError(
                f"saved group {number} has the options {found}, but here are {sorted(expected)}: "
                f"it was not saved by {optimizer}"
            )
        try:
            check_options(group)
        except ValueError as error:
            raise CheckpointError(f"saved group {number} does not fit: {error}") from error
    return [dict(group) for group in saved]


def checked_state(
    saved: Any, parameters: Sequence[Tensor], arrays: Sequence[str], counts: Sequence[str], optimizer: str
) -> dict[int, dict[str, Any]]:
    """Return copies of what was saved for each parameter, on its device, by the index of the parameter.

    Parameters
    ----------
    saved : "state" of a saved state
    parameters : all parameters of the optimizer, whose name is ``optimizer``
    arrays, counts : the names of what the optimizer keeps, see `Optimizer`

    Raises
    ------
    CheckpointError : if this optimizer cannot have kept it.
    """
    if not isinstance(saved, Mapping):
        raise CheckpointError(f"saved 'state' must be a dictionary, got a {type(saved).__name__}")
    names = {*arrays, *counts}
    state: dict[int, dict[str, Any]] = {}
    for key, kept in saved.items():
        # JSON has strings for keys.
        index = int(key) if isinstance(key, Integral) or (isinstance(key, str) and key.isdecimal()) else -1
        if not 0 <= index < len(parameters):
            raise CheckpointError(f"saved is a state of parameter {key!r}, but here are 0 to {len(parameters) - 1}")
        if index in state:
            raise CheckpointError(f"saved are two states of parameter {index}, the second under {key!r}")
        if not (isinstance(kept, Mapping) and set(kept) - {"master"} in (set(), names)):
            found = list(kept) if isinstance(kept, Mapping) else repr(kept)
            raise CheckpointError(
                f"the saved state of parameter {index} is {found}, but {optimizer} keeps {sorted(names)}"
            )
        parameter, state[index] = parameters[index], {}
        for name, value in kept.items():
            if name in counts:
                state[index][name] = _checked_count(name, value, index)
            elif name != "master" or parameter.dtype == np.float16:
                array = _checked_array(name, value, parameter, index)
                state[index][name] = copied(asarray(array, parameter.device))
    return state


def _checked_count(name: str, value: Any, index: int) -> int:
    """Return a saved count as an int; it may be a number or an array of one element."""
    array = as_array(value)
    count = value if array is None or array.shape not in ((), (1,)) else array.item()
    if not (isinstance(count, Integral) and int(count) >= 0):
        raise CheckpointError(f"the saved {name} of parameter {index} must be an integer from 0 on, got {value!r}")
    return int(count)


def _checked_array(name: str, value: Any, parameter: Tensor, index: int) -> Array:
    """Return a saved tensor as an array of the parameter's shape, on any device; float32 for float16."""
    like, array = parameter.array, as_array(value)
    if array is None or (array.shape, array.dtype) != (like.shape, wide_dtype(like.dtype)):
        found = f"a {type(value).__name__}" if array is None else described(array)
        wanted = f" and needs {wide_dtype(like.dtype)}" if like.dtype == np.float16 else ""
        raise CheckpointError(
            f"the saved {name} of parameter {index} is {found}, but the parameter is {described(like)}{wanted}"
        )
    return array
