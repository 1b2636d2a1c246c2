"""A function of arrays and of other things, such as a geometry, as a function of its arrays alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from minires.testing.report import GradientError
from minires.testing.reproduce.definitions import definitions
from minires.testing.subject.names import labels_of


class Bound:
    """``function`` and ``vjp`` with some of their arguments fixed.

    Parameters
    ----------
    function : function(*arguments) -> y
    vjp : vjp(gy, *arguments) -> one gradient for each argument that is not fixed; or one for each argument, and None
        for those that are fixed. None where there is no vjp.
    count : of all arguments
    fixed : the fixed ones by their places
    has_cache : function returns (y, cache), and the gradient is vjp(gy, cache)
    """

    def __init__(
        self,
        function: Callable[..., Any],
        vjp: Callable[..., Any] | None,
        count: int,
        fixed: Mapping[int, Any],
        has_cache: bool = False,
    ) -> None:
        self.function, self.whole_vjp, self.count, self.has_cache = function, vjp, count, has_cache
        self.fixed = dict(fixed)

    def forward(self, *others: Any) -> Any:
        """``function``, given the other arguments."""
        return self.function(*self._all(others))

    def vjp(self, gy: Any, *others: Any) -> Any:
        """The gradients of the other arguments; ``others`` is the cache where there is one.

        Raises
        ------
        GradientError : if a fixed argument has a gradient that is not None.
        """
        assert self.whole_vjp is not None
        gradients = self.whole_vjp(gy, *(others if self.has_cache else self._all(others)))
        if not isinstance(gradients, tuple | list) or len(gradients) != self.count:
            return gradients
        for place in self.fixed:
            if gradients[place] is not None:
                raise GradientError(
                    f"{labels_of(self.function, self.count)[place]} is no array and has no gradient: vjp must return "
                    "None for it"
                )
        return tuple(g for place, g in enumerate(gradients) if place not in self.fixed)

    def _all(self, others: Sequence[Any]) -> list[Any]:
        remaining = iter(others)
        return [self.fixed[place] if place in self.fixed else next(remaining) for place in range(self.count)]

    def input_labels(self, count: int) -> list[str]:
        """What the arguments that are not fixed are called."""
        labels = labels_of(self.function, self.count)
        return [label for place, label in enumerate(labels) if place not in self.fixed]

    def reproduction(self) -> list[str]:
        """Source that defines ``function`` and ``vjp`` of the other arguments again."""
        names = {place: f"argument{place}" for place in self.fixed}
        fixed = ", ".join(f"{place}: {name}" for place, name in names.items())
        return [
            "from minires.testing.subject.bound import Bound",
            *definitions(whole_function=self.function, whole_vjp=self.whole_vjp),
            *definitions(**{name: self.fixed[place] for place, name in names.items()}),
            f"bound = Bound(whole_function, whole_vjp, {self.count}, {{{fixed}}}, {self.has_cache})",
            "function, vjp = bound.forward, bound.vjp",
        ]
