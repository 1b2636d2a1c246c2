"""Say what to write instead of a NumPy function that was called with a tensor."""

from __future__ import annotations

from typing import Any

from minires.device import is_array

# What minires spells differently
_OPERATORS = {"add": "x + y", "subtract": "x - y", "multiply": "x * y", "divide": "x / y", "power": "x ** y"}
_METHODS = {"absolute": "x.abs()", "amax": "x.max()", "amin": "x.min()", "ravel": "x.flatten()", "copy": "x.clone()"}
_FUNCTIONS = {"concatenate": "mr.concatenate(…)", "stack": "mr.stack(…)", "where": "mr.where(…)", "pad": "F.pad(…)"}
_OTHERS = {"matmul": "x @ y", "dot": "x @ y", "negative": "-x", "array_equal": "(x == y).min()"}
_STACKS = {"maximum": "mr.maximum(…)", "vstack": "mr.stack(…)", "hstack": "mr.concatenate(…)"}
_SPELLINGS = {**_OPERATORS, **_METHODS, **_FUNCTIONS, **_OTHERS, **_STACKS}


def refusal(function: Any, kind: type, *given: Any) -> TypeError:
    """Return the error of a NumPy function that was called with a tensor.

    Parameters
    ----------
    function : the function of NumPy
    kind : the class whose methods may be suggested
    given : the function's arguments
    """
    name = function.__name__
    if any(is_array(value) for value in given):
        return TypeError(f"np.{name} cannot combine an array with a Tensor: wrap the array with mr.tensor(…)")
    module = (getattr(function, "__module__", None) or "numpy").replace("numpy", "np")
    own = _SPELLINGS.get(name, f"x.{name}(…)" if hasattr(kind, name) else "")
    instead = f"use {own}, or" if own else "use"
    return TypeError(f"{module}.{name} does not take a Tensor: {instead} x.numpy(), an array without a history")
