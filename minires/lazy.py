"""Packages whose names are imported when they are first asked for (PEP 562).

pytest imports `minires.testing.pytest_plugin`, and with it the packages ``minires`` and ``minires.testing``, at the
start of every run in an environment where minires is installed, in whatever project. Such a run must pay for nothing,
so these two packages import nothing by themselves.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def lazily(
    package: str, modules: Sequence[str], names: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a package, which Python asks for names that are not there (yet).

    Parameters
    ----------
    package : its name, ``__name__``
    modules : modules of the package that are attributes of it
    names : for each module of the package, what is offered of it

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
