"""Kernels: pure functions of arrays. No Tensor, no graph, no state.

Three sets hold functions of the same names and signatures: ``reference`` is the textbook form on NumPy or CuPy,
``fast`` is for the CPU, ``cuda`` for CuPy. A set without its own version of a kernel uses the reference's. `table`
says in which file of each set a kernel is.
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
# The dtypes that the sets for a device compute, as NumPy's letters: e is float16, f float32, d float64.
_OWN_DTYPES = {"fast": frozenset("fd"), "cuda": frozenset("efd")}
_chosen: contextvars.ContextVar[str | KernelSet | None] = contextvars.ContextVar("minires_kernels", default=None)


class KernelSet:
    """A set of kernels, which are its attributes: ``kernel_set.conv2d(x, w, geometry)``.

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
        """Return what to call for ``kernel``: its function. A subclass may return a wrapper around it."""
        return function

    @property
    def choice(self) -> str | KernelSet:
        """The argument of `using` that chooses this set again: its name, or the set itself if the user made it."""
        return self.name if _sets.get(self.name) is self else self

    def has(self, kernel: str) -> bool:
        """Return whether the set has its own version of ``kernel``."""
        return kernel in names_of(self._module)

    def __repr__(self) -> str:
        return f"KernelSet({self.name!r})"


_sets: dict[str, KernelSet] = {}


def _load(name: str) -> KernelSet:
    if name not in _sets:
        _sets[name] = KernelSet(name)
    return _sets[name]


def names_of(module: ModuleType) -> list[str]:
    """Return the names of the kernels that a set's package exports, sorted."""
    return sorted(getattr(module, "__all__", ()))


def choose(*arrays: Array) -> KernelSet:
    """Return the kernel set for ``arrays``: fast for NumPy, cuda for CuPy, or the one that `using` names.

    The dtypes of float arrays decide; integers and booleans beside them (labels, masks) do not. Complex arrays, float16
    on the CPU and integers alone go to the reference. Inside ``using`` of a `KernelSet`, that set is returned.

    Raises
    ------
    DeviceError : inside ``using("fast")`` for CUDA arrays, and inside ``using("cuda")`` for NumPy arrays.
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
    """Compute with one kernel set inside the ``with`` block.

    Operations applied inside keep their set, so a backward pass that runs later uses it, too.

    Parameters
    ----------
    name : "reference", "fast", "cuda", or a `KernelSet` that you made

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


def file_of(kernel: Callable[..., Any]) -> str:
    """Return the name of the file that defines a kernel, such as "conv.py"."""
    return kernel.__module__.rpartition(".")[2] + ".py"


def table() -> str:
    """Return which file of each set holds each kernel, as text: one row for each kernel, "-" where a set has none."""
    modules = [importlib.import_module(f"minires.kernels.{name}") for name in NAMES]
    rows: list[tuple[str, ...]] = [("kernel", *NAMES)]
    for kernel in sorted({kernel for module in modules for kernel in names_of(module)}):
        own = (getattr(module, kernel) if kernel in names_of(module) else None for module in modules)
        rows.append((kernel, *("-" if function is None else file_of(function) for function in own)))
    return "\n".join(f"{kernel:28}" + "".join(f"{file:20}" for file in files).rstrip() for kernel, *files in rows)
