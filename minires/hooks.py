"""Functions that somebody wants called, and the handle that takes one away again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Hook:
    """A function in a dictionary of hooks; ``hook.remove()``, or ``hook()``, takes it out, once or more often."""

    def __init__(self, hooks: dict[Any, Callable[..., Any]], function: Callable[..., Any]) -> None:
        self._hooks = hooks
        hooks[self] = function

    def remove(self) -> None:
        """Take the function away."""
        self._hooks.pop(self, None)

    __call__ = remove
