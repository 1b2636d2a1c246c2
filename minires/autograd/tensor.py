"""A tensor: an array that nobody writes to, and the place in the graph that it came from."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from minires.device import Array, asarray, asnumpy, canonical, device_of, is_array, xp_of
from minires.errors import DtypeError, GraphError, ShapeError
from minires.operators import Operators

if TYPE_CHECKING:
    from minires.autograd.op import Op


class Version:
    """How often the memory behind some tensors was written. All tensors that view the same memory share it."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class Node:
    """A place in the graph where a gradient arrives: one output of an operation, or a leaf (``op`` is None).

    It knows what the gradient must look like, but does not hold the tensor's array: what the backward pass
    does not need is freed while the forward pass still runs.
    """

    __slots__ = ("__weakref__", "device", "dtype", "hooks", "index", "keeper", "op", "shape")

    def __init__(self, array: Array, op: Op | None = None, index: int = 0) -> None:
        self.op, self.index = op, index
        self.shape, self.dtype, self.device = array.shape, array.dtype, device_of(array)
        self.hooks: list[Callable[[Tensor], Tensor | None]] = []
        self.keeper: weakref.ref[Tensor] | None = None  # the tensor whose .grad is to be filled


class Tensor(Operators):
    """An array with a history. Make one with `minires.tensor`; operations make the others.

    The array is read-only. The one legal way to change it is `assign_` (and `update_`, for optimisers),
    which counts versions, so that a backward pass notices if a value that it needs has changed. On CuPy
    arrays, which cannot be made read-only, a write through ``x.array`` goes undetected.

    Attributes
    ----------
    grad : Tensor or None; filled by ``backward`` for leaves, and for others after `retain_grad`
    """

    __slots__ = ("__weakref__", "_array", "_node", "_version", "grad")

    def __init__(self, array: Array, node: Node | None = None, version: Version | None = None) -> None:
        if isinstance(array, np.ndarray):
            array.setflags(write=False)
        self._array, self._node, self._version = array, node, version or Version()
        self.grad: Tensor | None = None

    # What it is

    @property
    def array(self) -> Array:
        """A read-only view of the values."""
        return self._array[...]

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the axes."""
        return self._array.shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self._array.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return self._array.size

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the elements."""
        return self._array.dtype

    @property
    def device(self) -> str:
        """ "cpu" or "cuda:<index>"."""
        return device_of(self._array)

    @property
    def requires_grad(self) -> bool:
        """Whether a backward pass can reach this tensor."""
        return self._node is not None

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded operation made this tensor."""
        return self._node is None or self._node.op is None

    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("len() of a 0-d tensor")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        values = np.array2string(asnumpy(self._array), separator=", ", prefix="tensor(")
        notes = [f"dtype={self.dtype}"]
        notes += [f"device={self.device!r}"] * (self.device != "cpu")
        if self._node is not None:
            notes.append("requires_grad=True" if self._node.op is None else f"op={type(self._node.op).__name__}")
        return f"tensor({values}, {', '.join(notes)})"

    # Its values elsewhere

    def numpy(self) -> Array:
        """The values as a NumPy array: a read-only view on the CPU, a copy from a GPU."""
        return asnumpy(self.array)

    def item(self) -> Any:
        """The only element, as a Python number.

        Raises
        ------
        ShapeError : if there is not exactly one.
        """
        if self.size != 1:
            raise ShapeError(f"item() needs exactly one element, but the shape is {self.shape}")
        return self._array.item()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        return bool(self.item())

    def __array__(self, *_: Any, **__: Any) -> Array:
        raise TypeError("a Tensor is not converted to an array silently: use x.array, x.numpy(), or mr.tensor(a)")

    def detach(self) -> Tensor:
        """The same values without the history. The memory is shared, and so is its version."""
        return Tensor(self._array, version=self._version)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        """A leaf of its own: copies of the values and of ``grad``, in the same memory order, without hooks."""
        if not self.is_leaf:
            raise GraphError("only a leaf can be copied deeply; this tensor was computed: copy x.detach()")
        made = memo[id(self)] = type(self).__new__(type(self))
        Tensor.__init__(made, tensor(self)._array)
        made.grad = copy.deepcopy(self.grad, memo)
        if self._node is not None:
            made._node = Node(made._array)
            made.retain_grad()
        return made

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
        ShapeError, DtypeError, DeviceError : if ``gradient`` does not match this tensor.
        """
        from minires.autograd.backward import backward

        backward(self, gradient, retain_graph, create_graph)

    def register_hook(self, function: Callable[[Tensor], Tensor | None]) -> Callable[[], None]:
        """Call ``function`` with this tensor's complete gradient; a tensor it returns takes its place.

        Returns
        -------
        remove : a function without arguments that takes the hook away

        Raises
        ------
        GraphError : if the tensor does not require a gradient.
        """
        hooks = self._place("register_hook").hooks
        hooks.append(function)
        return lambda: hooks.remove(function) if function in hooks else None

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

    # The legal ways to write

    def assign_(self, value: Any) -> Tensor:
        """Overwrite the values with ``value``, an array, tensor or scalar; shape, dtype and order stay.

        Raises
        ------
        ShapeError : if ``value`` has another shape (a scalar fills).
        DtypeError : if ``value`` cannot be cast to this dtype within its kind.
        GraphError : if a recorded operation made this tensor, or it is a view of another.
        """
        source = value._array if isinstance(value, Tensor) else np.asarray(value) if not is_array(value) else value
        if source.ndim and source.shape != self.shape:
            raise ShapeError(f"cannot assign values of shape {source.shape} to a tensor of shape {self.shape}")
        if not np.can_cast(source.dtype, self.dtype, "same_kind"):
            raise DtypeError(f"cannot assign {source.dtype} values to a {self.dtype} tensor; convert them first")
        source = asarray(source, self.device)

        def write(array: Array) -> None:
            array[...] = source

        return self.update_(write)

    def update_(self, function: Callable[[Array], object]) -> Tensor:
        """Call ``function`` with the writable array, to change it in place.

        Raises
        ------
        GraphError : if a recorded operation made this tensor, or it is a view of another.
        """
        if not self.is_leaf:
            raise GraphError("only a leaf can be changed in place; this tensor was computed: make a new one")
        try:
            if isinstance(self._array, np.ndarray):
                self._array.setflags(write=True)
        except ValueError as error:
            raise GraphError("this tensor is a view of another; change that one instead") from error
        self._version.count += 1
        try:
            function(self._array)
        finally:
            if isinstance(self._array, np.ndarray):
                self._array.setflags(write=False)
        return self


def tensor(data: Any, requires_grad: bool = False, device: str | None = None, dtype: Any = None) -> Tensor:
    """A tensor with a copy of ``data``, whose memory order it keeps.

    Parameters
    ----------
    data : an array, a number, or nested lists of numbers
    requires_grad : whether backward passes shall compute its gradient
    device : "cpu", "cuda" or "cuda:<index>"; by default where ``data`` is
    dtype : by default that of an array, and for Python numbers float32, int64 or bool

    Raises
    ------
    DtypeError : if the data are not numeric, or ``requires_grad`` is asked of integers.
    DeviceError : if the device does not exist.
    """
    if isinstance(data, Tensor):
        data = data._array
    if not is_array(data):
        plain = not isinstance(data, np.generic)
        data = np.asarray(data)
        if plain and data.dtype == np.float64:
            data = data.astype(np.float32)
    if data.dtype.kind not in "biufc":
        raise DtypeError(f"a tensor holds numbers, not {data.dtype}")
    dtype = np.dtype(data.dtype if dtype is None else dtype)
    if requires_grad and dtype.kind not in "fc":
        raise DtypeError(f"only floating-point tensors have gradients, not {dtype}")
    home = device_of(data) if device is None else canonical(device)
    moved = asarray(data, home)
    array = xp_of(moved).empty_like(moved, dtype=dtype)  # keeps the memory order, which .copy() loses
    array[...] = moved
    made = Tensor(array)
    if requires_grad:
        made._node = Node(array)
        made.retain_grad()
    return made
