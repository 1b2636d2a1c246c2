"""Modules that hold others in a row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count
from operator import index as integer
from typing import Any, TypeVar

from minires.nn.module import Module

R = TypeVar("R", bound="Row")


class Identity(Module):
    """Gives back what it gets."""

    def forward(self, x: Any) -> Any:
        """Return x."""
        return x


class Row(Module):
    """Modules one after the other, as attributes; what `Sequential` and `ModuleList` share."""

    def __iter__(self) -> Iterator[Module]:
        return (module for _, module in self._places())

    def __len__(self) -> int:
        return len(self._places())

    def __getitem__(self, index: Any) -> Any:
        return list(self)[index]

    def __setitem__(self, index: int, module: Module) -> None:
        (module,) = _checked(self, [module], first=index)
        self.add_module(self._places()[integer(index)][0], module)

    def append(self: R, module: Module) -> R:
        """Put a module at the end; gives the row back."""
        return self.extend([module])

    def extend(self: R, modules: Iterable[Module]) -> R:
        """Put several modules at the end; gives the row back.

        Raises
        ------
        TypeError : if one of them is no module; then none is added.
        """
        for module in _checked(self, modules, first=len(self)):
            self.add_module(next(name for name in map(str, count(len(self))) if name not in vars(self)), module)
        return self


class Sequential(Row):
    """Modules in a row, each given what the one before it returns.

    Parameters
    ----------
    modules : under the names 0, 1, 2, …; or one dictionary of modules by name

    ``row[0]`` is a module, ``row[1:]`` a Sequential of the same modules under the names that they have here.

    Raises
    ------
    TypeError : if one of them is no module: the text says which.
    """

    def __init__(self, *modules: Any) -> None:
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], dict):
            for name, module in zip(modules[0], _checked(self, modules[0].values()), strict=True):
                self.add_module(name, module)
        else:
            self.extend(modules)

    def forward(self, x: Any) -> Any:
        """Pass x through all of them."""
        for module in self:
            x = module(x)
        return x

    def __getitem__(self, index: Any) -> Any:
        return Sequential(dict(self._places()[index])) if isinstance(index, slice) else super().__getitem__(index)


class ModuleList(Row):
    """Modules under the names 0, 1, 2, … that the owner calls as it likes. A slice is a ModuleList.

    Raises
    ------
    TypeError : if one of them is no module: the text says which.
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        self.extend(modules)

    def forward(self, x: Any) -> Any:
        """Refuse: a list has no forward pass."""
        raise TypeError("a ModuleList is not called; iterate over it")

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        return ModuleList(found) if isinstance(index, slice) else found


def _checked(row: Row, modules: Iterable[Any], first: int = 0) -> list[Module]:
    modules = list(modules)
    for place, module in enumerate(modules, integer(first)):
        if not isinstance(module, Module):
            raise TypeError(
                f"{type(row).__name__} holds modules, but a {type(module).__name__} was given at position {place}: "
                "wrap a function in a Module, make an instance of a class, unpack a list with *"
            )
    return modules
