"""A module: parameters, buffers and other modules by name, and a forward pass."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias, TypeVar

import numpy as np

from minires.autograd.tensor import Tensor
from minires.errors import DtypeError, GraphError
from minires.functional.cast import destination
from minires.hooks import Hook
from minires.nn.parameter import Parameter, converted, each_once
from minires.nn.state import IncompatibleKeys, fitting_state, nothing_fits, write_all

M = TypeVar("M", bound="Module")
ForwardHook: TypeAlias = Callable[["Module", tuple[Any, ...], Any], Any]


class Module:
    """The base of all layers and networks. Assign parameters and modules as attributes; define ``forward``.

    Call ``super().__init__()`` before anything else. What is assigned over a parameter, buffer or module must be
    of its kind, or None: an array in its place would no longer be learnt, saved or moved. `del` makes room.

    Attributes
    ----------
    training : whether `train` or `eval` was called last; new modules train
    wide_buffers : names of buffers that stay in float32 where the module is in float16, for a class to set
    optional_buffers : names of buffers that a state may lack when it is loaded, for a class to set
    """

    wide_buffers: tuple[str, ...] = ()
    optional_buffers: tuple[str, ...] = ()

    training: bool

    def __init__(self) -> None:
        self.training = True
        self._buffers: dict[str, Tensor | None] = {}
        self._hooks: dict[Hook, ForwardHook] = {}

    def forward(self, *inputs: Any, **keywords: Any) -> Any:
        """Compute the output; subclasses define it."""
        raise TypeError(f"{type(self).__name__} does not define forward")

    def __call__(self, *inputs: Any, **keywords: Any) -> Any:
        """Run ``forward``, then the hooks."""
        output = self.forward(*inputs, **keywords)
        for hook in tuple(self._hooks.values()):
            replaced = hook(self, inputs, output)
            output = output if replaced is None else replaced
        return output

    def register_forward_hook(self, hook: ForwardHook) -> Hook:
        """Call ``hook(module, inputs, output)`` after each forward pass; what it returns, if not None, replaces it.

        ``inputs`` are those that were passed by position.

        Returns
        -------
        handle : ``handle.remove()`` takes the hook away

        Raises
        ------
        TypeError : if ``hook`` cannot be called.
        """
        if not callable(hook):
            raise TypeError(f"a hook is a function of (module, inputs, output), not a {type(hook).__name__}")
        return Hook(self._hooks, hook)

    @property
    def hooked(self) -> bool:
        """Whether a forward hook is registered here."""
        return bool(self._hooks)

    # What it holds

    def register_buffer(self, name: str, value: Tensor | None) -> None:
        """Keep a tensor that belongs to the state but is not learnt, as attribute ``name``.

        Raises
        ------
        TypeError : if ``value`` is neither a tensor nor None.
        KeyError : if ``name`` has a dot, is empty, or is taken by something else.
        """
        self._check_name(name, name in self._buffers)
        if not isinstance(value, Tensor | None):
            raise TypeError(f"buffer {name!r} must be a Tensor or None, got a {type(value).__name__}: use mr.tensor")
        self._buffers[name] = value

    def add_module(self, name: str, module: Module | None) -> None:
        """Assign a module as attribute ``name``, which need not be an identifier of Python.

        Raises
        ------
        TypeError : if ``module`` is neither a module nor None.
        KeyError : if ``name`` has a dot, is empty, or is taken by something else.
        """
        self._check_name(name, name in vars(self) and isinstance(vars(self)[name], Module | None))
        if not isinstance(module, Module | None):
            raise TypeError(f"module {name!r} must be a Module or None, got a {type(module).__name__}")
        setattr(self, name, module)

    def get_submodule(self, path: str) -> Module:
        """The module at a path such as "layer1.0.conv1"; this one at "".

        Raises
        ------
        AttributeError : if there is none.
        """
        module: Any = self
        for name in path.split(".") if path else ():
            module = vars(module).get(name)
            if not isinstance(module, Module):
                raise AttributeError(f"{type(self).__name__} has no module {path!r}: there is none at its {name!r}")
        return module

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

    # Who is inside

    def _places(self) -> list[tuple[str, Module]]:
        """Every attribute that is a module, in order; a module with two names is listed under both."""
        return [(name, value) for name, value in vars(self).items() if isinstance(value, Module)]

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules assigned as attributes, in order, each once."""
        return each_once(self._places())

    def children(self) -> Iterator[Module]:
        """The modules assigned as attributes, in order, each once."""
        return (child for _, child in self.named_children())

    def named_modules(self, prefix: str = "", remove_duplicate: bool = True) -> Iterator[tuple[str, Module]]:
        """This module and all inside it, each with its path, and once, or under every path that it has."""
        return self._walk(prefix, set() if remove_duplicate else None)

    def _walk(self, path: str, seen: set[int] | None) -> Iterator[tuple[str, Module]]:
        if seen is not None:
            if id(self) in seen:
                return
            seen.add(id(self))
        yield path, self
        for name, child in self._places():
            yield from child._walk(f"{path}.{name}" if path else name, seen)

    def modules(self) -> Iterator[Module]:
        """This module and all inside it, each once."""
        return (module for _, module in self.named_modules())

    def named_parameters(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Parameter]]:
        """All parameters with their paths, each once; without ``recurse``, this module's own."""
        return each_once(
            (f"{path}.{name}" if path else name, value)
            for path, module in (self.named_modules(prefix=prefix) if recurse else [(prefix, self)])
            for name, value in vars(module).items()
            if isinstance(value, Parameter)
        )

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """All parameters, each once; without ``recurse``, this module's own."""
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Tensor]]:
        """All buffers with their paths, each once; without ``recurse``, this module's own."""
        return each_once(
            (f"{path}.{name}" if path else name, value)
            for path, module in (self.named_modules(prefix=prefix) if recurse else [(prefix, self)])
            for name, value in module._buffers.items()
            if value is not None
        )

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """All buffers, each once; without ``recurse``, this module's own."""
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def apply(self: M, function: Callable[[Module], object]) -> M:
        """Call ``function`` with every module once, the inner ones first."""
        for module in self._inner_first(set()):
            function(module)
        return self

    def _inner_first(self, seen: set[int]) -> Iterator[Module]:
        seen.add(id(self))
        for _, child in self._places():
            if id(child) not in seen:
                yield from child._inner_first(seen)
        yield self

    def extra_repr(self) -> str:
        """What `repr` shows between the brackets; layers define it."""
        return ""

    def __repr__(self) -> str:
        inside = [f"({name}): {child!r}" for name, child in self._places()]
        own = self.extra_repr()
        if not inside:
            return f"{type(self).__name__}({own})"
        lines = "\n".join([own, *inside] if own else inside).replace("\n", "\n  ")
        return f"{type(self).__name__}(\n  {lines}\n)"

    # How it behaves

    def train(self: M, mode: bool = True) -> M:
        """Set ``training`` here and inside.

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
        """Set ``training`` to False here and inside."""
        return self.train(False)

    def requires_grad_(self: M, requires_grad: bool = True) -> M:
        """Have all parameters learn, or freeze them."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self) -> None:
        """Set the gradients of all parameters to None."""
        for parameter in self.parameters():
            parameter.grad = None

    # What it knows

    def state_dict(self) -> dict[str, Tensor]:
        """Parameters and buffers by path, in PyTorch's order: each module's own parameters, then its buffers.

        What is shared is listed under every path that it has. The tensors share memory with the module's,
        without its graph.
        """
        state: dict[str, Tensor] = {}
        for path, module in self.named_modules(remove_duplicate=False):
            own = [(name, value) for name, value in vars(module).items() if isinstance(value, Parameter)]
            for name, value in [*own, *module._buffers.items()]:
                if value is not None:
                    state[f"{path}.{name}" if path else name] = value.detach()
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> IncompatibleKeys:
        """Copy values into the parameters and buffers; nothing changes unless everything fits.

        Values are cast to the dtypes of the module, as in PyTorch, within the same kind of numbers. The state may lack
        ``optional_buffers``, such as a batch norm's number of batches, which then stay as they are.

        Parameters
        ----------
        state_dict : by path: tensors of minires or PyTorch, or arrays
        strict : whether the paths must be exactly this module's

        Returns
        -------
        missing_keys, unexpected_keys : paths that the state lacks, and that the module lacks; both empty when strict

        Raises
        ------
        TypeError : if ``state_dict`` is no mapping, or a path is no string.
        CheckpointError : if paths are missing or unexpected (when strict), a value is neither a tensor nor an
            array, a shape or kind of dtype differs, or a number is out of range for the module's dtype. The text lists
            all of that at once.

        Warns
        -----
        UserWarning : if, when not strict, not a single path of the state is this module's.
        """
        if not isinstance(state_dict, Mapping):
            found = type(state_dict).__name__
            raise TypeError(f"a state is a dictionary of tensors by path, such as model.state_dict(), not a {found}")
        if (stray := next((name for name in state_dict if not isinstance(name, str)), None)) is not None:
            raise TypeError(f"the paths of a state are strings, got {stray!r}: is this the state of an optimizer?")
        own, optional = self.state_dict(), set(self._optional_paths())
        new, keys = fitting_state(type(self).__name__, own, optional, state_dict, strict)
        if told := nothing_fits(state_dict, keys):
            warnings.warn(told, stacklevel=2)
        write_all((own[name], value) for name, value in new.items())
        return keys

    def _optional_paths(self) -> Iterator[str]:
        for path, module in self.named_modules(remove_duplicate=False):
            yield from (f"{path}.{name}" if path else name for name in type(module).optional_buffers)

    def to(self: M, *wanted: Any, device: str | None = None, dtype: Any = None) -> M:
        """``model.to("cuda")``, ``model.to(np.float64)``, ``model.to("cuda", np.float32)``: move and convert.

        Everything moves to the device; floating-point values get the dtype, integers keep theirs, and buffers that a
        class names as ``wide_buffers`` become no less than float32. A parameter that is there and so already stays the
        object that it is; another is replaced, so make optimizers afterwards. Frozen parameters stay frozen.

        Parameters
        ----------
        wanted : devices and dtypes, told apart by what they are, as in `Tensor.to`
        device, dtype : the same by name

        Raises
        ------
        DeviceError : if the device does not exist or is not available.
        DtypeError : if the dtype is not one of floating-point numbers.
        GraphError : if a parameter to be replaced holds a gradient, which would be lost.
        """
        place, target = destination(wanted, device, dtype)
        if target is not None and target.kind not in "fc":
            raise DtypeError(f"a module's values are floating-point numbers; it cannot be converted to {target}")
        Tensor(np.zeros(())).to(device=place)  # of a device that is not there a module without tensors has to hear, too
        wide = {id(module._buffers.get(name)) for module in self.modules() for name in type(module).wide_buffers}
        held: list[Tensor] = [*self.parameters(), *self.buffers()]
        pairs = [(value, converted(value, place, target, id(value) in wide)) for value in held]
        for value, new in pairs:
            if new is not value and value.grad is not None:
                raise GraphError("to() would lose gradients: set them to None first, with zero_grad()")
        moved = {id(value): new for value, new in pairs if new is not value}
        for module in self.modules():
            for names in (vars(module), module._buffers):
                for name, value in list(names.items()):
                    if id(value) in moved:
                        names[name] = moved[id(value)]
        return self
