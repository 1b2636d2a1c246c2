"""Name the arguments of a function in messages: by its parameters' names, where it has some."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from minires.autograd.op import Op


def labels_of(function: Callable[..., Any], count: int) -> list[str]:
    """Return "`x`" for an argument whose parameter is called x, "input 0" where the names are not known.

    Parameters
    ----------
    function : a callable; it, or the object whose method it is, may have a method ``input_labels(count)``
    count : the number of arguments
    """
    try:
        adapter: Any = getattr(function, "__self__", None)
        input_labels = getattr(function, "input_labels", None) or getattr(adapter, "input_labels", None)
        if input_labels is not None:
            return [str(label) for label in input_labels(count)]
        if isinstance(adapter, type) and issubclass(adapter, Op):  # its apply takes the arguments of its forward
            return _of_signature(inspect.signature(adapter.forward), count + 1)[1:]
        return _of_signature(inspect.signature(function), count)
    except Exception:  # user code may compute the signature, and only a name depends on it
        return _numbered(count)


def _of_signature(signature: inspect.Signature, count: int) -> list[str]:
    names: list[str] = []
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            names += [f"{parameter.name}[{n}]" for n in range(count - len(names))]
        elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            names.append(parameter.name)
    return [f"`{name}`" for name in names[:count]] if len(names) >= count else _numbered(count)


def _numbered(count: int) -> list[str]:
    return [f"input {number}" for number in range(count)]


def listed(labels: Sequence[str]) -> str:
    """Return "`x`, `w` and `b`"."""
    return " and ".join(filter(None, [", ".join(labels[:-1]), *labels[-1:]]))
