"""A module: parameters, buffers and other modules by name, and a forward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np

from minires.autograd.tensor import Tensor
from minires.device import Array
from minires.errors import CheckpointError, GraphError
from minires.functional.creation import tensor

M = TypeVar("M", bound="Module")


class Parameter(Tensor):
    """A tensor that a module learns: it requires a gradient, and the module finds it by itself."""

    __slots__ = ()

    def __init__(self, data: Tensor | Array) -> None:
        super().__init__(tensor(data)._array)
        self.requires_grad_()


class Module:
    """The base of all layers and networks. Assign parameters and modules as attributes; define ``forward``.

    Attributes
    ----------
    training : whether `train` or `eval` was called last; new modules train
    """

    training: bool

    def __init__(self) -> None:
        self.training = True
        self._buffers: dict[str, Tensor | None] = {}
        self._hooks: dict[object, Callable[[Module, tuple[Any, ...], Any], Any]] = {}

    def forward(self, *inputs: Any) -> Any:
        """Compute the output; subclasses define it."""
        raise TypeError(f"{type(self).__name__} does not define forward")

    def __call__(self, *inputs: Any) -> Any:
        """Run ``forward``, then the hooks."""
        output = self.forward(*inputs)
        for hook in tuple(self._hooks.values()):
            replaced = hook(self, inputs, output)
            output = output if replaced is None else replaced
        return output

    def register_forward_hook(self, hook: Callable[[Module, tuple[Any, ...], Any], Any]) -> Callable[[], None]:
        """Call ``hook(module, inputs, output)`` after each forward pass; what it returns, if not None, replaces it.

        Returns
        -------
        remove : a function without arguments that takes the hook away
        """
        key = object()
        self._hooks[key] = hook
        return lambda: self._hooks.pop(key, None) and None

    @property
    def hooked(self) -> bool:
        """Whether a forward hook is registered here."""
        return bool(self._hooks)

    def register_buffer(self, name: str, value: Tensor | None) -> None:
        """Keep a tensor that belongs to the state but is not learnt, as attribute ``name``."""
        self._buffers[name] = value

    def __getattr__(self, name: str) -> Any:
        buffers = self.__dict__.get("_buffers", {})
        if name in buffers:
            return buffers[name]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.__dict__.get("_buffers", {}):
            self._buffers[name] = value
        else:
            object.__setattr__(self, name, value)

    # Who is inside

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules assigned as attributes, in order."""
        return ((name, value) for name, value in vars(self).items() if isinstance(value, Module))

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module and all inside it, each with its path."""
        yield prefix, self
        for name, child in self.named_children():
            yield from child.named_modules(f"{prefix}.{name}" if prefix else name)

    def modules(self) -> Iterator[Module]:
        """This module and all inside it."""
        return (module for _, module in self.named_modules())

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """All parameters with their paths, each once."""
        seen: set[int] = set()
        for path, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, Parameter) and id(value) not in seen:
                    seen.add(id(value))
                    yield (f"{path}.{name}" if path else name), value

    def parameters(self) -> Iterator[Parameter]:
        """All parameters, each once."""
        return (parameter for _, parameter in self.named_parameters())

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """All buffers with their paths."""
        for path, module in self.named_modules():
            for name, value in module._buffers.items():
                if value is not None:
                    yield (f"{path}.{name}" if path else name), value

    def buffers(self) -> Iterator[Tensor]:
        """All buffers."""
        return (buffer for _, buffer in self.named_buffers())

    def apply(self: M, function: Callable[[Module], object]) -> M:
        """Call ``function`` with every module, the inner ones first."""
        for _, child in self.named_children():
            child.apply(function)
        function(self)
        return self

    # How it behaves

    def train(self: M, mode: bool = True) -> M:
        """Set ``training`` here and inside."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self: M) -> M:
        """Set ``training`` to False here and inside."""
        return self.train(False)

    # What it knows

    def state_dict(self) -> dict[str, Tensor]:
        """Parameters and buffers by path, in PyTorch's order: each module's own parameters, then its buffers.

        The tensors share memory with the module's, without its graph.
        """
        state: dict[str, Tensor] = {}
        for path, module in self.named_modules():
            own = [(name, value) for name, value in vars(module).items() if isinstance(value, Parameter)]
            for name, value in [*own, *module._buffers.items()]:
                if value is not None:
                    state[f"{path}.{name}" if path else name] = value.detach()
        return state

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Copy values into the parameters and buffers; nothing changes unless everything fits.

        Parameters
        ----------
        state : tensors or arrays by path
        strict : whether the paths must be exactly this module's

        Raises
        ------
        CheckpointError : if paths are missing or unexpected (when strict), or a shape or dtype differs.
        """
        own = self.state_dict()
        missing, unexpected = [k for k in own if k not in state], [k for k in state if k not in own]
        if strict and (missing or unexpected):
            raise CheckpointError(
                f"state does not fit {type(self).__name__}: missing {missing}, unexpected {unexpected}"
            )
        new = {name: state[name] for name in own if name in state}
        for name, value in new.items():
            if tuple(value.shape) != own[name].shape:
                raise CheckpointError(f"{name} has shape {tuple(value.shape)}, but the module's is {own[name].shape}")
            if not np.can_cast(value.dtype, own[name].dtype, "same_kind"):
                raise CheckpointError(f"{name} has dtype {value.dtype}, but the module's is {own[name].dtype}")
        for name, value in new.items():
            own[name].assign_(value)

    def to(self: M, device: str | None = None, dtype: Any = None) -> M:
        """Move everything to a device, and floating-point values to a dtype. Parameters are replaced.

        Make optimisers afterwards, since they hold the parameters.

        Raises
        ------
        GraphError : if a parameter holds a gradient, which would be lost.
        """
        for parameter in self.parameters():
            if parameter.grad is not None:
                raise GraphError("to() would lose gradients: set them to None first")
        replaced: dict[int, Parameter] = {}  # shared parameters stay shared

        def moved(value: Tensor) -> Tensor:
            wanted = dtype if value.dtype.kind == "f" else None
            return tensor(value, device=device, dtype=wanted)

        for module in self.modules():
            for name, value in list(vars(module).items()):
                if isinstance(value, Parameter):
                    setattr(module, name, replaced.setdefault(id(value), Parameter(moved(value))))
            for name, buffer in module._buffers.items():
                module._buffers[name] = None if buffer is None else moved(buffer)
        return self


class Identity(Module):
    """Gives back what it gets."""

    def forward(self, x: Any) -> Any:
        """Return x."""
        return x


class Sequential(Module):
    """Modules in a row, under the names 0, 1, 2, …"""

    def __init__(self, *modules: Module) -> None:
        super().__init__()
        for index, module in enumerate(modules):
            setattr(self, str(index), module)

    def forward(self, x: Any) -> Any:
        """Pass x through all of them."""
        for module in self:
            x = module(x)
        return x

    def __iter__(self) -> Iterator[Module]:
        return (module for _, module in self.named_children())

    def __len__(self) -> int:
        return len(list(self.named_children()))

    def __getitem__(self, index: int) -> Module:
        return list(self)[index]


class ModuleList(Sequential):
    """Modules under the names 0, 1, 2, … that the owner calls as it likes."""

    def __init__(self, modules: Any = ()) -> None:
        super().__init__(*modules)

    def forward(self, x: Any) -> Any:
        """Refuse: a list has no forward pass."""
        raise TypeError("a ModuleList is not called; iterate over it")
