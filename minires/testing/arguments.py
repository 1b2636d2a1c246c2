"""What a check is called with: arrays, which of them to check, and a seed."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from minires.device import Array, is_array
from minires.errors import DtypeError
from minires.testing.names import labels_of

__tracebackhide__ = True  # pytest goes from the caller's line to the caller's function


def as_arrays(arrays: Sequence[Any], function: Callable[..., Any]) -> list[Array]:
    """The arguments of a function as arrays, numbers and lists of numbers as NumPy's.

    Raises
    ------
    ValueError : without any argument.
    TypeError : for a Tensor, for an array of another library, for a list of arrays.
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
    """Raise TypeError for what is no function; arguments come in the wrong order, sometimes."""
    if not callable(value):
        raise TypeError(f"{name} must be callable, got a {type_name(value)}: give function, vjp, then the arrays")


def _as_array(value: Any, label: str) -> Array:
    if is_array(value):
        return value  # type: ignore[no-any-return]
    if isinstance(value, list | tuple) and any(hasattr(x, "dtype") and not isinstance(x, np.generic) for x in value):
        raise TypeError(f"{label} is a {type(value).__name__} of arrays: give them one by one, as in *arrays")
    if hasattr(value, "dtype") and not isinstance(value, np.generic):
        raise TypeError(
            f"{label} is a {type_name(value)}, expected an array of NumPy or CuPy: convert it, with .numpy() "
            "say; functions of minires' own Tensors go to check_gradient"
        )
    return np.asarray(value)


def type_name(value: Any) -> str:
    """The type of a value and where it comes from: Tensors and arrays are many."""
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def choose_arguments(arrays: Sequence[Array], argnums: int | Sequence[int] | None) -> list[int]:
    """The arguments whose gradients are checked: all of them, or those in ``argnums``.

    Raises
    ------
    ValueError : for a number that no argument has, and where there is none.
    TypeError : for what is no number.
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
    """The seed that makes a check again; None is 0.

    Raises
    ------
    TypeError, ValueError : for what is no seed.
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
