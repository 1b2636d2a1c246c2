"""The primitives of HIPS autograd, each of which has its gradient in ``autograd.core.primitive_vjps``.

A primitive takes part if it accepts one of the argument lists of `signatures`. `autograd_calls` has the calls of
primitives that need other arguments, such as axes, indices and parameters of distributions.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
from collections.abc import Callable, Iterator
from typing import Any

import autograd.numpy as anp
import numpy as np
from autograd import make_vjp, test_util
from autograd.core import primitive_vjps
from autograd.extend import defvjp, primitive
from autograd.tracer import isbox

from operators.autograd_calls import CALLS
from operators.case import Case, Plant, with_plant
from operators.signatures import cases_of

VERSION = importlib.metadata.version("autograd")
_MODULES = (
    "numpy.linalg numpy.fft numpy.random scipy.special scipy.linalg scipy.signal scipy.integrate "
    "scipy.stats.norm scipy.stats.t scipy.stats.beta scipy.stats.gamma scipy.stats.chi2 scipy.stats.poisson "
    "scipy.stats.multivariate_normal scipy.stats.dirichlet"
)
Skipped = str

for _name in _MODULES.split():
    importlib.import_module(f"autograd.{_name}")


def names() -> list[str]:
    """Return the names of all primitives with a gradient."""
    return list(_table())


def cases(name: str, number: int) -> Iterator[Case | Skipped]:
    """Return up to ``number`` cases for a primitive, or the reason why there is none."""
    return cases_of(*_table()[name], _gradients, number, functools.partial(_case, name))


@functools.cache
def _table() -> dict[str, tuple[Callable[..., Any], tuple[np.ndarray, ...] | None]]:
    table: dict[str, tuple[Callable[..., Any], tuple[np.ndarray, ...] | None]] = dict(CALLS)
    for function in primitive_vjps:
        plain = getattr(function, "fun", function)
        module = (getattr(plain, "__module__", None) or type(plain).__module__).removeprefix("autograd.")
        if module in ("builtins", "core"):  # functions of containers and of autograd's own vectors
            continue
        owner = getattr(getattr(plain, "__self__", None), "name", "")  # a distribution
        name = ".".join(part for part in (module, owner, getattr(function, "__name__", repr(function))) if part)
        table[name] = table.get(name, (function, None))
    return dict(sorted(table.items()))


def _parts(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function with all float outputs in one array, complex ones as real and imaginary parts."""

    def outputs(*inputs: Any) -> Any:
        returned = function(*inputs)
        leaves = list(returned) if isinstance(returned, tuple) or _holds_tuple(returned) else [returned]
        flat = []
        for leaf in leaves:
            parts = [anp.real(leaf), anp.imag(leaf)] if anp.iscomplexobj(leaf) else [leaf]
            flat += [anp.ravel(part) for part in parts]
        return flat[0] if len(flat) == 1 else anp.concatenate(flat)

    return outputs


def _holds_tuple(value: Any) -> bool:
    return isbox(value) and isinstance(value._value, tuple)


def _gradients(function: Callable[..., Any], arrays: tuple[np.ndarray, ...]) -> tuple[Any, Any]:
    """Return the outputs, and the gradients of their sum."""
    pull, y = make_vjp(lambda given: _parts(function)(*given))(tuple(x.copy() for x in arrays))
    y = np.asarray(y)
    return [y], [np.asarray(g) for g in pull(np.ones_like(y))]


def _case(name: str, index: int, function: Callable[..., Any], arrays: tuple[np.ndarray, ...]) -> Case:
    outputs_of = _parts(function)

    def forward(*inputs: np.ndarray) -> np.ndarray:
        return np.array(outputs_of(*inputs))

    def vjp(gy: np.ndarray, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        pull, _ = make_vjp(lambda given: outputs_of(*given))(inputs)
        return tuple(np.asarray(g) for g in pull(gy))

    def own_check(plant: Plant | None) -> None:
        checked = with_plant(outputs_of, plant, arrays, _with_wrong_gradient)
        np.random.seed(0)  # noqa: NPY002 (the checker draws from the global generator)
        test_util.check_grads(checked, modes=["rev"], order=1)(*(x.copy() for x in arrays))

    return Case("autograd", name, index, forward, vjp, arrays, own_check)


def _with_wrong_gradient(factors: np.ndarray) -> Callable[[Any], Any]:
    """Return the identity with a gradient that is multiplied by ``factors``."""
    identity = primitive(lambda x: x.copy())
    defvjp(identity, lambda y, x: lambda g: g * factors)
    return identity
