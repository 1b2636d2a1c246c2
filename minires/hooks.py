"""Hooks: functions that are called when something happens, and the handle that removes one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Hook:
    """A handle of a registered function. ``hook.remove()`` or ``hook()`` removes it; a second call does nothing."""

    def __init__(self, hooks: dict[Any, Callable[..., Any]], function: Callable[..., Any]) -> None:
        self._hooks = hooks
        hooks[self] = function

    def remove(self) -> None:
        """Remove the function from the dictionary of hooks."""
        self._hooks.pop(self, None)

    __call__ = remove
