"""A case of a kernel: its arguments, for which Hypothesis draws shapes, geometry, memory orders and a seed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from hypothesis import strategies as st

from minires.device import Array
from minires.testing import strategies

Shape = tuple[int, ...]


class KernelCase(NamedTuple):
    """Arguments of a kernel. If it writes in place, ``changed`` are the indices of its results: arrays, or lists."""

    arguments: tuple[Any, ...]
    changed: tuple[int, ...] = ()

    def function(self, kernel: Callable[..., Any]) -> Callable[..., Any]:
        """Return the kernel as a function that returns its results, also if it writes in place."""

        def call(*arguments: Any) -> Any:
            result = kernel(*arguments)
            return tuple(_arrays(arguments[i] for i in self.changed)) if self.changed else result

        return call


def _arrays(values: Iterable[Any]) -> Iterator[Any]:
    """Yield the values, and those in their lists."""
    for value in values:
        yield from value if isinstance(value, list) else [value]


Cases = Callable[[st.DrawFn], KernelCase]


class DrawnArrays:
    """Draw float32 arrays of one seed; each has another stream and a drawn memory order."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw, self.seed, self.made = draw, draw(strategies.seeds()), 0

    def __call__(self, shape: Shape, *kinds: str) -> Array:
        """Return an array of one of the kinds of values, by default "smooth"."""
        kind, order = self.draw(st.sampled_from(kinds or ("smooth",))), self.draw(strategies.memory_orders())
        self.made += 1
        return strategies.array(tuple(shape), self.seed, kind, "float32", order, self.made)
