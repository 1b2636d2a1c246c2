"""Convert and check what a check is called with: arrays, which of them to check, an accuracy and a seed."""

from __future__ import annotations

import inspect
import math
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from minires.device import Array, asnumpy, is_array
from minires.errors import DtypeError
from minires.options import number as plain_number
from minires.options import several
from minires.testing.calling.names import labels_of
from minires.testing.report import GradientError

__tracebackhide__ = True  # pytest goes from the caller's line to the caller's function


def as_arrays(arrays: Sequence[Any], function: Callable[..., Any]) -> list[Array]:
    """Return the arguments of a function as arrays; numbers and lists of numbers become NumPy arrays.

    Raises
    ------
    ValueError : if there is no argument.
    TypeError : for a Tensor, an array of another library, a subclass of NumPy's array, or a list of arrays.
    DtypeError : for an argument that is not numeric.
    """
    must_be_callable("function", function)
    if not arrays:
        raise ValueError("there is no array to check a gradient at: give one for each argument of the function")
    labels = labels_of(function, len(arrays))
    converted = [_as_array(array, label) for array, label in zip(arrays, labels, strict=True)]
    for array, label in zip(converted, labels, strict=True):
        if array.dtype.kind not in "biufc":
            raise DtypeError(
                f"{label} has dtype {array.dtype}, expected numbers; bind options with a lambda or partial"
            )
    return converted


def must_be_callable(name: str, value: Any) -> None:
    """Raise TypeError if ``value`` is not a function: arguments may have been passed in the wrong order."""
    if not callable(value):
        raise TypeError(f"{name} must be callable, got a {type_name(value)}: give function, vjp, then the arrays")


def call_function(function: Callable[..., Any], arguments: Sequence[Any]) -> Any:
    """Return what a user's function returns.

    Raises
    ------
    TypeError : if its signature does not take as many arguments.
    """
    try:
        return function(*arguments)
    except TypeError as error:
        if why := _why_not_called(function, len(arguments), error):
            raise TypeError(
                f"function is called with {_counted(len(arguments))}, one for each array, but {why}; give an array "
                "for each input, and bind options with a lambda or partial"
            ) from None
        raise


def call_vjp(
    vjp: Callable[..., Any], gy: Any, arguments: Sequence[Any], function: Callable[..., Any], has_cache: bool
) -> Any:
    """Return what a user's vjp returns for gy and the arguments of ``function``, or for gy and a cache.

    Raises
    ------
    GradientError : if its signature does not take as many arguments.
    """
    try:
        return vjp(gy, *arguments)
    except TypeError as error:
        if why := _why_not_called(vjp, 1 + len(arguments), error):
            others = ["cache"] if has_cache else [label.strip("`") for label in labels_of(function, len(arguments))]
            raise GradientError(
                f"vjp is called with {_counted(1 + len(arguments))}, vjp({', '.join(['gy', *others])}), but {why}; gy "
                "is the gradient of the output, and a tuple if function returns a tuple"
            ) from None
        raise


def _why_not_called(function: Callable[..., Any], count: int, error: TypeError) -> str:
    """Return why a call with ``count`` arguments raised ``error`` before it began; "" if it may have begun."""
    if error.__traceback__ is None or error.__traceback__.tb_next is not None:
        return ""
    try:
        signature = inspect.signature(function)
    except Exception:  # some functions written in C have no signature, and user code may compute it
        return ""
    try:
        signature.bind(*[None] * count)
    except TypeError as mismatch:
        return f"it takes {signature}: {mismatch}"
    return ""


def _counted(count: int) -> str:
    return f"{count} argument" + "s" * (count != 1)


def _as_array(value: Any, label: str) -> Array:
    if is_array(value):
        plain(value, label)
        return value
    if isinstance(value, list | tuple) and any(hasattr(x, "dtype") and not isinstance(x, np.generic) for x in value):
        raise TypeError(f"{label} is a {type(value).__name__} of arrays: give them one by one, as in *arrays")
    if is_foreign(value):
        raise TypeError(
            f"{label} is a {type_name(value)}, expected an array of NumPy or CuPy: convert it, with "
            f"{_how_to_convert(value)}; functions of minires' own Tensors go to check_gradient"
        )
    return np.asarray(value)


def plain(value: Any, what: str) -> Array:
    """Return an argument or result of a function as a NumPy array; those of JAX or PyTorch, say, are converted.

    Raises
    ------
    TypeError : for a subclass of NumPy's array and for a data frame. They carry more than numbers (a mask, a unit, an
        index), which would be lost silently.
    """
    stripped = isinstance(value, np.ndarray) and type(value) not in (np.ndarray, np.memmap)
    if stripped or (is_foreign(value) and not is_array(value) and not hasattr(value, "__dlpack__")):
        how = ".filled(…)" if isinstance(value, np.ma.MaskedArray) else "np.asarray(…)" if stripped else ".to_numpy()"
        raise TypeError(
            f"{what} is a {type_name(value)}, expected a plain array: what it holds beside numbers would be lost; "
            f"convert it yourself, with {how}"
        )
    return value if isinstance(value, np.ndarray) else asnumpy(value)


def nests_arrays(value: Any) -> bool:
    """Return whether a value is a tuple or list with arrays in it, at any depth; NumPy scalars do not count."""
    return isinstance(value, tuple | list) and any(
        nests_arrays(item) or is_array(item) or is_foreign(item) for item in value
    )


def is_foreign(value: Any) -> bool:
    """Return whether a value is an array or a table of another library, and not a number or a list of numbers."""
    return not isinstance(value, np.generic) and (hasattr(value, "dtype") or hasattr(value, "__array__"))


def library_of(value: Any) -> str:
    """Return the package that a value's type comes from, such as "torch"."""
    return type(value).__module__.partition(".")[0]


def for_64_bits(library: str) -> str:
    """Return advice on float64 for a library that computes in float32 by default; "" for the others."""
    if not library.startswith("jax"):
        return ""
    return '; JAX computes in float32 unless jax.config.update("jax_enable_x64", True) is called first'


def _how_to_convert(value: Any) -> str:
    library = library_of(value)
    if library.startswith("jax"):
        return f"np.asarray(…){for_64_bits(library)}"
    return {"torch": ".detach().cpu().numpy()", "pandas": ".to_numpy()"}.get(library, ".numpy() say")


def accuracy_of(accuracy: float | Sequence[float]) -> tuple[float, float]:
    """Return the pair (relative, absolute) that the user gives; a single number is relative.

    Raises
    ------
    TypeError, ValueError : for anything else.
    """
    items = several(accuracy)
    try:
        both = [float(plain_number(item, "accuracy")) for item in ((accuracy, 0.0) if items is None else items)]
    except ValueError:
        raise TypeError(f"accuracy must be a number or a pair (relative, absolute), got {accuracy!r}") from None
    if len(both) != 2 or not all(math.isfinite(value) and value >= 0 for value in both):
        raise ValueError(f"accuracy must be a number or a pair (relative, absolute), none negative, got {accuracy!r}")
    return both[0], both[1]


def type_name(value: Any) -> str:
    """Return the name of a value's type, with its module: many libraries have a Tensor or an array."""
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def choose_arguments(arrays: Sequence[Array], argnums: int | Sequence[int] | None) -> list[int]:
    """Return the indices of the arguments to check: all of them, or those in ``argnums``.

    Raises
    ------
    ValueError : if ``argnums`` is empty, or holds an index that is out of range.
    TypeError : if it holds anything but integers.
    """
    if argnums is None:
        return list(range(len(arrays)))
    try:
        chosen = [operator.index(number) for number in (argnums if isinstance(argnums, Iterable) else [argnums])]
    except TypeError:
        raise TypeError(f"argnums must be an int or a sequence of ints, got {argnums!r}") from None
    for number in chosen:
        if not -len(arrays) <= number < len(arrays):
            raise ValueError(f"argnums has {number}, but there are {len(arrays)} inputs, of which the first is 0")
    if not chosen:
        raise ValueError("argnums is empty, so nothing would be checked: name an input, or leave it out for all")
    return sorted({number % len(arrays) for number in chosen})


def seed_of(rng: int | np.random.Generator | None) -> int:
    """Return the seed that repeats a check; None is 0.

    Raises
    ------
    TypeError, ValueError : if ``rng`` is not a seed.
    """
    if isinstance(rng, np.random.Generator):
        return int(rng.integers(2**32))
    try:
        seed = 0 if rng is None else operator.index(rng)
    except TypeError:
        raise TypeError(f"rng must be an int, a numpy.random.Generator or None, got {rng!r}") from None
    if seed < 0:
        raise ValueError(f"rng must not be negative, got {rng!r}")
    return seed
