"""A case of a kernel: the arguments to call it with, drawn by Hypothesis as shapes, geometry, orders and a seed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from hypothesis import strategies as st

from minires.device import Array
from minires.testing import strategies

Shape = tuple[int, ...]


class KernelCase(NamedTuple):
    """Arguments of a kernel. Of one that writes, ``changed`` says which arguments, or lists, are its results."""

    arguments: tuple[Any, ...]
    changed: tuple[int, ...] = ()

    def function(self, kernel: Callable[..., Any]) -> Callable[..., Any]:
        """The kernel as a function of its arguments, also if it writes into them."""

        def call(*arguments: Any) -> Any:
            result = kernel(*arguments)
            return tuple(_arrays(arguments[i] for i in self.changed)) if self.changed else result

        return call


def _arrays(values: Iterable[Any]) -> Iterator[Any]:
    """The arrays among values, and those in their lists."""
    for value in values:
        yield from value if isinstance(value, list) else [value]


Cases = Callable[[st.DrawFn], KernelCase]


class Values:
    """Arrays of one seed in float32, each in a memory order of its own."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw, self.seed, self.made = draw, draw(strategies.seeds()), 0

    def __call__(self, shape: Shape, *kinds: str) -> Array:
        """An array of one of the kinds, smooth by default."""
        kind, order = self.draw(st.sampled_from(kinds or ("smooth",))), self.draw(strategies.memory_orders())
        self.made += 1
        return strategies.array(tuple(shape), self.seed, kind, "float32", order, self.made)
