"""Find a user's operation, ``mymodule:my_op``, and its gradient."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from minires.autograd.op import Op
from minires.errors import SettingsError
from minires.nn.module import Module
from minires.testing.catalogue.own_layer import Layer
from minires.testing.catalogue.own_module import found_in, place_of

SUFFIXES = ("_vjp", "_grad", "_backward", "_bwd")
_FORWARD = ("_forward", "_fwd")  # f_forward and f_vjp belong together, as f and f_vjp do
OF_ARRAYS = (
    "a function of arrays needs its gradient beside it, under its own name and _vjp, _grad, _backward or _bwd, or as a "
    "tuple (forward, vjp)"
)
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True)
class OwnOperation:
    """A function of Tensors, or (with ``vjp``) a function of arrays and its gradient.

    ``place`` and ``gradient_place`` say where both are defined; the latter is empty for a function of Tensors, whose
    gradients a call finds. With ``has_cache`` the function returns (y, cache), and vjp takes (gy, cache).
    """

    name: str
    function: Callable[..., Any]
    vjp: Callable[..., Any] | None
    signature: inspect.Signature
    place: str
    gradient_place: str = ""
    has_cache: bool = False

    @property
    def layer(self) -> Layer | None:
        """The module whose parameters are checked as well, or None."""
        return self.function if isinstance(self.function, Layer) else None

    def inputs(self) -> int:
        """Return how many inputs the operation needs.

        Raises
        ------
        SettingsError : if its signature does not say.
        """
        needed = _needed(self.signature)
        if not needed:
            raise SettingsError(f"{self.name} does not tell how many inputs it has: give --shapes, one for each")
        return needed


def _needed(signature: inspect.Signature) -> int:
    return sum(p.kind in _POSITIONAL and p.default is p.empty for p in signature.parameters.values())


def find(target: str, device: str = "cpu") -> OwnOperation:
    """Return the operation that ``module:name`` or ``file.py:name`` means.

    It may be a subclass of Op, a Module, a function of Tensors, a tuple (forward, vjp), or a function of arrays with
    its gradient beside it: ``name_vjp``, ``name_grad``, ``name_backward`` or ``name_bwd``.

    Raises
    ------
    SettingsError : if the name does not exist, is none of these, or has several gradients.
    """
    found, holder, name = found_in(target)
    if isinstance(found, type) and issubclass(found, Op):
        _, *parameters = inspect.signature(found.forward).parameters.values()
        return OwnOperation(target, found.apply, None, inspect.Signature(parameters), place_of(found.forward))
    if isinstance(found, type) and issubclass(found, Module):
        found = _made(target, found)
    if isinstance(found, Module):
        return OwnOperation(target, Layer(found, device), None, inspect.signature(found.forward), place_of(found))
    if isinstance(found, tuple | list) and len(found) == 2 and all(map(callable, found)):
        found, vjp = found
    else:
        vjp = _beside(target, holder, name)
    kind = _unlike_an_operation(found)
    if kind:
        raise SettingsError(f"{target} is {kind}; expected an Op, a Module, a function of Tensors, or (forward, vjp)")
    try:
        signature = inspect.signature(found)
    except ValueError as error:  # some functions written in C have no signature
        raise SettingsError(f"{target} does not tell what inputs it takes: put it into a function of yours") from error
    if vjp is None:
        return OwnOperation(target, found, None, signature, place_of(found))
    has_cache = _takes_a_cache(target, signature, vjp)
    return OwnOperation(target, found, vjp, signature, place_of(found), place_of(vjp), has_cache)


def _made(target: str, kind: type[Module]) -> Module:
    try:
        return kind()
    except TypeError as error:
        raise SettingsError(
            f"{target} is a class of modules that needs arguments ({error}): name a module, as in net = "
            f"{kind.__name__}(…)"
        ) from error


def _beside(target: str, holder: Any, name: str) -> Callable[..., Any] | None:
    """Return the gradient beside a function, or None."""
    stems = [name, *(name.removesuffix(end) for end in _FORWARD if name.endswith(end))]
    names = [stem + suffix for stem in stems for suffix in SUFFIXES]
    found = {name: value for name in names if callable(value := getattr(holder, name, None))}
    if len({id(value) for value in found.values()}) > 1:
        raise SettingsError(
            f"{target} has several gradients beside it: {', '.join(found)}; choose one by a tuple in the module, "
            f"as in checked = ({name}, {next(iter(found))})"
        )
    return next(iter(found.values()), None)


def _takes_a_cache(target: str, signature: inspect.Signature, vjp: Callable[..., Any]) -> bool:
    """Return whether the gradient takes (gy, cache).

    Raises
    ------
    SettingsError : if it takes neither (gy, cache) nor gy and the arguments of the function.
    """
    try:
        taken = inspect.signature(vjp)
    except ValueError:
        return False
    names = [p.name for p in taken.parameters.values() if p.kind in _POSITIONAL]
    if len(names) == 2 and names[1] in ("cache", "saved", "ctx"):
        return True
    needed = _needed(signature)
    try:
        taken.bind(None, *[None] * needed)
    except TypeError as error:
        name = getattr(vjp, "__name__", "the gradient")
        inputs = ", ".join(p.name for p in signature.parameters.values())
        raise SettingsError(
            f"{target}: its gradient is called as {name}(gy, {inputs}), gy being the gradient of the output (of two "
            f"outputs a tuple of two, {name}((gy0, gy1), {inputs})), or as "
            f"{name}(gy, cache) if the function returns (y, cache), but it takes {taken}: {error}"
        ) from error
    return False


def _unlike_an_operation(found: Any) -> str:
    """Return what a value is if it is no operation, otherwise ""."""
    if isinstance(found, type):
        return "a class, but no subclass of minires.Op or minires.nn.Module"
    if inspect.iscoroutinefunction(found) or inspect.isasyncgenfunction(found):
        return "asynchronous"
    return "" if callable(found) else f"a {type(found).__name__}"


def must_fit(operation: OwnOperation, shapes: Sequence[object]) -> None:
    """Raise SettingsError if an operation does not take an input for each shape."""
    try:
        operation.signature.bind(*shapes)
    except TypeError as error:
        given = f"{len(shapes)} input" + "s" * (len(shapes) != 1)
        raise SettingsError(
            f"{operation.name} does not take {given}, one for each of --shapes: {error}; it is {operation.place}"
        ) from error
