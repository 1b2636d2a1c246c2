"""JAX's functions in float64, with `jax.vjp` as the gradient.

Every public function of the modules below takes part if it accepts one of the argument lists of `signatures`.
`jax_calls` has the calls of functions that need other arguments, such as axes, windows and indices.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import test_util

from operators.case import Case, Plant, with_plant
from operators.jax_calls import CALLS
from operators.signatures import cases_of

jax.config.update("jax_enable_x64", True)
VERSION = jax.__version__
_MODULES = ("lax", "lax.linalg", "nn", "scipy.special", "scipy.linalg", "numpy.linalg", "numpy.fft", "numpy")
_ALIASES = (
    "absolute acos acosh asin asinh atan atan2 atanh around concat conj divide max min permute_dims pow round_ "
    "row_stack cumulative_prod cumulative_sum matrix_transpose"
)
_NOT_FUNCTIONS = {
    "save",
    "savez",
    "load",
    "fromfile",
    "frompyfunc",
    "infeed",
    "outfeed",
    "printoptions",
    "set_printoptions",
    "apply_along_axis",
    "apply_over_axes",
    *_ALIASES.split(),
}
Skipped = str


def names() -> list[str]:
    """Return the names of all functions that are tried."""
    return list(_table())


def cases(name: str, number: int) -> Iterator[Case | Skipped]:
    """Return up to ``number`` cases for a function, or the reason why there is none."""
    return cases_of(*_table()[name], _gradients, number, functools.partial(_case, name))


@functools.cache
def _table() -> dict[str, tuple[Callable[..., Any], tuple[np.ndarray, ...] | None]]:
    table: dict[str, tuple[Callable[..., Any], tuple[np.ndarray, ...] | None]] = dict(CALLS)
    known = set()
    for module_name in _MODULES:
        module = importlib.import_module(f"jax.{module_name}")
        for name in sorted(getattr(module, "__all__", vars(module))):
            function = getattr(module, name, None)
            if (
                name.startswith("_")
                or name.endswith("_p")
                or name in _NOT_FUNCTIONS
                or not callable(function)
                or isinstance(function, type)
            ):
                continue
            if id(function) not in known:
                known.add(id(function))
                table.setdefault(f"{module_name}.{name}", (function, None))
    return table


def _floats(function: Callable[..., Any]) -> Callable[..., tuple[jax.Array, ...]]:
    """Return a function with its float outputs as a tuple, complex ones as real and imaginary parts."""

    def outputs(*inputs: Any) -> tuple[jax.Array, ...]:
        leaves = [y for y in jax.tree_util.tree_leaves(function(*inputs)) if isinstance(y, jax.Array)]
        leaves = [jnp.stack([y.real, y.imag], -1) if jnp.iscomplexobj(y) else y for y in leaves]
        return tuple(y for y in leaves if jnp.issubdtype(y.dtype, jnp.floating))

    return outputs


def _gradients(function: Callable[..., Any], arrays: tuple[np.ndarray, ...]) -> tuple[Any, Any]:
    """Return the outputs, and the gradients of their sum."""
    shapes = jax.eval_shape(_floats(function), *arrays)  # compiles nothing, so it fails soon if arguments do not fit
    if not shapes or any(y.dtype != jnp.float64 for y in shapes):
        raise TypeError("no float64 output")
    outputs, pull = jax.vjp(_floats(function), *map(jnp.array, arrays))
    gradients = pull(tuple(map(jnp.ones_like, outputs)))
    return tuple(map(np.asarray, outputs)), tuple(map(np.asarray, gradients))


def _case(name: str, index: int, function: Callable[..., Any], arrays: tuple[np.ndarray, ...]) -> Case:
    outputs_of = jax.jit(_floats(function))  # otherwise each call compiles its loops and branches
    gradients_of = jax.jit(lambda gy, *inputs: jax.vjp(outputs_of, *inputs)[1](gy))

    def forward(*inputs: np.ndarray) -> Any:
        outputs = tuple(np.array(y) for y in outputs_of(*map(jnp.array, inputs)))
        return outputs if len(outputs) > 1 else outputs[0]

    def vjp(gy: Any, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        incoming = tuple(map(jnp.array, gy if isinstance(gy, tuple) else (gy,)))
        return tuple(np.array(g) for g in gradients_of(incoming, *map(jnp.array, inputs)))

    def own_check(plant: Plant | None) -> None:
        checked = with_plant(outputs_of, plant, arrays, _with_wrong_gradient)
        test_util.check_grads(jax.jit(checked), tuple(map(jnp.asarray, arrays)), order=1, modes=("rev",))

    return Case("jax", name, index, forward, vjp, arrays, own_check)


def _with_wrong_gradient(factors: np.ndarray) -> Callable[[jax.Array], jax.Array]:
    """Return the identity with a gradient that is multiplied by ``factors``."""
    identity = jax.custom_vjp(lambda x: x)
    identity.defvjp(lambda x: (x, None), lambda _, g: (g * factors,))
    return identity
