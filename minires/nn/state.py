"""How a state, arrays by path from a file or another library, comes to fit a module: all of it, or an error that
says everything that does not fit."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from minires.autograd.tensor import Tensor
from minires.device import Array, asarray, copied, is_array, on_device_of, xp_of
from minires.errors import CheckpointError

SHOWN = 10  # names in a message

# What puts a prefix before every name of a network.
WRAPPERS = {"module.": "as nn.DataParallel saves it", "_orig_mod.": "as torch.compile does"}


class IncompatibleKeys(NamedTuple):
    """Names of the module that the state lacks, and names of the state that the module lacks."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def as_array(value: Any, widen: bool = False) -> Array | None:
    """Return the array of a tensor, of minires, PyTorch or another library; None for what is no array.

    Parameters
    ----------
    value : a tensor, an array, a NumPy number, or whatever has the methods of a PyTorch tensor or ``__array__``
    widen : whether a PyTorch tensor of a dtype that NumPy lacks, as bfloat16, becomes float32, which holds it exactly

    Raises
    ------
    TypeError, RuntimeError : from the other library, if its tensor is not an ordinary one (sparse, without data).
    """
    if isinstance(value, Tensor):
        return value.array
    if is_array(value) or isinstance(value, np.generic):
        return value if is_array(value) else np.asarray(value)
    if all(hasattr(value, method) for method in ("detach", "cpu", "numpy")):
        plain = value.detach().cpu()
        try:
            return plain.numpy()
        except TypeError:
            if not widen:
                raise
            return plain.float().numpy()
    return np.asarray(value) if hasattr(value, "__array__") else None


def fitting_state(
    model: str, own: Mapping[str, Tensor], optional: set[str], state: Mapping[str, Any], strict: bool
) -> tuple[dict[str, Array], IncompatibleKeys]:
    """Return copies of the values of ``state`` that are like those of a module, and the names that are not in both.

    Parameters
    ----------
    model : the name of the module's class, for messages
    own : the module's tensors by path
    optional : names that the state may lack
    state : tensors or arrays by path
    strict : whether missing and unexpected names are an error

    Raises
    ------
    CheckpointError : with everything that does not fit.
    """
    missing = [name for name in own if name not in state and name not in optional]
    unexpected = [name for name in state if name not in own]
    new, shapes, others = {}, [], []
    for name, tensor in own.items():
        if name in state:
            try:
                new[name] = fitting(name, state[name], tensor)
            except _OtherShape as error:
                shapes.append((name, str(error)))
            except CheckpointError as error:
                others.append(str(error))
    problems = [f"of another shape: {'; '.join(text for _, text in shapes)}"] if shapes else []
    problems += others
    if strict:
        problems += [f"missing {_some(missing)}"] if missing else []
        problems += [f"unexpected {_some(unexpected)}"] if unexpected else []
    if problems:
        advice = _advice(missing, unexpected, [name for name, _ in shapes], state)
        text = "".join(f"\n  {line}" for line in [*problems, *advice])
        raise CheckpointError(f"the state does not fit {model}; nothing was changed:{text}")
    return new, IncompatibleKeys(missing, unexpected)


class _OtherShape(CheckpointError):
    """A value has another shape than the module's; the text has both."""


def fitting(name: str, value: Any, own: Tensor) -> Array:
    """Return a copy of ``value`` with the dtype and on the device of ``own``, for which it is meant.

    Parameters
    ----------
    name : of ``value``, for messages
    value : a tensor or an array
    own : the parameter or buffer that shall have these values

    Raises
    ------
    CheckpointError : if ``value`` is neither a tensor nor an array, its shape or kind of dtype differs, or one of
        its numbers is outside the range of the dtype.
    """
    try:
        array = as_array(value, widen=True)
    except (TypeError, RuntimeError) as error:
        raise CheckpointError(f"{name} cannot be read as an array: {error}") from error
    if array is None:
        raise CheckpointError(
            f"{name} is a {type(value).__name__}, but a state holds tensors and arrays by name: convert it"
        )
    if own.shape == () and array.shape == (1,):  # a number, as old versions of PyTorch saved it
        array = array.reshape(())
    if array.shape != own.shape:
        raise _OtherShape(f"{name}: {array.shape} in the state, {own.shape} in the model")
    if not np.can_cast(array.dtype, own.dtype, "same_kind"):
        raise CheckpointError(
            f"{name} has dtype {array.dtype}, but the module's is {own.dtype}: {_conversion(value, array, own.dtype)}"
        )
    source = asarray(array, own.device)
    with np.errstate(over="ignore"), on_device_of(source):  # what it would warn of is an error here
        new = copied(source, own.dtype)
        xp = xp_of(new)
        lost = xp.isfinite(source) & ~xp.isfinite(new) if own.dtype.kind in "fc" else source != new
        if lost.any():
            raise CheckpointError(f"{name} holds {source[lost][0]}, which is out of range for the module's {own.dtype}")
    return new


def _conversion(value: Any, array: Array, dtype: np.dtype[Any]) -> str:
    """Return how to convert a tensor, an array in NumPy, to another dtype."""
    if array.dtype.kind == "c":
        return "a conversion would lose the imaginary part"
    if type(value).__module__.partition(".")[0] == "torch":
        return f"convert it, .to(torch.{dtype})"
    return f"convert it, {'.numpy()' if isinstance(value, Tensor) else ''}.astype({str(dtype)!r})"


def write_all(pairs: Iterable[tuple[Tensor, Array]]) -> None:
    """Overwrite each tensor with its array, of the same shape and dtype; none if one cannot be written.

    Of several values for the same memory the last stays.

    Raises
    ------
    GraphError : for a view of another tensor.
    ValueError : for read-only memory.
    """
    pairs, arrays = list(pairs), {}
    with contextlib.ExitStack() as stack:
        for tensor, _ in pairs:
            if id(tensor._version) not in arrays:
                arrays[id(tensor._version)] = stack.enter_context(tensor.writable())
        for tensor, value in pairs:
            with on_device_of(value):
                arrays[id(tensor._version)][...] = value


def prefix_of(longer: Iterable[str], shorter: Iterable[str]) -> str:
    """Return what stands, with a dot at its end, before most names of ``shorter`` in ``longer``; "" without one."""
    wanted, found = set(shorter), Counter[str]()
    for name in longer:
        parts = name.split(".")
        for count in range(1, len(parts)):
            if ".".join(parts[count:]) in wanted:
                found[".".join(parts[:count]) + "."] += 1
    prefix, times = found.most_common(1)[0] if found else ("", 0)
    return prefix if 2 * times > len(wanted) else ""


def _advice(missing: list[str], unexpected: list[str], shapes: list[str], state: Mapping[str, Any]) -> list[str]:
    """What may be done about a state that does not fit, as lines of text."""
    if is_of_optimizer(state):
        return [
            "it is an optimizer's: optimizer.load_state_dict(state); that of a module is what its state_dict() gave"
        ]
    inner = next(
        (name for name in unexpected if isinstance(state[name], Mapping) and not is_of_optimizer(state[name])), None
    )
    if inner is not None and missing:
        return [f"{inner!r} is a dictionary; the state may be in there: load_state_dict(state[{inner!r}])"]
    if prefix := prefix_of(unexpected, missing):
        by = "".join(f", {who}" for part, who in WRAPPERS.items() if prefix == part)
        every = "every name has" if all(name.startswith(prefix) for name in state) else "some names have"
        return [
            f"{every} {prefix!r} in front{by}; strip it: "
            f"load_state_dict({{name.removeprefix({prefix!r}): value for name, value in state.items()}})"
        ]
    if prefix := prefix_of(missing, unexpected):
        return [
            f"the model's names have {prefix!r} in front, which those of the state lack; put it there: "
            f"load_state_dict({{{prefix!r} + name: value for name, value in state.items()}})"
        ]
    if shapes:
        return [
            "build the model with the sizes of the state (such as num_classes), or leave out what differs: load_state_"
            f"dict({{name: value for name, value in state.items() if name not in {shapes}}}, strict=False)"
        ]
    return ["with strict=False what fits is loaded, and the other names are returned"] if missing or unexpected else []


def is_of_optimizer(state: Mapping[str, Any]) -> bool:
    """Return whether a state is an optimizer's, of minires or PyTorch."""
    return {"state", "param_groups"} <= set(state)


def nothing_fits(state: Mapping[str, Any], keys: IncompatibleKeys) -> str:
    """Return what to say of a state of which not a single name is the module's; "" otherwise."""
    if not state or not keys.missing_keys or len(keys.unexpected_keys) < len(state):
        return ""
    advice = _advice(*keys, [], state)
    return "; ".join(
        [f"load_state_dict: no name of the state is the module's, such as {keys.missing_keys[0]!r}", *advice]
    )


def _some(names: list[str]) -> str:
    left = len(names) - SHOWN
    return f"{names[:SHOWN]}" + (f" and {left} more" if left > 0 else "")
