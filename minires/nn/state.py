"""Load a state, which is arrays by path, into a module: all of it, or raise an error that lists every problem."""

from __future__ import annotations

import contextlib
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from minires.autograd.tensor import Tensor
from minires.device import Array, asarray, copied, is_array, on_device_of, xp_of
from minires.errors import CheckpointError

SHOWN = 10  # names in a message

# Prefixes that wrappers of a network put before every name.
WRAPPERS = {"module.": "as nn.DataParallel saves it", "_orig_mod.": "as torch.compile does"}


class IncompatibleKeys(NamedTuple):
    """The names that only the module has, and the names that only the state has."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def as_array(value: Any, widen: bool = False) -> Array | None:
    """Return the array of a tensor of minires, PyTorch or another library; None if ``value`` is not an array.

    Parameters
    ----------
    value : a tensor, an array, a NumPy scalar, or an object with the methods of a PyTorch tensor or ``__array__``
    widen : whether to convert a PyTorch tensor whose dtype NumPy lacks, such as bfloat16, to float32, which is exact

    Raises
    ------
    TypeError, RuntimeError : from the other library, for example for a sparse tensor or one without data.
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


def load_state(
    model: str, own: Mapping[str, Tensor], optional: set[str], state: Mapping[str, Any], strict: bool
) -> IncompatibleKeys:
    """Copy the values of ``state`` into the tensors of a module; see `Module.load_state_dict`.

    Parameters
    ----------
    model : the name of the module's class, for messages
    own : the module's tensors by path
    optional : the paths that the state may lack
    state : tensors or arrays by path
    strict : whether missing and unexpected paths raise
    """
    if not isinstance(state, Mapping):
        found = type(state).__name__
        raise TypeError(f"a state is a dictionary of tensors by path, such as model.state_dict(), not a {found}")
    if (stray := next((name for name in state if not isinstance(name, str)), None)) is not None:
        raise TypeError(f"the paths of a state are strings, got {stray!r}: is this the state of an optimizer?")
    missing = [name for name in own if name not in state and name not in optional]
    unexpected = [name for name in state if name not in own]
    keys = IncompatibleKeys(missing, unexpected)
    new = _fitting_values(model, own, state, keys, strict)
    if state and missing and len(unexpected) == len(state):
        advice = "; ".join(_advice(keys, [], state))
        warnings.warn(
            f"load_state_dict: no name of the state is the module's, such as {missing[0]!r}; {advice}", stacklevel=3
        )
    write_all((own[name], value) for name, value in new.items())
    return keys


def _fitting_values(
    model: str, own: Mapping[str, Tensor], state: Mapping[str, Any], keys: IncompatibleKeys, strict: bool
) -> dict[str, Array]:
    """Return copies of the values that both sides have, cast to the module's dtypes.

    Raises
    ------
    CheckpointError : with every problem.
    """
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
        problems += [f"missing {_some(keys.missing_keys)}"] if keys.missing_keys else []
        problems += [f"unexpected {_some(keys.unexpected_keys)}"] if keys.unexpected_keys else []
    if problems:
        advice = _advice(keys, [name for name, _ in shapes], state)
        text = "".join(f"\n  {line}" for line in [*problems, *advice])
        raise CheckpointError(f"the state does not fit {model}; nothing was changed:{text}")
    return new


class _OtherShape(CheckpointError):
    """Raise for a value whose shape differs from the module's; the message has both shapes."""


def fitting(name: str, value: Any, own: Tensor) -> Array:
    """Return a copy of ``value`` with the dtype of ``own``, on its device.

    Parameters
    ----------
    name : the name of ``value``, for messages
    value : a tensor or an array
    own : the parameter or buffer that will get these values

    Raises
    ------
    CheckpointError : if ``value`` is neither a tensor nor an array, its shape or kind of dtype differs, or one of
        its elements is out of range for the dtype.
    """
    try:
        array = as_array(value, widen=True)
    except (TypeError, RuntimeError) as error:
        raise CheckpointError(f"{name} cannot be read as an array: {error}") from error
    if array is None:
        raise CheckpointError(
            f"{name} is a {type(value).__name__}, but a state holds tensors and arrays by name: convert it"
        )
    if own.shape == () and array.shape == (1,):  # old versions of PyTorch saved a scalar like this
        array = array.reshape(())
    if array.shape != own.shape:
        raise _OtherShape(f"{name}: {array.shape} in the state, {own.shape} in the model")
    if not np.can_cast(array.dtype, own.dtype, "same_kind"):
        raise CheckpointError(
            f"{name} has dtype {array.dtype}, but the module's is {own.dtype}: {_conversion(value, array, own.dtype)}"
        )
    source = asarray(array, own.device)
    with np.errstate(over="ignore"), on_device_of(source):  # an overflow is an error below
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
    """Copy each array into its tensor, of the same shape and dtype; change nothing if one cannot be written.

    If several values go to the same memory, the last one stays.

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
    """Return the prefix, ending with a dot, that most names of ``shorter`` have in ``longer``; "" without one."""
    wanted, found = set(shorter), Counter[str]()
    for name in longer:
        parts = name.split(".")
        for count in range(1, len(parts)):
            if ".".join(parts[count:]) in wanted:
                found[".".join(parts[:count]) + "."] += 1
    prefix, times = found.most_common(1)[0] if found else ("", 0)
    return prefix if 2 * times > len(wanted) else ""


def _advice(keys: IncompatibleKeys, shapes: list[str], state: Mapping[str, Any]) -> list[str]:
    """Return lines of text that say what the user can do about a state that does not fit."""
    if is_of_optimizer(state):
        return [
            "it is an optimizer's: optimizer.load_state_dict(state); that of a module is what its state_dict() gave"
        ]
    missing, unexpected = keys
    inner = next(
        (name for name in unexpected if isinstance(state[name], Mapping) and not is_of_optimizer(state[name])), None
    )
    if inner is not None and missing:
        return [f"{inner!r} is a dictionary; the state may be in there: load_state_dict(state[{inner!r}])"]
    if prefix := prefix_of(unexpected, missing):
        by = f", {WRAPPERS[prefix]}" if prefix in WRAPPERS else ""
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


def _some(names: list[str]) -> str:
    left = len(names) - SHOWN
    return f"{names[:SHOWN]}" + (f" and {left} more" if left > 0 else "")
