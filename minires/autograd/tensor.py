"""A tensor: an array, and its place in the graph that it came from."""

from __future__ import annotations

import contextlib
import copy
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from minires.device import (
    Array,
    asarray,
    asnumpy,
    copied,
    device_of,
    frozen,
    memory_order,
    new_zeros,
    repeats,
    writable_into,
    writing,
)
from minires.errors import DtypeError, GraphError, ShapeError
from minires.hooks import Hook
from minires.values import Values

if TYPE_CHECKING:
    from minires.autograd.op import Op


class Version:
    """How often the memory of ``array`` was written. All tensors that view the same memory share its version."""

    def __init__(self, array: Array) -> None:
        self.array, self.count = array, 0


class Node:
    """A place in the graph where a gradient arrives: a leaf, or an output of an operation.

    It knows what the gradient must look like, but does not hold the tensor's array: what the backward pass
    does not need is freed while the forward pass still runs.
    """

    __slots__ = ("device", "dtype", "hooks", "keeper", "shape")

    def __init__(self, array: Array, keeper: Tensor | None = None) -> None:
        self.shape, self.dtype, self.device = array.shape, array.dtype, device_of(array)
        self.hooks: dict[Hook, Callable[[Tensor], Tensor | None]] = {}
        self.keeper = None if keeper is None else weakref.ref(keeper)  # the tensor whose .grad is to be filled

    def __str__(self) -> str:
        return f"shape {self.shape}, {self.dtype} on {self.device}"

    def zeros(self) -> Tensor:
        """The gradient where none arrives."""
        return Tensor(new_zeros(self.shape, self.dtype, self.device))


class Tensor(Values):
    """An array with a history. Make one with `minires.tensor`; operations make the others.

    The array is read-only. A leaf is changed by ``x += y``, ``x[i] = y``, ``x.copy_(y)`` and their like, and where
    these refuse, knowingly, by `assign_` and `writable`. All of them count versions, so that a backward pass notices
    if a value that it needs has changed. On CuPy arrays, which cannot be made read-only, a write through ``x.array``
    goes undetected.

    Attributes
    ----------
    grad : Tensor or None; filled by ``backward`` for leaves, and for others after `retain_grad`
    """

    __slots__ = ("__weakref__", "_frozen_node", "_node", "_op", "_sole", "_version", "grad")

    def __init__(self, array: Array, version: Version | None = None, op: Op | None = None, node: Node | None = None):
        self._array = frozen(array)
        self._version = version or Version(self._array)
        # What made it, and where its gradient arrives; None where nothing did. Whether nobody else holds the array.
        self._op, self._node, self._sole = op, node, False
        self._frozen_node: Node | None = None  # of a leaf whose gradient is switched off: it keeps the hooks
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
        """Whether no recorded operation made this tensor."""
        return self._op is None

    def history(self) -> str:
        """What made it, for its representation."""
        return f"op={type(self._op).__name__}" if self._op else "requires_grad=True" if self.requires_grad else ""

    def detach(self) -> Tensor:
        """The same values without the history. The memory is shared, so `assign_` there writes here, and counts."""
        return Tensor(self._array, self._version)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        """A leaf of its own: copies of the values and of ``grad``, in the same memory order, without hooks."""
        self._must_be_leaf("copied deeply", "copy x.detach()")
        made = memo[id(self)] = type(self).__new__(type(self))
        Tensor.__init__(made, copied(self._array))
        made.grad = copy.deepcopy(self.grad, memo)
        return made.requires_grad_() if self.requires_grad else made

    def __reduce_ex__(self, _: Any) -> tuple[Any, ...]:
        """Pickle what `__deepcopy__` copies; the tensor comes back on its device, in its memory order."""
        self._must_be_leaf("pickled or copied", "use x.detach()")
        order = memory_order(self._array)
        lying = asnumpy(self._array).transpose(order)
        return _unpickled, (type(self), lying, order, self.device, self.requires_grad, self.grad)

    # Its gradient

    def backward(
        self, gradient: Tensor | None = None, retain_graph: bool | None = None, create_graph: bool = False
    ) -> None:
        """Add the gradient of this tensor to ``.grad`` of every leaf it was computed from.

        Parameters
        ----------
        gradient : the gradient with respect to this tensor, of its shape; 1 where this is a scalar
        retain_graph : keep the graph for another backward pass; by default, what ``create_graph`` says
        create_graph : record the backward pass, so that it can be differentiated in turn

        Raises
        ------
        GraphError : without a graph; for a non-scalar without ``gradient``; when the graph was used already;
            when a value that the graph saved was changed since.
        ShapeError, DtypeError, DeviceError : if a gradient, given or computed, does not match its tensor.
        """
        from minires.autograd.backward import backward

        backward(self, gradient, create_graph if retain_graph is None else retain_graph, create_graph)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Have backward passes compute this leaf's gradient, or no longer; gives the tensor back.

        Raises
        ------
        GraphError : if a recorded operation made this tensor.
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
        """Call ``function`` with this tensor's complete gradient; a tensor it returns takes its place.

        Returns
        -------
        hook : a handle; ``hook.remove()`` takes the function away

        Raises
        ------
        GraphError : if the tensor does not require a gradient.
        """
        return Hook(self._place("register_hook").hooks, function)

    def retain_grad(self) -> None:
        """Have a backward pass fill ``.grad`` although this tensor is not a leaf.

        Raises
        ------
        GraphError : if the tensor does not require a gradient.
        """
        self._place("retain_grad").keeper = weakref.ref(self)

    def _place(self, caller: str) -> Node:
        if self._node is None:
            raise GraphError(f"{caller} needs a tensor that requires a gradient; this one has no graph")
        return self._node

    def _must_be_leaf(self, done: str, instead: str) -> None:
        if not self.is_leaf:
            raise GraphError(f"only a leaf can be {done}; this tensor was computed: {instead}")

    # The legal ways to write

    def assign_(self, value: Any) -> Tensor:
        """Overwrite the values with ``value``, an array, tensor or scalar; shape, dtype and order stay.

        Raises
        ------
        ShapeError : if ``value`` has another shape (a scalar fills).
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
        """``with x.writable() as array:`` the array itself, to be changed in place. Such blocks do not nest.

        A view of another tensor (``x[0]``, ``x.detach()``) writes into that one's memory.

        Raises
        ------
        GraphError : if a recorded operation made this tensor, or several of its elements are one number in memory.
        """
        self.must_be_writable()
        with writing(self._array, self._version.array) as array:
            self._version.count += 1
            yield array


def _unpickled(
    kind: type[Tensor], lying: Array, order: list[int], device: str, requires_grad: bool, grad: Tensor | None
) -> Tensor:
    """A leaf with a copy of an array whose axes were put in the ``order`` in which they lie in memory."""
    made = kind.__new__(kind)
    array = lying.transpose([order.index(axis) for axis in range(lying.ndim)])
    Tensor.__init__(made, copied(asarray(array, device)))
    made.grad = grad
    return made.requires_grad_(requires_grad)
