"""An operation: forward on arrays, backward on tensors, and what the one saves for the other."""

from __future__ import annotations

import contextlib
import contextvars
import weakref
from typing import Any, NamedTuple

import numpy as np

from minires.autograd.tensor import Node, Tensor, Version
from minires.device import Array, asarray, device_of, same_device, same_dtype
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


class Output(NamedTuple):
    """What is remembered of an output: enough to make a gradient of zeros, and its place while it lives."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    device: str
    node: weakref.ref[Node] | None


class Op:
    """One application of an operation. Subclass it with ``forward`` and ``backward``; call ``apply``.

    ``forward(*arrays, **options)`` returns an array or a tuple of arrays (None for an output nobody wants).
    ``backward(*gradients)`` gets a tensor per output and returns a tensor or None per input. It is built of
    operations, so it can be differentiated in turn.

    Attributes
    ----------
    needs_grad : one bool per input; in ``backward``, an input with False may be answered with None
    constants : the plain arrays kept by `save_constant`
    """

    needs_grad: tuple[bool, ...] = ()
    constants: tuple[Any, ...] = ()

    def __init__(self) -> None:
        self.inputs: tuple[Node | None, ...] = ()
        self.outputs: list[Output | None] = []
        self._to_save: tuple[Array, ...] = ()
        self._kept: list[tuple[Tensor | int, Array, Version, int]] | None = []

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
        restored = []
        for source, array, version, _ in self._kept or ():
            if isinstance(source, Tensor):
                restored.append(source)
            else:
                output = self.outputs[source]
                node = output.node() if output and output.node else None
                restored.append(Tensor(array, node or Node(array, self, source), version))
        return tuple(restored)

    @property
    def freed(self) -> bool:
        """Whether a backward pass has used this operation up."""
        return self._kept is None

    def check_usable(self) -> None:
        """Raise GraphError unless a backward pass can go through this operation."""
        name = type(self).__name__
        if self._kept is None:
            raise GraphError(
                f"the graph was used already and {name} has freed what it saved: "
                "pass retain_graph=True to the first backward pass"
            )
        for _, array, version, count in self._kept:
            if version.count != count:
                raise GraphError(
                    f"a tensor of shape {array.shape} that {name} saved for its backward pass was changed "
                    f"{version.count - count} time(s) since: run the forward pass again"
                )

    def zeros(self, index: int) -> Tensor | None:
        """The gradient of an output that nobody used; None for one that ``forward`` did not compute."""
        output = self.outputs[index]
        return output and Tensor(asarray(np.zeros(output.shape, output.dtype), output.device))

    def free(self) -> None:
        """Let go of everything the backward pass needed."""
        self._kept, self.inputs, self.constants = None, (), ()

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
                raise TypeError(
                    f"input {position} of {cls.__name__} is a {type(given).__name__}, not a Tensor: use mr.tensor(…)"
                )
        tensors = [t for t in inputs if t is not None]
        if tensors:
            same_device(*(t._array for t in tensors))
            floats = [t._array for t in tensors if t.dtype.kind in "fc"]
            if floats:
                same_dtype(*floats)
        op = cls()
        op.needs_grad = tuple(recording() and t is not None and t.requires_grad for t in inputs)
        results = op.run_forward(*(None if t is None else t._array for t in inputs), **options)
        arrays = results if isinstance(results, tuple) else (results,)
        versions = [_version_of(array, tensors) for array in arrays]
        if any(op.needs_grad):
            outputs = op._record(inputs, arrays, versions)
        else:
            outputs = tuple(a if a is None else Tensor(a, None, v) for a, v in zip(arrays, versions, strict=True))
        return outputs if isinstance(results, tuple) else outputs[0]

    def _record(
        self, inputs: tuple[Tensor | None, ...], arrays: tuple[Any, ...], versions: list[Version]
    ) -> tuple[Tensor | None, ...]:
        self.inputs = tuple(t._node if t is not None else None for t in inputs)
        tensors: list[Tensor | None] = []
        for index, array in enumerate(arrays):
            differentiable = array is not None and array.dtype.kind in "fc"
            node = Node(array, self, index) if differentiable else None
            tensors.append(None if array is None else Tensor(array, node, versions[index]))
            place = None if node is None else weakref.ref(node)
            self.outputs.append(None if array is None else Output(array.shape, array.dtype, device_of(array), place))
        kept: list[tuple[Tensor | int, Array, Version, int]] = []
        for array in self._to_save:
            source: Tensor | int | None = next((t for t in inputs if t is not None and t._array is array), None)
            if source is None:
                source = next((i for i, output in enumerate(arrays) if output is array), None)
            if source is None:
                raise GraphError(
                    f"{type(self).__name__}.save got an array of shape {array.shape} that is neither an input nor an "
                    "output of the operation, so its history would be lost: save the inputs and compute it again in "
                    "backward, or use save_constant for what is never differentiable"
                )
            version = source._version if isinstance(source, Tensor) else versions[source]
            kept.append((source, array, version, version.count))
        self._kept, self._to_save = kept, ()
        return tuple(tensors)


def _version_of(array: Any, inputs: list[Tensor]) -> Version:
    """The version of the input whose memory ``array`` views, or a new one."""
    for t in inputs:
        if array is not None and _owner(array) is _owner(t._array):
            return t._version
    return Version()


def _owner(array: Any) -> Any:
    while getattr(array, "base", None) is not None and hasattr(array.base, "dtype"):
        array = array.base
    return array
