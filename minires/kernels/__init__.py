"""Kernels: pure functions of arrays. No Tensor, no graph, no state.

Three sets hold the same names with the same signatures: ``reference`` is the text-book form on NumPy or
CuPy, ``fast`` is for the CPU, ``cuda`` for CuPy. A set that lacks a kernel borrows the reference's.
"""

from __future__ import annotations

import contextlib
import contextvars
import importlib
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from minires.device import Array, device_of
from minires.errors import DeviceError

NAMES = ("reference", "fast", "cuda")
# What the sets for a device compute themselves, as NumPy's letters of dtypes: half, single and double precision.
_OWN_DTYPES = {"fast": frozenset("fd"), "cuda": frozenset("efd")}
_chosen: contextvars.ContextVar[str | KernelSet | None] = contextvars.ContextVar("minires_kernels", default=None)


class KernelSet:
    """Kernels by name: ``kernel_set.conv2d(x, w, geometry)``.

    Raises
    ------
    AttributeError : for a name that neither this set nor the reference has.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._module = importlib.import_module(f"minires.kernels.{name}")

    def __getattr__(self, kernel: str) -> Callable[..., Any]:
        module = self._module if self.has(kernel) else _load("reference")._module
        if kernel not in module.__all__:
            raise AttributeError(f"there is no kernel {kernel!r}: kernels.table() lists them")
        function = self.wrapped(kernel, getattr(module, kernel))
        setattr(self, kernel, function)  # the next look-up is an ordinary attribute
        return function

    def wrapped(self, kernel: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """What a call of ``kernel`` calls: its function. A set of one's own may put something around it."""
        return function

    @property
    def choice(self) -> str | KernelSet:
        """What `using` takes to compute as an operation did that was given this set: itself, if it is nobody else's."""
        return self.name if _sets.get(self.name) is self else self

    def has(self, kernel: str) -> bool:
        """Whether the set has its own version of ``kernel``."""
        return kernel in names_of(self._module)

    def __repr__(self) -> str:
        return f"KernelSet({self.name!r})"


_sets: dict[str, KernelSet] = {}


def _load(name: str) -> KernelSet:
    if name not in _sets:
        _sets[name] = KernelSet(name)
    return _sets[name]


def names_of(module: ModuleType) -> list[str]:
    """The kernels that a set's package exports, sorted."""
    return sorted(getattr(module, "__all__", ()))


def choose(*arrays: Array) -> KernelSet:
    """The set that computes with ``arrays``: fast for NumPy, cuda for CuPy, reference inside ``using``.

    The dtypes of floating-point arrays decide; integers beside them (labels, masks) do not. Complex arrays, half
    precision on the CPU, and integers alone go to the reference. Inside ``using`` of a set of one's own, it is that.

    Raises
    ------
    DeviceError : inside ``using("fast")`` for CUDA arrays, and inside ``using("cuda")`` for NumPy's.
    """
    wanted = _chosen.get()
    if isinstance(wanted, KernelSet):
        return wanted
    home = "fast" if device_of(arrays[0]) == "cpu" else "cuda"
    if wanted not in (None, "reference", home):
        raise DeviceError(f"using({wanted!r}) met an array on {device_of(arrays[0])}, which needs {home!r}")
    floats = {array.dtype.char for array in arrays if array.dtype.kind in "fc"}
    if wanted == "reference" or not floats or not floats <= _OWN_DTYPES[home]:
        return _load("reference")
    return _load(home)


@contextlib.contextmanager
def using(name: str | KernelSet) -> Iterator[None]:
    """Compute with one kernel set inside the ``with`` block: "reference", "fast", "cuda", or a set of one's own.

    Operations applied inside keep their set, so a backward pass that runs later uses it too.

    Raises
    ------
    ValueError : for another name.
    """
    if not isinstance(name, KernelSet) and name not in NAMES:
        raise ValueError(f"kernel set {name!r} is not one of {', '.join(NAMES)}")
    token = _chosen.set(name)
    try:
        yield
    finally:
        _chosen.reset(token)


def table() -> str:
    """Which set has which kernel, as text: one row a kernel, an x where a set has its own."""
    loaded = {name: _load(name) for name in NAMES}
    rows = [f"{'kernel':36}" + "".join(f"{name:>11}" for name in NAMES)]
    for kernel in sorted({k for kernels in loaded.values() for k in names_of(kernels._module)}):
        marks = ("x" if kernels.has(kernel) else "-" for kernels in loaded.values())
        rows.append(f"{kernel:36}" + "".join(f"{mark:>11}" for mark in marks))
    return "\n".join(rows)
