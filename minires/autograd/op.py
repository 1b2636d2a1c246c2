"""An operation: forward on arrays, backward on tensors, and what the one saves for the other."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Sequence
from typing import Any

from minires.autograd.tensor import Node, Tensor, Version
from minires.device import Array, check_operands
from minires.errors import GraphError

_recording: contextvars.ContextVar[bool] = contextvars.ContextVar("minires_recording", default=True)


def recording() -> bool:
    """Whether operations applied now are recorded in the graph."""
    return _recording.get()


class no_grad(contextlib.ContextDecorator):
    """Do not record operations: ``with no_grad(): ...``, or ``@no_grad()`` above a function."""

    _value = False

    def __init__(self) -> None:
        self._tokens: list[contextvars.Token[bool]] = []

    def __enter__(self) -> None:
        self._tokens.append(_recording.set(self._value))

    def __exit__(self, *_: object) -> None:
        _recording.reset(self._tokens.pop())


class enable_grad(no_grad):
    """Record operations again, inside `no_grad`."""

    _value = True


class Op:
    """One application of an operation. Subclass it with ``forward`` and ``backward``; call ``apply``.

    ``forward(*arrays, **options)`` returns an array or a tuple of arrays (None for an output nobody wants).
    ``backward(*gradients)`` gets a tensor per output (None for one that has no derivative) and returns a tensor or
    None per input. It is built of operations, so it can be differentiated in turn.

    Attributes
    ----------
    needs_grad : one bool per input; in ``backward``, an input with False may be answered with None
    constants : the plain arrays kept by `save_constant`
    inputs : for each input, the operation that made it and its node; None for one without a graph
    outputs : the node of each output, None for one that has no derivative
    """

    needs_grad: tuple[bool, ...] = ()
    constants: tuple[Any, ...] = ()
    inputs: tuple[tuple[Op | None, Node] | None, ...] = ()
    outputs: tuple[Node | None, ...] = ()
    freed = False  # whether a backward pass has used this operation up
    _to_save: tuple[Array, ...] = ()
    _kept: Sequence[tuple[Tensor, int | None, int]] = ()  # a tensor, which output it is, and its version then

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
            changes = kept._version.count - count
            if changes:
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
        for position, given in enumerate(inputs):
            if given is not None and not isinstance(given, Tensor):
                kind = type(given).__name__
                raise TypeError(f"input {position} of {cls.__name__} is a {kind}, not a Tensor: use mr.tensor(…)")
        check_operands(*(t._array for t in inputs if t is not None))
        op = cls()
        op.needs_grad = tuple(recording() and t is not None and t.requires_grad for t in inputs)
        results = op.run_forward(*(None if t is None else t._array for t in inputs), **options)
        outputs = op._wrapped(inputs, results if isinstance(results, tuple) else (results,))
        return outputs if isinstance(results, tuple) else outputs[0]

    def _wrapped(self, inputs: Sequence[Tensor | None], arrays: Sequence[Any]) -> tuple[Tensor | None, ...]:
        """The outputs as tensors; if an input requires a gradient, as tensors of the graph."""
        plain = [None if a is None else Tensor(a, _version_of(a, inputs)) for a in arrays]
        if not any(self.needs_grad):
            return tuple(plain)
        self.inputs = tuple(None if t is None or t._node is None else (t._op, t._node) for t in inputs)
        self.outputs = tuple(Node(a) if a is not None and a.dtype.kind in "fc" else None for a in arrays)
        self._kept = [self._keep(array, inputs, plain) for array in self._to_save]
        self._to_save = ()
        return tuple(
            t if t is None or node is None else Tensor(t._array, t._version, self, node)
            for t, node in zip(plain, self.outputs, strict=True)
        )

    def _keep(
        self, array: Array, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor | None]
    ) -> tuple[Tensor, int | None, int]:
        for t in inputs:
            if t is not None and t._array is array:
                return t, None, t._version.count
        for place, t in enumerate(outputs):
            if t is not None and t._array is array:
                return t, place, t._version.count
        raise GraphError(
            f"{type(self).__name__}.save got an array of shape {array.shape} that is neither an input nor an "
            "output of the operation, so its history would be lost: save the inputs and compute it again in "
            "backward, or use save_constant for what is never differentiable"
        )


def _version_of(array: Array, inputs: Sequence[Tensor | None]) -> Version:
    """The version of the input whose memory ``array`` views, or a new one."""
    owner = _owner(array)
    return next((t._version for t in inputs if t is not None and _owner(t._array) is owner), None) or Version()


def _owner(array: Any) -> Any:
    while getattr(array, "base", None) is not None and hasattr(array.base, "dtype"):
        array = array.base
    return array
