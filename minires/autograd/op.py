"""An operation: its forward on arrays, its backward on tensors, and what forward saves for backward."""

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
# A saved tensor, the index of the output that it is (None for an input), and its version when it was saved.
Kept: TypeAlias = tuple[Tensor, int | None, int]
_modes: contextvars.ContextVar[tuple[no_grad, ...]] = contextvars.ContextVar("minires_modes", default=())


def recording() -> bool:
    """Return whether operations that are applied now are recorded in the graph."""
    modes = _modes.get()
    return not modes or modes[-1].records


class no_grad(contextlib.ContextDecorator):
    """Switch recording off: inside ``with no_grad():``, or in a function decorated with ``@no_grad()``.

    Raises
    ------
    TypeError : if it decorates a generator function, whose body runs after the call and would be recorded.
    """

    records = False

    def __call__(self, function: Any) -> Any:
        """Return ``function`` with recording switched off."""
        if inspect.isgeneratorfunction(function):
            raise TypeError(f"{function.__name__} is a generator: write `with {type(self).__name__}():` inside it")
        return super().__call__(function)

    def __enter__(self) -> None:
        _modes.set((*_modes.get(), self))

    def __exit__(self, *_: object) -> None:
        modes = _modes.get()
        index = len(modes) - 1 - modes[::-1].index(self)  # the last one, unless a generator was left inside its block
        _modes.set(modes[:index] + modes[index + 1 :])


class enable_grad(no_grad):
    """Switch recording on again inside `no_grad`."""

    records = True


class Op:
    """One application of an operation. Define ``forward`` and ``backward`` in a subclass, and call ``apply``.

    ``forward(*arrays, **options)`` returns an array or a tuple of arrays. None stands for an output that is not needed.
    ``backward(*gradients)`` receives one tensor per output, or None for an output without a derivative. It returns one
    tensor or None per input. It consists of operations, so it can be differentiated again.

    Attributes
    ----------
    needs_grad : one bool per input; where it is False, ``backward`` may return None
    constants : the plain arrays that `save_constant` kept
    inputs : for each input, the operation that made it (None for a leaf) and its node (None without a graph)
    outputs : the node of each output, None for an output without a derivative
    hands_over : whether nobody else holds the memory of the gradients that ``backward`` returns; see ownership.py
    may_overwrite : whether ``backward`` may write into the memory of the gradients that it received
    freed : whether a backward pass has freed this operation
    """

    needs_grad: tuple[bool, ...] = ()
    constants: tuple[Any, ...] = ()
    inputs: tuple[tuple[Op | None, Node | None], ...] = ()
    outputs: tuple[Node | None, ...] = ()
    hands_over = False
    may_overwrite = False
    freed = False
    _to_save: tuple[Array, ...] = ()
    _kept: Sequence[Kept] = ()

    def forward(self, *arrays: Any, **options: Any) -> Any:
        """Return the outputs, computed from the inputs' arrays."""
        raise TypeError(f"{type(self).__name__} does not define forward")

    def backward(self, *gradients: Any) -> Any:
        """Return the gradients of the inputs, computed from those of the outputs."""
        raise TypeError(f"{type(self).__name__} does not define backward")

    def run_forward(self, *arrays: Any, **options: Any) -> Any:
        """Call ``forward``. A base class of operations may override this."""
        return self.forward(*arrays, **options)

    def run_backward(self, *gradients: Any) -> Any:
        """Call ``backward``. A base class of operations may override this."""
        return self.backward(*gradients)

    def save(self, *arrays: Array) -> None:
        """Keep inputs or outputs of this operation for ``backward``, where ``saved`` returns them as tensors.

        Raises
        ------
        GraphError : (when ``forward`` returns) if an array is neither an input nor an output. Its history would be
            lost, and second derivatives would be wrong without an error.
        """
        self._to_save = arrays

    def save_constant(self, *arrays: Any) -> None:
        """Keep values that are never differentiable (masks, indices, geometry) in ``constants``."""
        self.constants = arrays

    @property
    def saved(self) -> tuple[Tensor, ...]:
        """The arrays that ``save`` kept, as tensors of the graph.

        Raises
        ------
        GraphError : if the graph was freed, or a saved value has changed.
        """
        self.check_usable()
        tensors = []
        for kept, output, _ in self._kept:
            if output is not None:  # it was kept without its history
                kept = Tensor(kept._array, kept._version, self, self.outputs[output])
            tensors.append(kept)
        return tuple(tensors)

    def check_usable(self) -> None:
        """Raise GraphError if a backward pass cannot use this operation."""
        if self.freed:
            raise GraphError("the graph was used and freed by an earlier backward pass: pass retain_graph=True there")
        for kept, _, count in self._kept:
            changes = kept._version.count - count
            if changes:
                what = f"a tensor of {Node(kept._array)} that {type(self).__name__} saved for its backward pass"
                raise GraphError(f"{what} was changed {changes} time(s) since: run the forward pass again")

    def free(self) -> None:
        """Drop everything that only a backward pass needs."""
        self.freed = True
        self._kept = ()
        self.inputs = ()
        self.constants = ()

    @classmethod
    def apply(cls, *inputs: Tensor | None, **options: Any) -> Any:
        """Return the outputs as tensors, and record the operation if an input requires a gradient.

        Raises
        ------
        TypeError : if an input is not a Tensor.
        DtypeError, DeviceError : if float dtypes or devices are mixed.
        GraphError : if ``forward`` saved an intermediate.
        """
        for index, x in enumerate(inputs):
            if x is not None and not isinstance(x, Tensor):
                kind = type(x).__name__
                raise TypeError(f"input {index} of {cls.__name__} is a {kind}, not a Tensor: use mr.tensor(…)")
        given = [None if x is None else x.array for x in inputs]  # new views: `_keep` tells inputs apart
        op = cls()
        records = recording()
        op.needs_grad = tuple([records and x is not None and x._node is not None for x in inputs])
        with together(*given):
            results = op.run_forward(*given, **options)
        arrays = results if isinstance(results, tuple) else (results,)
        outputs = tuple([None if array is None else Tensor(array, _version_of(array, inputs)) for array in arrays])
        if any(op.needs_grad):
            op._record(inputs, given, outputs, arrays)
        return outputs if isinstance(results, tuple) else outputs[0]

    def _record(self, inputs: Tensors, given: Sequence[Any], outputs: Tensors, arrays: Sequence[Any]) -> None:
        """Connect the outputs with this operation, and this operation with the makers of its inputs."""
        self.inputs = tuple([(None, None) if x is None else (x._op, x._node) for x in inputs])
        self._kept = [self._keep(array, inputs, given, outputs, arrays) for array in self._to_save]
        self._to_save = ()
        self.outputs = tuple([None if y is None or y.dtype.kind not in "fc" else Node(y._array) for y in outputs])
        for y, node in zip(outputs, self.outputs, strict=True):
            if y is not None and node is not None:
                y._op = self
                y._node = node

    def _keep(self, array: Any, inputs: Tensors, given: Sequence[Any], outputs: Tensors, arrays: Sequence[Any]) -> Kept:
        """Find the input or output whose array is to be saved."""
        for x, known in zip(inputs, given, strict=True):
            if known is array and x is not None:
                return x, None, x._version.count
        for index, (y, known) in enumerate(zip(outputs, arrays, strict=True)):
            if known is array and y is not None:  # kept without its history, which holds this operation
                return y.detach(), index, y._version.count
        what = f"{type(self).__name__}.save got an array of shape {array.shape}, neither an input nor an output"
        raise GraphError(f"{what}: compute it in backward, or use save_constant for what is never differentiable")


def _version_of(array: Array, inputs: Tensors) -> Version | None:
    """Return the version of the input whose memory ``array`` views; None if it views no input."""
    owner = _owner(array)
    for x in inputs:
        if x is not None and _owner(x._array) is owner:
            return x._version
    return None


def _owner(array: Any) -> Any:
    """Return the array that owns the memory of ``array``."""
    while getattr(array, "base", None) is not None and hasattr(array.base, "dtype"):
        array = array.base
    return array
