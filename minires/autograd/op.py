"""An operation: forward on arrays, backward on tensors, and what the one saves for the other."""

from __future__ import annotations

import contextlib
import contextvars
import inspect
from collections.abc import Sequence
from typing import Any, TypeAlias

from minires.autograd.tensor import Node, Tensor, Version
from minires.device import Array, together
from minires.errors import GraphError

Tensors: TypeAlias = Sequence[Tensor | None]
Kept: TypeAlias = tuple[Tensor, int | None, int]  # a tensor, which output it is (None: an input), its version then
_modes: contextvars.ContextVar[tuple[no_grad, ...]] = contextvars.ContextVar("minires_modes", default=())


def recording() -> bool:
    """Whether operations applied now are recorded in the graph."""
    return not (modes := _modes.get()) or modes[-1].records


class no_grad(contextlib.ContextDecorator):
    """Do not record operations: ``with no_grad(): ...``, or ``@no_grad()`` above a function.

    Raises
    ------
    TypeError : above a generator function, whose body runs after the call and would be recorded.
    """

    records = False

    def __call__(self, function: Any) -> Any:
        """Decorate ``function``."""
        if inspect.isgeneratorfunction(function):
            raise TypeError(f"{function.__name__} is a generator: write `with {type(self).__name__}():` inside it")
        return super().__call__(function)

    def __enter__(self) -> None:
        _modes.set((*_modes.get(), self))

    def __exit__(self, *_: object) -> None:
        later = (modes := _modes.get())[::-1].index(self)  # none, unless a generator was left and closed meanwhile
        _modes.set(modes[: len(modes) - 1 - later] + modes[len(modes) - later :])


class enable_grad(no_grad):
    """Record operations again, inside `no_grad`."""

    records = True


class Op:
    """One application of an operation. Subclass it with ``forward`` and ``backward``; call ``apply``.

    ``forward(*arrays, **options)`` returns an array or a tuple of arrays (None for an output nobody wants).
    ``backward(*gradients)`` gets a tensor per output (None for one that has no derivative) and returns a tensor or
    None per input. It is built of operations, so it can be differentiated in turn.

    Attributes
    ----------
    needs_grad : one bool per input; in ``backward``, an input with False may be answered with None
    constants : the plain arrays kept by `save_constant`
    inputs : for each input, the operation that made it (None for a leaf) and its node (None without a graph)
    outputs : the node of each output, None for one that has no derivative
    """

    needs_grad: tuple[bool, ...] = ()
    constants: tuple[Any, ...] = ()
    inputs: tuple[tuple[Op | None, Node | None], ...] = ()
    outputs: tuple[Node | None, ...] = ()
    gives_new = False  # whether nobody else holds the memory of the gradients that ``backward`` returns
    freed = False  # whether a backward pass has used this operation up
    _to_save: tuple[Array, ...] = ()
    _kept: Sequence[Kept] = ()

    def forward(self, *arrays: Any, **options: Any) -> Any:
        """Compute the outputs from the inputs' arrays."""
        raise TypeError(f"{type(self).__name__} does not define forward")

    def backward(self, *gradients: Any) -> Any:
        """Compute the inputs' gradients from the outputs'."""
        raise TypeError(f"{type(self).__name__} does not define backward")

    def run_forward(self, *arrays: Any, **options: Any) -> Any:
        """Call ``forward``; a family of operations can wrap this."""
        return self.forward(*arrays, **options)

    def run_backward(self, *gradients: Any) -> Any:
        """Call ``backward``; a family of operations can wrap this."""
        return self.backward(*gradients)

    def save(self, *arrays: Array) -> None:
        """Keep inputs or outputs of this operation for ``backward``, where ``saved`` gives them as tensors.

        Raises
        ------
        GraphError : (when ``forward`` returns) if one is neither an input nor an output: its history would
            be lost, and second derivatives silently wrong.
        """
        self._to_save = arrays

    def save_constant(self, *arrays: Any) -> None:
        """Keep what is never differentiable (masks, indices, geometry) in ``constants``."""
        self.constants = arrays

    @property
    def saved(self) -> tuple[Tensor, ...]:
        """What ``save`` kept, as tensors of the graph.

        Raises
        ------
        GraphError : if the graph was freed, or a saved value was changed since.
        """
        self.check_usable()
        return tuple(
            kept if place is None else Tensor(kept._array, kept._version, self, self.outputs[place])
            for kept, place, _ in self._kept
        )

    def check_usable(self) -> None:
        """Raise GraphError unless a backward pass can go through this operation."""
        if self.freed:
            raise GraphError("the graph was used and freed by an earlier backward pass: pass retain_graph=True there")
        for kept, _, count in self._kept:
            if changes := kept._version.count - count:
                what = f"a tensor of {Node(kept._array)} that {type(self).__name__} saved for its backward pass"
                raise GraphError(f"{what} was changed {changes} time(s) since: run the forward pass again")

    def free(self) -> None:
        """Let go of everything the backward pass needed."""
        self.freed, self._kept, self.inputs, self.constants = True, (), (), ()

    @classmethod
    def apply(cls, *inputs: Tensor | None, **options: Any) -> Any:
        """Compute the outputs as tensors, and record the operation if an input requires a gradient.

        Raises
        ------
        TypeError : if an input is not a Tensor.
        DtypeError, DeviceError : if float dtypes or devices are mixed.
        GraphError : if ``forward`` saved an intermediate.
        """
        for n, x in enumerate(inputs):
            if x is not None and not isinstance(x, Tensor):
                raise TypeError(f"input {n} of {cls.__name__} is a {type(x).__name__}, not a Tensor: use mr.tensor(…)")
        given = [None if t is None else t.array for t in inputs]  # views: tensors that share an array stay apart
        op, records = cls(), recording()
        op.needs_grad = tuple([records and t is not None and t._node is not None for t in inputs])
        with together(*given):
            results = op.run_forward(*given, **options)
        outputs = op._wrapped(inputs, given, results if isinstance(results, tuple) else (results,))
        return outputs if isinstance(results, tuple) else outputs[0]

    def _wrapped(self, inputs: Tensors, given: Sequence[Any], arrays: Sequence[Any]) -> tuple[Tensor | None, ...]:
        """The outputs as tensors; if an input requires a gradient, as tensors of the graph."""
        outputs = tuple([None if array is None else Tensor(array, _version_of(array, inputs)) for array in arrays])
        if any(self.needs_grad):
            self.inputs = tuple([(None, None) if t is None else (t._op, t._node) for t in inputs])
            self.outputs = tuple([Node(a) if a is not None and a.dtype.kind in "fc" else None for a in arrays])
            self._kept, self._to_save = [self._keep(a, inputs, given, outputs, arrays) for a in self._to_save], ()
            for t, node in zip(outputs, self.outputs, strict=True):
                if t is not None and node is not None:
                    t._op, t._node = self, node
        return outputs

    def _keep(self, array: Any, inputs: Tensors, given: Sequence[Any], outputs: Tensors, arrays: Sequence[Any]) -> Kept:
        for t, known in zip(inputs, given, strict=True):
            if known is array and t is not None:
                return t, None, t._version.count
        for place, (t, known) in enumerate(zip(outputs, arrays, strict=True)):
            if known is array and t is not None:  # without its history, which holds this operation
                return t.detach(), place, t._version.count
        what = f"{type(self).__name__}.save got an array of shape {array.shape}, neither an input nor an output"
        raise GraphError(f"{what}: compute it in backward, or use save_constant for what is never differentiable")


def _version_of(array: Array, inputs: Tensors) -> Version | None:
    """The version of the input whose memory ``array`` views."""
    owner = _owner(array)
    for t in inputs:
        if t is not None and _owner(t._array) is owner:
            return t._version
    return None


def _owner(array: Any) -> Any:
    while getattr(array, "base", None) is not None and hasattr(array.base, "dtype"):
        array = array.base
    return array
