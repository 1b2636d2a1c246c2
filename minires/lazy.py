"""Packages that import a name when it is first used (PEP 562).

Where minires is installed, pytest imports `minires.testing.pytest_plugin` at the start of every run, in any project.
This also imports the packages ``minires`` and ``minires.testing``. A run that does not use minires must not become
slower, so these two packages import nothing at first.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def lazily(
    package: str, modules: Sequence[str], names: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` for a package, which import its names on first use.

    Parameters
    ----------
    package : the package's ``__name__``
    modules : the modules that are attributes of the package
    names : for each module, the names that the package takes from it

    Raises
    ------
    AttributeError : by ``__getattr__``, for any other name.
    """
    home = {name: module for module, offered in names.items() for name in offered}

    def get(name: str) -> Any:
        if name in modules:
            return importlib.import_module(f"{package}.{name}")
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        found = getattr(importlib.import_module(f"{package}.{home[name]}"), name)
        setattr(sys.modules[package], name, found)  # the next look-up is an ordinary attribute
        return found

    def everything() -> list[str]:
        return sorted({*vars(sys.modules[package]), *modules, *home})

    return get, everything
