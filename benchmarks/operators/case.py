"""One operator at one point, and the error that is planted in its gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

PLANTED = 1e-3  # the relative error of one element of one gradient


class Plant(NamedTuple):
    """The element of one gradient that is multiplied by 1 + `PLANTED`."""

    argument: int
    index: tuple[int, ...]

    def factors(self, shape: Sequence[int]) -> np.ndarray:
        """Return an array by which the gradient of `argument`, of this shape, is multiplied."""
        factors = np.ones(shape)
        factors[self.index] += PLANTED
        return factors


@dataclass(frozen=True)
class Case:
    """A function of float64 arrays, its library's own gradient, and the library's own check of that gradient.

    Attributes
    ----------
    function : function(*arrays) -> an array, or a tuple of arrays
    vjp : vjp(gy, *arrays) -> one gradient, or None, per array
    arrays : the point
    own_check : own_check(plant or None) -> None; raises if the library's own checker, with its defaults, rejects the
        gradient. With a plant, one element of the gradient that it sees is wrong.
    """

    library: str
    name: str
    sample: int
    function: Callable[..., Any]
    vjp: Callable[..., Any]
    arrays: tuple[np.ndarray, ...]
    own_check: Callable[[Plant | None], None]

    @property
    def size(self) -> int:
        """The number of elements of all arrays."""
        return sum(x.size for x in self.arrays)

    def planted_vjp(self, plant: Plant) -> Callable[..., Any]:
        """Return `vjp` with the error of ``plant``."""

        def vjp(gy: Any, *arrays: np.ndarray) -> tuple[Any, ...]:
            gradients = list(self.vjp(gy, *arrays))
            gradients[plant.argument] = gradients[plant.argument] * plant.factors(arrays[plant.argument].shape)
            return tuple(gradients)

        return vjp


def with_plant(
    function: Callable[..., Any],
    plant: Plant | None,
    arrays: Sequence[np.ndarray],
    with_wrong_gradient: Callable[[np.ndarray], Callable[[Any], Any]],
) -> Callable[..., Any]:
    """Return ``function`` with the error of ``plant`` in the gradient that its library computes.

    Parameters
    ----------
    with_wrong_gradient : factors -> the identity with a gradient that is multiplied by the factors
    """
    if plant is None:
        return function
    identity, place = with_wrong_gradient(plant.factors(arrays[plant.argument].shape)), plant.argument

    def planted(*inputs: Any) -> Any:
        return function(*inputs[:place], identity(inputs[place]), *inputs[place + 1 :])

    return planted


def choose_plant(case: Case, rng: np.random.Generator) -> Plant | str:
    """Return an element of one gradient for the planted error, or the reason why there is none.

    It may be any element above 1e-9 of the gradient's largest. And moving the input by its own size must move an output
    by 1e-9 of the largest output. Smaller elements may only be rounding errors.
    """
    y = case.function(*case.arrays)
    outputs = y if isinstance(y, tuple) else (y,)
    if not all(np.isfinite(output).all() for output in outputs):
        return "an output is not finite"
    gy = tuple(rng.uniform(0.5, 1, output.shape) for output in outputs)
    gradients = case.vjp(gy if isinstance(y, tuple) else gy[0], *case.arrays)
    reach = max(float(np.max(np.abs(output), initial=0.0)) for output in outputs)
    places = []
    for argument, (x, g) in enumerate(zip(case.arrays, gradients, strict=True)):
        if g is None or not g.size:
            continue
        size = np.where(np.isfinite(g), np.abs(g), 0.0)
        visible = (size > 1e-9 * size.max()) & (size * np.max(np.abs(x)) > 1e-9 * reach) & np.isfinite(g)
        places += [Plant(argument, tuple(map(int, index))) for index in np.argwhere(visible)]
    if not places:
        return "the gradient is zero"
    return places[int(rng.integers(len(places)))]
