"""The base class of layers and networks: parameters, buffers and other modules by name, and a forward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias, TypeVar

import numpy as np

from minires.autograd.tensor import Tensor
from minires.functional.cast import destination
from minires.hooks import Hook
from minires.nn.convert import convert
from minires.nn.parameter import Parameter
from minires.nn.state import IncompatibleKeys, load_state

M = TypeVar("M", bound="Module")
T = TypeVar("T")
ForwardHook: TypeAlias = Callable[["Module", tuple[Any, ...], Any], Any]


class Module:
    """The base class of all layers and networks.

    A subclass calls ``super().__init__()`` first, assigns parameters and modules as attributes, and defines
    ``forward``. A parameter, buffer or module can be replaced by another of its kind or by None. Anything else, such
    as an array, raises: it would be neither learnt nor saved nor moved. ``del`` removes the attribute.

    Attributes
    ----------
    training : True after `train`, and at first; False after `eval`
    wide_buffers : the names of buffers that stay in float32 when the module is in float16; a class sets it
    optional_buffers : the names of buffers that a loaded state may lack; a class sets it
    """

    wide_buffers: tuple[str, ...] = ()
    optional_buffers: tuple[str, ...] = ()

    training: bool

    def __init__(self) -> None:
        self.training = True
        self._buffers: dict[str, Tensor | None] = {}
        self._hooks: dict[Hook, ForwardHook] = {}

    # The forward pass

    def forward(self, *inputs: Any, **keywords: Any) -> Any:
        """Compute the output; subclasses define it."""
        raise TypeError(f"{type(self).__name__} does not define forward")

    def __call__(self, *inputs: Any, **keywords: Any) -> Any:
        """Run ``forward``, then the hooks, and return the output."""
        output = self.forward(*inputs, **keywords)
        for hook in tuple(self._hooks.values()):
            replaced = hook(self, inputs, output)
            output = output if replaced is None else replaced
        return output

    def register_forward_hook(self, hook: ForwardHook) -> Hook:
        """Call ``hook(module, inputs, output)`` after each forward pass.

        ``inputs`` holds the positional arguments. If the hook returns something other than None, that replaces the
        output.

        Returns
        -------
        handle : ``handle.remove()`` removes the hook

        Raises
        ------
        TypeError : if ``hook`` cannot be called.
        """
        if not callable(hook):
            raise TypeError(f"a hook is a function of (module, inputs, output), not a {type(hook).__name__}")
        return Hook(self._hooks, hook)

    @property
    def hooked(self) -> bool:
        """Whether this module has a forward hook."""
        return bool(self._hooks)

    def train(self: M, mode: bool = True) -> M:
        """Set ``training`` in this module and in all inside it; return the module.

        Raises
        ------
        ValueError : if ``mode`` is neither True nor False.
        """
        if not isinstance(mode, bool | np.bool_):
            raise ValueError(f"train() takes True or False, got {mode!r}; for evaluation call eval()")
        for module in self.modules():
            module.training = bool(mode)
        return self

    def eval(self: M) -> M:
        """Set ``training`` to False in this module and in all inside it; return the module."""
        return self.train(False)

    def requires_grad_(self: M, requires_grad: bool = True) -> M:
        """Let all parameters learn, or freeze them; return the module."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self) -> None:
        """Set the gradients of all parameters to None."""
        for parameter in self.parameters():
            parameter.grad = None

    # Registration

    def register_buffer(self, name: str, value: Tensor | None) -> None:
        """Assign a tensor that is saved but not learnt as the attribute ``name``.

        Raises
        ------
        TypeError : if ``value`` is neither a tensor nor None.
        KeyError : if ``name`` contains a dot, is empty, or is already an attribute that is not a buffer.
        """
        self._check_name(name, name in self._buffers)
        if not isinstance(value, Tensor | None):
            raise TypeError(f"buffer {name!r} must be a Tensor or None, got a {type(value).__name__}: use mr.tensor")
        self._buffers[name] = value

    def add_module(self, name: str, module: Module | None) -> None:
        """Assign a module as the attribute ``name``, which may be any text without a dot, such as "0".

        Raises
        ------
        TypeError : if ``module`` is neither a module nor None.
        KeyError : if ``name`` contains a dot, is empty, or is already an attribute that is not a module.
        """
        self._check_name(name, name in vars(self) and isinstance(vars(self)[name], Module | None))
        if not isinstance(module, Module | None):
            raise TypeError(f"module {name!r} must be a Module or None, got a {type(module).__name__}")
        setattr(self, name, module)

    def _check_name(self, name: str, may_be_replaced: bool) -> None:
        if not isinstance(name, str) or not name or "." in name:
            raise KeyError(f"the name of a buffer or module is a string without dots, not {name!r}")
        if hasattr(self, name) and not may_be_replaced:
            raise KeyError(f"{type(self).__name__} has an attribute {name!r} already: choose another name")

    def __getattr__(self, name: str) -> Any:
        buffers = vars(self).get("_buffers", {})
        if name in buffers:
            return buffers[name]
        hint = "" if "_buffers" in vars(self) else ": call super().__init__() first"
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}{hint}")

    def __setattr__(self, name: str, value: Any) -> None:
        held, buffers = vars(self).get(name), vars(self).get("_buffers", {})
        kind = next((k for k in (Parameter, Module) if isinstance(held, k)), Tensor if name in buffers else None)
        if kind is not None and value is not None and not isinstance(value, kind):
            raise TypeError(
                f"{type(self).__name__}.{name} is a {'buffer' if name in buffers else kind.__name__}: assign a "
                f"{kind.__name__} or None, not a {type(value).__name__} (new values go in by .{name}.assign_(values))"
            )
        if name in buffers and not isinstance(value, Parameter):
            buffers[name] = value
        else:
            object.__setattr__(self, name, value)
            buffers.pop(name, None)  # it has become a parameter

    def __delattr__(self, name: str) -> None:
        if name in vars(self).get("_buffers", {}):
            del self._buffers[name]
        else:
            object.__delattr__(self, name)

    # The parts inside

    def _own_modules(self) -> list[tuple[str, Module]]:
        """Return the attributes that are modules, in order; a module with two names is listed twice."""
        return [(name, value) for name, value in vars(self).items() if isinstance(value, Module)]

    def _own_parameters(self) -> list[tuple[str, Parameter]]:
        return [(name, value) for name, value in vars(self).items() if isinstance(value, Parameter)]

    def _own_buffers(self) -> list[tuple[str, Tensor]]:
        return [(name, value) for name, value in self._buffers.items() if value is not None]

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield each module that is an attribute once, with its name, in order."""
        return _each_once(self._own_modules())

    def children(self) -> Iterator[Module]:
        """Yield each module that is an attribute once, in order."""
        return (child for _, child in self.named_children())

    def named_modules(self, prefix: str = "", remove_duplicate: bool = True) -> Iterator[tuple[str, Module]]:
        """Yield this module and all inside it with their paths, such as "layer1.0.conv1".

        Parameters
        ----------
        prefix : the path of this module
        remove_duplicate : True yields a module with several paths once, False under each of them
        """
        return self._walk(prefix, set() if remove_duplicate else None)

    def _walk(self, path: str, seen: set[int] | None) -> Iterator[tuple[str, Module]]:
        if seen is not None:
            if id(self) in seen:
                return
            seen.add(id(self))
        yield path, self
        for name, child in self._own_modules():
            yield from child._walk(_joined(path, name), seen)

    def modules(self) -> Iterator[Module]:
        """Yield this module and all inside it, each once."""
        return (module for _, module in self.named_modules())

    def named_parameters(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Parameter]]:
        """Yield each parameter once with its path; without ``recurse`` only this module's own."""
        modules = self.named_modules(prefix) if recurse else [(prefix, self)]
        return _each_once((_joined(path, name), p) for path, module in modules for name, p in module._own_parameters())

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Yield each parameter once; without ``recurse`` only this module's own."""
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Tensor]]:
        """Yield each buffer once with its path; without ``recurse`` only this module's own."""
        modules = self.named_modules(prefix) if recurse else [(prefix, self)]
        return _each_once((_joined(path, name), b) for path, module in modules for name, b in module._own_buffers())

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Yield each buffer once; without ``recurse`` only this module's own."""
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def get_submodule(self, path: str) -> Module:
        """Return the module at a path such as "layer1.0.conv1"; this one for "".

        Raises
        ------
        AttributeError : if no module has this path.
        """
        module: Any = self
        for name in path.split(".") if path else ():
            module = vars(module).get(name)
            if not isinstance(module, Module):
                raise AttributeError(f"{type(self).__name__} has no module {path!r}: there is none at its {name!r}")
        return module

    def apply(self: M, function: Callable[[Module], object]) -> M:
        """Call ``function`` with every module once, inner modules first; return this module."""
        for module in self._inner_first(set()):
            function(module)
        return self

    def _inner_first(self, seen: set[int]) -> Iterator[Module]:
        seen.add(id(self))
        for _, child in self._own_modules():
            if id(child) not in seen:
                yield from child._inner_first(seen)
        yield self

    def extra_repr(self) -> str:
        """Return what `repr` shows between the parentheses; subclasses define it."""
        return ""

    def __repr__(self) -> str:
        inside = [f"({name}): {child!r}" for name, child in self._own_modules()]
        own = self.extra_repr()
        if not inside:
            return f"{type(self).__name__}({own})"
        lines = "\n".join([own, *inside] if own else inside).replace("\n", "\n  ")
        return f"{type(self).__name__}(\n  {lines}\n)"

    # State: the methods' work is done in state.py and convert.py

    def state_dict(self) -> dict[str, Tensor]:
        """Return the parameters and buffers by path, each module's parameters before its buffers, as PyTorch does.

        A shared tensor is listed under each of its paths. The tensors share memory with the module's, without its
        graph.
        """
        return {
            _joined(path, name): value.detach()
            for path, module in self.named_modules(remove_duplicate=False)
            for name, value in [*module._own_parameters(), *module._own_buffers()]
        }

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> IncompatibleKeys:
        """Copy values into the parameters and buffers, all of them or, if any does not fit, none.

        A value is cast to the dtype in the module, as in PyTorch, within the same kind: floats to floats, integers to
        integers. The state may lack ``optional_buffers``, such as a batch norm's number of batches; these keep their
        values.

        Parameters
        ----------
        state_dict : tensors of minires or PyTorch, or arrays, by path
        strict : whether missing and unexpected paths raise

        Returns
        -------
        missing_keys, unexpected_keys : the paths that only the module has, and those that only the state has

        Raises
        ------
        TypeError : if ``state_dict`` is not a mapping, or a path is not a string.
        CheckpointError : if paths are missing or unexpected (when strict), a value is neither a tensor nor an
            array, a shape or kind of dtype differs, or a number is out of range for the module's dtype. The message
            lists every problem.

        Warns
        -----
        UserWarning : if, when not strict, no path of the state is a path of this module.
        """
        modules = self.named_modules(remove_duplicate=False)
        optional = {_joined(path, name) for path, module in modules for name in type(module).optional_buffers}
        return load_state(type(self).__name__, self.state_dict(), optional, state_dict, strict)

    def to(self: M, *wanted: Any, device: str | None = None, dtype: Any = None) -> M:
        """Move and convert: ``model.to("cuda")``, ``model.to(np.float64)``, ``model.to("cuda", np.float32)``.

        All parameters and buffers move to the device. Floating-point values get the dtype; integers keep theirs, and
        the ``wide_buffers`` of a class become at least float32. A parameter that already fits stays the same object;
        any other is replaced, so make optimizers afterwards. Frozen parameters stay frozen.

        Parameters
        ----------
        wanted : a device, a dtype, or both in any order, as in `Tensor.to`
        device, dtype : the same as keywords

        Raises
        ------
        DeviceError : if the device does not exist or is not available.
        DtypeError : if the dtype is not a floating-point dtype.
        GraphError : if a parameter that would be replaced holds a gradient, which would be lost.
        """
        convert(self, *destination(wanted, device, dtype))
        return self


def input_of(layer: Module, x: Any) -> Tensor:
    """Return ``x``, the input of ``layer``, after checking that it is a tensor.

    Raises
    ------
    TypeError : if it is not.
    """
    if not isinstance(x, Tensor):
        advice = ": make one with mr.tensor(x)" if hasattr(x, "__array__") or isinstance(x, list) else ""
        raise TypeError(f"{type(layer).__name__} takes a tensor, not a {type(x).__name__}{advice}")
    return x


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _each_once(named: Iterable[tuple[str, T]]) -> Iterator[tuple[str, T]]:
    """Yield each value under its first name only."""
    seen: set[int] = set()
    for name, value in named:
        if id(value) not in seen:
            seen.add(id(value))
            yield name, value
