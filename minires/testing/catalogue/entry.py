"""An entry of the catalogue: an operation, and how Hypothesis draws cases of it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from minires.device import Array
from minires.testing import strategies

Shape = tuple[int, ...]
Kinds = str | tuple[str, ...]

_KINDS: dict[str, Callable[[np.random.Generator, Shape], Array]] = {
    "near one": lambda rng, shape: rng.uniform(0.5, 2.0, shape),
    "odd quarters": lambda rng, shape: (2.0 * rng.integers(-4, 4, shape) + 1.0) / 4,
    "beside zero": lambda rng, shape: rng.choice([-1.0, 1.0], shape) * 10.0 ** rng.uniform(-12, 0, shape),
}


@dataclass(frozen=True)
class Case:
    """One way to apply an operation.

    Attributes
    ----------
    function : of Tensors, closed over the options (geometry, axis, labels)
    shapes : of its float inputs
    text : how the call reads, with x0, x1, … for the inputs
    smooth : the kinds of real values of the inputs (see `values`), one for all or one each; None if the function
        rounds, so that differences prove nothing
    exact : the kinds of values for which nothing rounds. The function must be linear, bilinear or quadratic between
        its corners, and multiply by powers of two only. None for any other function.
    analytic : whether the reference kernels compute it for complex numbers
    own_formula : whether fast kernels use another formula, which also rounds integers
    """

    function: Callable[..., Any]
    shapes: tuple[Shape, ...]
    text: str
    smooth: Kinds | None = "smooth"
    exact: Kinds | None = None
    analytic: bool = True
    own_formula: bool = False

    def values(self, kinds: Kinds, seed: int, dtype: Any = np.float64) -> list[Array]:
        """Return the inputs in C order.

        ``kinds`` are those of `strategies.array`, or "near one" (½ … 2), "odd quarters" (odd multiples of ¼), "beside
        zero" (±10⁻¹² … 1).
        """
        each = (kinds,) * len(self.shapes) if isinstance(kinds, str) else kinds
        arrays = []
        for stream, (shape, kind) in enumerate(zip(self.shapes, each, strict=True)):
            if kind in _KINDS:
                made = np.asarray(_KINDS[kind](np.random.default_rng([seed, stream]), shape), dtype)
            else:
                made = strategies.array(shape, seed, kind, dtype, stream=stream)
            arrays.append(made)
        return arrays


@dataclass(frozen=True)
class Entry:
    """An operation by its public name, and a function that draws a `Case` of it.

    If one operation has several entries, ``name`` goes on after a comma: "batch_norm, inference".
    """

    name: str
    draw: Callable[[st.DrawFn], Case]

    @property
    def operation(self) -> str:
        """The public name: a function of `functional`, or a method of Tensor."""
        return self.name.partition(",")[0]

    def cases(self) -> st.SearchStrategy[Case]:
        """Return a strategy of cases of this operation, small ones first."""
        return _composite(self.draw)()


@functools.cache  # Hypothesis reads the source of what it makes a strategy of, which takes a millisecond
def _composite(draw: Callable[[st.DrawFn], Case]) -> Any:
    return st.composite(draw)


def is_power_of_two(number: float) -> bool:
    """Return whether division by ``number`` is exact."""
    return bool(np.frexp(number)[0] == 0.5)
