"""A tensor: an array, and the node of the graph where its gradient arrives."""

from __future__ import annotations

import contextlib
import copy
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from minires.device import Array, asarray, asnumpy, copied, device_of, memory_order, new_zeros
from minires.errors import DtypeError, GraphError, ShapeError
from minires.hooks import Hook
from minires.values import Values
from minires.write_guard import frozen, repeats, writable_into, writing

if TYPE_CHECKING:
    from minires.autograd.op import Op


class Version:
    """The number of writes to the memory of ``array``. All tensors that view this memory share its version."""

    def __init__(self, array: Array) -> None:
        self.array = array
        self.count = 0


class Node:
    """A point of the graph where a gradient arrives: a leaf, or an output of an operation.

    It knows the gradient's shape, dtype and device, but does not hold the tensor's array. So an array that the
    backward pass does not need is freed during the forward pass.
    """

    __slots__ = ("device", "dtype", "hooks", "keeper", "shape")

    def __init__(self, array: Array, keeper: Tensor | None = None) -> None:
        self.shape = array.shape
        self.dtype = array.dtype
        self.device = device_of(array)
        self.hooks: dict[Hook, Callable[[Tensor], Tensor | None]] = {}
        self.keeper = None if keeper is None else weakref.ref(keeper)  # the tensor whose .grad is to be filled

    def __str__(self) -> str:
        return f"shape {self.shape}, {self.dtype} on {self.device}"

    def zeros(self) -> Tensor:
        """Return a gradient of zeros, for a node at which no gradient arrived."""
        return Tensor(new_zeros(self.shape, self.dtype, self.device))


class Tensor(Values):
    """An array with a history. Make one with `minires.tensor`; operations make the others.

    The array is read-only. ``x += y``, ``x[i] = y``, ``x.copy_(y)`` and similar methods write into a leaf. `assign_`
    and `writable` also write where these raise. All of them count versions, so a backward pass notices if a value
    that it needs has changed. A CuPy array cannot be read-only, so a write through ``x.array`` stays unnoticed there.

    Attributes
    ----------
    grad : Tensor or None; ``backward`` fills it for leaves, and after `retain_grad` also for other tensors
    """

    __slots__ = ("__weakref__", "_frozen_node", "_node", "_op", "_version", "grad")

    def __init__(self, array: Array, version: Version | None = None, op: Op | None = None, node: Node | None = None):
        self._array = frozen(array)
        self._version = version or Version(self._array)
        self._op = op  # the recorded operation that computed it, or None
        self._node = node  # where its gradient arrives; None if it requires no gradient
        self._frozen_node: Node | None = None  # the node of a leaf whose gradient is switched off, with its hooks
        self.grad: Tensor | None = None

    @property
    def requires_grad(self) -> bool:
        """Whether a backward pass can reach this tensor."""
        return self._node is not None

    @requires_grad.setter
    def requires_grad(self, requires_grad: bool) -> None:
        self.requires_grad_(requires_grad)

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded operation computed this tensor."""
        return self._op is None

    def history(self) -> str:
        """Return "op=…" for a computed tensor, "requires_grad=True" for a leaf that requires one, otherwise ""."""
        if self._op is not None:
            return f"op={type(self._op).__name__}"
        return "requires_grad=True" if self.requires_grad else ""

    def __repr__(self) -> str:
        values = np.array2string(asnumpy(self._array), separator=", ", prefix="tensor(")
        device = "" if self.device == "cpu" else f"device={self.device!r}"
        parts = [values, f"dtype={self.dtype}", device, self.history()]
        return f"tensor({', '.join(part for part in parts if part)})"

    def detach(self) -> Tensor:
        """Return the same values without the history. Both share memory and version: `assign_` to one changes both."""
        return Tensor(self._array, self._version)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        """Return a new leaf with copies of the values and of ``grad``, in the same memory order, without hooks."""
        self._must_be_leaf("copied deeply", "copy x.detach()")
        made = memo[id(self)] = type(self).__new__(type(self))
        Tensor.__init__(made, copied(self._array))
        made.grad = copy.deepcopy(self.grad, memo)
        return made.requires_grad_() if self.requires_grad else made

    def __reduce_ex__(self, _: Any) -> tuple[Any, ...]:
        """Pickle what `__deepcopy__` copies. The tensor is restored on its device, in its memory order."""
        self._must_be_leaf("pickled or copied", "use x.detach()")
        order = memory_order(self._array)
        contiguous = asnumpy(self._array).transpose(order)
        return _unpickled, (type(self), contiguous, order, self.device, self.requires_grad, self.grad)

    # Its gradient

    def backward(
        self, gradient: Tensor | None = None, retain_graph: bool | None = None, create_graph: bool = False
    ) -> None:
        """Add the gradient of this tensor to ``.grad`` of every leaf it was computed from.

        Parameters
        ----------
        gradient : the gradient with respect to this tensor, of its shape; by default 1, if this is a scalar
        retain_graph : keep the graph for another backward pass; by default the value of ``create_graph``
        create_graph : record the backward pass, so that it can be differentiated again

        Raises
        ------
        GraphError : if this tensor has no graph; if it is not a scalar and ``gradient`` is missing; if the graph was
            used before; if a value that the graph saved has changed.
        ShapeError, DtypeError, DeviceError : if a gradient, given or computed, does not match its tensor.
        """
        from minires.autograd.backward import backward

        backward(self, gradient, create_graph if retain_graph is None else retain_graph, create_graph)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Switch the gradient of this leaf on or off, and return the tensor.

        Raises
        ------
        GraphError : if a recorded operation computed this tensor.
        DtypeError : if it does not hold floating-point numbers.
        """
        self._must_be_leaf("told whether it requires a gradient", "use x.detach()")
        if requires_grad and self.dtype.kind not in "fc":
            raise DtypeError(f"only floating-point tensors have gradients, not {self.dtype}")
        if requires_grad != self.requires_grad:
            node = (self._frozen_node or Node(self._array, self)) if requires_grad else None
            self._node, self._frozen_node = node, self._node
        return self

    def register_hook(self, function: Callable[[Tensor], Tensor | None]) -> Hook:
        """Call ``function`` with this tensor's complete gradient. If it returns a tensor, this replaces the gradient.

        Returns
        -------
        hook : a handle; ``hook.remove()`` removes the function

        Raises
        ------
        GraphError : if the tensor does not require a gradient.
        """
        return Hook(self._required_node("register_hook").hooks, function)

    def retain_grad(self) -> None:
        """Have backward passes fill ``.grad`` of this tensor even if it is not a leaf.

        Raises
        ------
        GraphError : if the tensor does not require a gradient.
        """
        self._required_node("retain_grad").keeper = weakref.ref(self)

    def _required_node(self, caller: str) -> Node:
        """Return the node, or raise GraphError if this tensor requires no gradient."""
        if self._node is None:
            raise GraphError(f"{caller} needs a tensor that requires a gradient; this one has no graph")
        return self._node

    def _must_be_leaf(self, done: str, instead: str) -> None:
        """Raise GraphError if a recorded operation computed this tensor."""
        if not self.is_leaf:
            raise GraphError(f"only a leaf can be {done}; this tensor was computed: {instead}")

    # The legal ways to write

    def assign_(self, value: Any) -> Tensor:
        """Overwrite the values with ``value``, an array, tensor or scalar. Shape, dtype and memory order stay.

        Raises
        ------
        ShapeError : if ``value`` has another shape (a scalar fills the tensor).
        DtypeError : if ``value`` cannot be cast to this dtype within its kind.
        GraphError : as `writable` does.
        """
        source = writable_into(self._array, value._array if isinstance(value, Tensor) else value)
        if source.ndim and source.shape != self.shape:
            raise ShapeError(f"cannot assign values of shape {source.shape} to a tensor of shape {self.shape}")
        with self.writable() as array:
            array[...] = source
        return self

    def must_be_writable(self) -> None:
        """Raise GraphError where `writable` does."""
        self._must_be_leaf("changed in place", "make a new one, such as y = y + x, or change y.detach().clone()")
        if repeats(self._array):
            raise GraphError("several elements of this tensor are one number in memory (broadcast): change a clone()")

    @contextlib.contextmanager
    def writable(self) -> Iterator[Array]:
        """Return a context manager that gives the array for writing in place. Such blocks do not nest.

        A view of another tensor (``x[0]``, ``x.detach()``) writes into the memory of that tensor.

        Raises
        ------
        GraphError : if a recorded operation computed this tensor, or several of its elements share memory.
        """
        self.must_be_writable()
        with writing(self._array, self._version.array) as array:
            self._version.count += 1
            yield array


def _unpickled(
    kind: type[Tensor], contiguous: Array, order: list[int], device: str, requires_grad: bool, grad: Tensor | None
) -> Tensor:
    """Return a leaf with a copy of an array whose axes were put into memory order."""
    made = kind.__new__(kind)
    array = contiguous.transpose([order.index(axis) for axis in range(contiguous.ndim)])
    Tensor.__init__(made, copied(asarray(array, device)))
    made.grad = grad
    return made.requires_grad_(requires_grad)
