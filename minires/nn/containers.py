"""Modules that hold other modules in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count
from operator import index as integer
from typing import Any, TypeVar

from minires.nn.module import Module

R = TypeVar("R", bound="Container")


class Identity(Module):
    """Return the input unchanged."""

    def forward(self, x: Any) -> Any:
        """Return x."""
        return x


class Container(Module):
    """The base class of `Sequential` and `ModuleList`: modules in order, as attributes."""

    def __iter__(self) -> Iterator[Module]:
        return (module for _, module in self._own_modules())

    def __len__(self) -> int:
        return len(self._own_modules())

    def __getitem__(self, index: Any) -> Any:
        return list(self)[index]

    def __setitem__(self, index: int, module: Module) -> None:
        (module,) = _checked(self, [module], first=index)
        self.add_module(self._own_modules()[integer(index)][0], module)

    def append(self: R, module: Module) -> R:
        """Add a module at the end; return the container."""
        return self.extend([module])

    def extend(self: R, modules: Iterable[Module]) -> R:
        """Add several modules at the end; return the container.

        Raises
        ------
        TypeError : if one of them is not a module; then none is added.
        """
        for module in _checked(self, modules, first=len(self)):
            self.add_module(next(name for name in map(str, count(len(self))) if name not in vars(self)), module)
        return self


class Sequential(Container):
    """Call modules one after the other, each with the output of the one before it.

    ``net[0]`` is a module; ``net[1:]`` is a Sequential that shares the modules and their names.

    Parameters
    ----------
    modules : modules, which get the names 0, 1, 2, …; or one dictionary of modules by name

    Raises
    ------
    TypeError : if one of them is not a module; the message has its position.
    """

    def __init__(self, *modules: Any) -> None:
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], dict):
            for name, module in zip(modules[0], _checked(self, modules[0].values()), strict=True):
                self.add_module(name, module)
        else:
            self.extend(modules)

    def forward(self, x: Any) -> Any:
        """Return x after all modules."""
        for module in self:
            x = module(x)
        return x

    def __getitem__(self, index: Any) -> Any:
        return Sequential(dict(self._own_modules()[index])) if isinstance(index, slice) else super().__getitem__(index)


class ModuleList(Container):
    """A list of modules, under the names 0, 1, 2, …, which its owner calls. A slice is a ModuleList.

    Raises
    ------
    TypeError : if one of them is not a module; the message has its position.
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        self.extend(modules)

    def forward(self, x: Any) -> Any:
        """Raise: a list has no forward pass."""
        raise TypeError("a ModuleList is not called; iterate over it")

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        return ModuleList(found) if isinstance(index, slice) else found


def _checked(container: Container, modules: Iterable[Any], first: int = 0) -> list[Module]:
    """Return the modules as a list; raise if one is not a module. ``first`` is the index of the first, for messages."""
    modules = list(modules)
    for index, module in enumerate(modules, integer(first)):
        if not isinstance(module, Module):
            raise TypeError(
                f"{type(container).__name__} holds modules, but a {type(module).__name__} was given at position "
                f"{index}: wrap a function in a Module, make an instance of a class, unpack a list with *"
            )
    return modules
