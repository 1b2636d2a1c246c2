"""Turn a function of arrays and other values, such as a geometry, into a function of its arrays alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from minires.testing.calling.arguments import call_function, call_vjp
from minires.testing.calling.names import labels_of
from minires.testing.report import GradientError
from minires.testing.reproduce.definitions import definitions


class FixedArguments:
    """``function`` and ``vjp`` with some of their arguments fixed.

    Parameters
    ----------
    function : function(*arguments) -> y
    vjp : vjp(gy, *arguments) -> one gradient for each argument that is not fixed; or one for each argument, with None
        for those that are fixed. None if there is no vjp.
    count : the number of all arguments
    fixed : argument index -> value
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
        """Return what ``function`` returns for the other arguments."""
        return call_function(self.function, self._all(others))

    def vjp(self, gy: Any, *others: Any) -> Any:
        """Return the gradients of the other arguments; ``others`` is the cache if there is one.

        Raises
        ------
        GradientError : if a fixed argument has a gradient that is not None.
        """
        assert self.whole_vjp is not None
        given = others if self.has_cache else self._all(others)
        gradients = call_vjp(self.whole_vjp, gy, given, self.function, self.has_cache)
        if not isinstance(gradients, tuple | list) or len(gradients) != self.count:
            return gradients
        for argument in self.fixed:
            if gradients[argument] is not None:
                label = labels_of(self.function, self.count)[argument]
                raise GradientError(f"{label} is not an array and has no gradient: vjp must return None for it")
        return tuple(g for argument, g in enumerate(gradients) if argument not in self.fixed)

    def _all(self, others: Sequence[Any]) -> list[Any]:
        remaining = iter(others)
        return [self.fixed[n] if n in self.fixed else next(remaining) for n in range(self.count)]

    def input_labels(self, count: int) -> list[str]:
        """Return what messages call the arguments that are not fixed."""
        labels = labels_of(self.function, self.count)
        return [label for argument, label in enumerate(labels) if argument not in self.fixed]

    def reproduction(self) -> list[str]:
        """Return source code that defines ``function`` and ``vjp`` of the other arguments again."""
        names = {argument: f"argument{argument}" for argument in self.fixed}
        fixed = ", ".join(f"{argument}: {name}" for argument, name in names.items())
        return [
            "from minires.testing.calling.fixed_arguments import FixedArguments",
            *definitions(whole_function=self.function, whole_vjp=self.whole_vjp),
            *definitions(**{name: self.fixed[argument] for argument, name in names.items()}),
            f"fixed = FixedArguments(whole_function, whole_vjp, {self.count}, {{{fixed}}}, {self.has_cache})",
            "function, vjp = fixed.forward, fixed.vjp",
        ]
