"""Call a function and its hand-written gradient with care.

Both get private copies of the arrays, in the memory order of the originals. After each call, what they must not
modify is compared with the original. What they return is copied, and its type, shape and dtype are checked.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from minires.device import Array, asarray, asnumpy, device_of, is_array
from minires.errors import DtypeError, MiniresError, ShapeError
from minires.testing.calling.arguments import (
    call_function,
    call_vjp,
    choose_arguments,
    for_64_bits,
    library_of,
    must_be_callable,
    nests_arrays,
    plain,
    type_name,
)
from minires.testing.calling.names import labels_of, listed
from minires.testing.layouts import copy_in_order, lay_out
from minires.testing.report import RESOLUTION, GradientError, Inconclusive, InputReport

__tracebackhide__ = True  # pytest goes from the caller's line to the caller's function

Gradients = list[Array | None]


class _Call(NamedTuple):
    """One call of the function: the point, the copies that it got, its cache, and its float outputs as one vector."""

    arrays: Sequence[Array]
    passed: list[Array]
    cache: Any
    outputs: Array


class Pair:
    """``function`` and ``vjp`` at the point ``arrays``, with outputs and their gradients as flat vectors.

    All float outputs are raveled into one vector. gy comes in as such a vector and is passed to ``vjp`` in the
    outputs' shapes (None for outputs that are not floats).

    Attributes
    ----------
    arrays : the point, as copies
    checked : the indices of the arguments to check
    varied : those of them that are floats
    labels : what messages call the arguments
    evaluations, gradients : how often ``function`` and ``vjp`` were called

    Raises
    ------
    DtypeError : if no argument to check is of floats.
    DtypeError, ShapeError : if ``function`` returns anything but arrays of the inputs' float dtype.
    GradientError : if a call modifies its arguments, or ``vjp`` takes other arguments or returns no gradient.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        vjp: Callable[..., Any],
        arrays: Sequence[Array],
        *,
        has_cache: bool = False,
        argnums: int | Sequence[int] | None = None,
    ) -> None:
        must_be_callable("vjp", vjp)
        self.function, self.vjp, self.has_cache = function, vjp, has_cache
        self.devices = [device_of(array) for array in arrays]
        self.arrays = [copy_in_order(asnumpy(array)) for array in arrays]
        self.checked = choose_arguments(arrays, argnums)
        self.varied = [argument for argument in self.checked if self.arrays[argument].dtype.kind == "f"]
        if all(self.arrays[argument].dtype.kind in "biu" for argument in self.checked):
            first = self.checked[0]
            raise DtypeError(
                f"{self.labels[first]} is {self.arrays[first].dtype} and has no gradient, and no other is to be "
                "checked: cast it with .astype(np.float64)"
            )
        self.evaluations = self.gradients = 0
        self._has_gradient: set[int] = set()  # also of arguments that are not to be checked
        self._outputs: list[tuple[tuple[int, ...], np.dtype[Any]] | None] = []
        self.is_tuple = False
        self.library = "numpy"  # that the latest float output came from

    @functools.cached_property
    def labels(self) -> list[str]:
        """What messages call the arguments."""
        return labels_of(self.function, len(self.arrays))

    def need_float64(self) -> None:
        """Raise DtypeError if an argument to check is a float other than float64."""
        for argument in self.checked:
            dtype = self.arrays[argument].dtype
            if dtype.kind in "fc" and dtype != np.float64:
                raise DtypeError(
                    f"{self.labels[argument]} is {dtype}, but derivatives need float64: cast it with "
                    ".astype(np.float64), use check_exact (for linear maps in float32), or leave it out with argnums"
                )

    def report(
        self,
        argument: int,
        directions: int,
        resolution: float,
        outputs_left_out: Mapping[str, int] | None = None,
        left_out: Array | None = None,
    ) -> InputReport:
        """Return the report on one argument; ``left_out`` is the mask of its elements that were left out."""
        elements = () if left_out is None else tuple(tuple(map(int, index)) for index in np.argwhere(left_out))
        shape, label = self.arrays[argument].shape, self.labels[argument]
        return InputReport(argument, shape, directions, resolution, outputs_left_out or {}, elements, label)

    def at(self, arrays: Sequence[Array]) -> Pair:
        """Return the same pair at another point."""
        return Pair(self.function, self.vjp, arrays, has_cache=self.has_cache, argnums=self.checked)

    def moved(self, argument: int, move: Array) -> list[Array]:
        """Return the point with one argument moved."""
        moved = copy_in_order(self.arrays[argument])
        moved += move
        return [moved if number == argument else x for number, x in enumerate(self.arrays)]

    def beside(self, move: Callable[[Array], Array], arrays: Sequence[Array] | None = None) -> list[Array]:
        """Return the point, or ``arrays``, with every argument moved by ``move``, a little.

        An argument without a gradient, or with a gradient of zeros, stays. It may be a label or a mask, for which
        1.9999999999999998 is not 2.
        """
        given = self.arrays if arrays is None else arrays
        return [move(x) if argument in self._has_gradient else x for argument, x in enumerate(given)]

    def evaluate(self, arrays: Sequence[Array] | None = None) -> Array:
        """Return all float outputs of ``function`` at ``arrays`` (default: the point itself) as one vector."""
        return self._forward(arrays).outputs

    def gradient(self, gy: Array, arrays: Sequence[Array] | None = None, order: str = "C") -> Gradients:
        """Return what ``vjp`` returns for gy: one gradient (or None) per argument.

        ``function`` is called first, since a layer may remember its last input. gy is passed in the memory order
        ``order`` (see `lay_out`).
        """
        return self._backward(self._forward(arrays), gy, order)[0]

    def gradient_twice(self, gy: Array) -> Gradients:
        """Call ``vjp`` for 2 gy, then for gy, with the same arguments or cache; return the second result.

        Raises
        ------
        GradientError : if the second call changes the result of the first.
        """
        call = self._forward()
        first, returned = self._backward(call, 2.0 * gy)
        gradients, _ = self._backward(call, gy)
        for before, after in zip(first, self._gradients(returned, call.arrays), strict=True):
            if before is not None and after is not None and not _same(before, after):
                raise GradientError(
                    "vjp changes a gradient that it returned before: each call must return memory of its own"
                )
        return gradients

    def gradient_late(self, gy: Array, between: Sequence[Array]) -> Gradients:
        """Return what ``vjp`` returns for gy if ``function`` is called at ``between`` before ``vjp`` is."""
        call = self._forward()
        self._forward(between)
        return self._backward(call, gy)[0]

    def gradient_beside(self, gy: Array, move: Callable[[Array], Array]) -> Gradients:
        """Return what ``vjp`` returns if gy and the point are moved by so little that only rounding should show.

        Only gy is moved where the function or vjp raises at the moved point, which may lie outside its domain.
        """
        gy = move(gy)
        try:
            return self.gradient(gy, self.beside(move))
        except MiniresError:
            raise
        except Exception:  # user code may raise anything outside its domain; at the point itself it is raised
            return self.gradient(gy)

    def _forward(self, arrays: Sequence[Array] | None = None) -> _Call:
        arrays = self.arrays if arrays is None else arrays
        passed = [
            asarray(copy_in_order(array, like), device)
            for array, like, device in zip(arrays, self.arrays, self.devices, strict=True)
        ]
        self.evaluations += 1
        with np.errstate(all="ignore"):
            returned = call_function(self.function, passed)
        cache = None
        if self.has_cache:
            if not isinstance(returned, tuple) or len(returned) != 2:
                got = type_name(returned) + (f" of {len(returned)}" if isinstance(returned, tuple) else "")
                raise GradientError(
                    f"with has_cache=True, function must return (y, cache), got a {got}: return both, or leave "
                    "has_cache out if vjp takes the inputs"
                )
            returned, cache = returned
        self._untouched("function", arrays, passed)
        return _Call(arrays, passed, cache, self._flatten(returned))

    def _backward(self, call: _Call, gy: Array, order: str = "C") -> tuple[Gradients, Any]:
        """Return the gradients, and what ``vjp`` returned."""
        parts = self.split(gy, order)
        copies = [None if part is None else part.copy() for part in parts]
        passed = tuple(parts) if self.is_tuple else parts[0]
        self.gradients += 1
        with np.errstate(all="ignore"):
            given = [call.cache] if self.has_cache else call.passed
            returned = call_vjp(self.vjp, passed, given, self.function, self.has_cache)
        gradients = self._gradients(returned, call.arrays)
        self._untouched("vjp", call.arrays, call.passed)
        for part, before in zip(parts, copies, strict=True):
            if part is not None and not _same(asnumpy(part), asnumpy(before)):
                raise GradientError(
                    "vjp modifies gy in place; it must leave it as it was, others may still need it: copy first"
                )
        return gradients, returned

    def evaluate_complex(self, argument: int, d: Array, arrays: Sequence[Array]) -> Array:
        """Return all float outputs at complex arrays, of which one is shifted by i·d."""
        moved = [
            x + 1j * d if number == argument else x.astype(complex) if x.dtype.kind == "f" else x
            for number, x in enumerate(arrays)
        ]
        self.evaluations += 1
        try:
            returned = self.function(*(asarray(x, device) for x, device in zip(moved, self.devices, strict=True)))
        except (TypeError, DtypeError) as error:
            raise Inconclusive(f"function does not take complex numbers: {error}", RESOLUTION) from error
        returned = returned[0] if self.has_cache else returned
        outputs = [asnumpy(output) for output in (returned if self.is_tuple else (returned,)) if output is not None]
        parts = [output.reshape(-1) for output in outputs if output.dtype.kind in "fc"]
        if any(part.dtype.kind == "f" and part.size for part in parts):
            raise Inconclusive("function drops the imaginary part of complex numbers: use check_vjp", RESOLUTION)
        return np.concatenate(parts)

    def _flatten(self, returned: Any) -> Array:
        self.is_tuple = isinstance(returned, tuple | list)
        outputs: list[tuple[tuple[int, ...], np.dtype[Any]] | None] = []
        parts = []
        for output in returned if self.is_tuple else (returned,):
            if nests_arrays(output):
                raise DtypeError(
                    f"function must return an array or a flat tuple of arrays, got a tuple with a "
                    f"{type_name(output)} of arrays in it"
                )
            array = None if output is None else plain(output, "an output of function")
            if array is not None and array.dtype.kind not in "biufc":
                raise DtypeError(
                    f"function returns {'a tuple with ' * self.is_tuple}a {type_name(output)}, expected an array of "
                    "floats or a tuple of them; what only vjp needs is a cache: return (y, cache), with has_cache=True"
                )
            if array is None or array.dtype.kind in "biu":
                outputs.append(None)
                continue
            if array.dtype.kind != "f":
                raise DtypeError(f"function returns dtype {array.dtype}, expected a real float array")
            outputs.append((array.shape, array.dtype))
            self.library = library_of(output)
            parts.append(np.array(array).reshape(-1))
        if self._outputs and outputs != self._outputs:
            raise ShapeError(f"function's outputs changed from {self._outputs} to {outputs} with the inputs' values")
        self._outputs = outputs
        if not parts:
            what = "None: does it lack a return statement" if returned is None else "no float array: are they integers"
            raise DtypeError(f"function returns {what}? There is nothing to differentiate")
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    @property
    def branches(self) -> Any:
        """The choices that the last evaluation made, if ``function`` is a method of an object that has them."""
        return getattr(getattr(self.function, "__self__", None), "branches", None)

    @property
    def output_dtypes(self) -> set[np.dtype[Any]]:
        """The dtypes of the float outputs of the last call."""
        return {output[1] for output in self._outputs if output is not None}

    def split(self, gy: Array, order: str = "C") -> list[Array | None]:
        """Return the flat vector gy in the outputs' shapes, in a memory order of `lay_out`."""
        parts: list[Array | None] = []
        start = 0
        for output in self._outputs:
            if output is None:
                parts.append(None)
                continue
            shape, dtype = output
            size = int(np.prod(shape))
            part = lay_out(gy[start : start + size].reshape(shape).astype(dtype), order)
            parts.append(asarray(part, self.devices[0] if self.devices else "cpu"))
            start += size
        return parts

    def _gradients(self, returned: Any, arrays: Sequence[Array]) -> Gradients:
        if len(arrays) == 1 and not isinstance(returned, tuple | list):
            returned = (returned,)
        if not isinstance(returned, tuple | list) or len(returned) != len(arrays):
            got = str(len(returned)) if isinstance(returned, tuple | list) else f"a {type_name(returned)}"
            got += ": does it lack a return statement?" if returned is None else ""
            raise GradientError(
                f"vjp must return a tuple of {len(arrays)} gradients, one for each of {listed(self.labels)} (None for "
                f"one that is zero), got {got}"
            )
        gradients: Gradients = []
        for argument, (gradient, array) in enumerate(zip(returned, arrays, strict=True)):
            if array.dtype == np.float64 and is_array(gradient) and asnumpy(gradient).any():
                self._has_gradient.add(argument)
            checked = gradient is not None and argument in self.checked
            gradients.append(_as_gradient(gradient, array, self.labels[argument]) if checked else None)
        return gradients

    def _untouched(self, who: str, arrays: Sequence[Array], passed: Sequence[Array]) -> None:
        for argument, (before, after) in enumerate(zip(arrays, passed, strict=True)):
            if not _same(before, asnumpy(after)):
                raise GradientError(
                    f"{who} modifies {self.labels[argument]} in place; it must leave it as it was: copy first"
                )


def _as_gradient(gradient: Any, array: Array, label: str) -> Array:
    """Return a copy of the gradient of ``array``, or raise if it cannot be one."""
    if array.dtype.kind != "f":
        raise GradientError(
            f"{label} is of dtype {array.dtype} and has no gradient: vjp must return None, "
            f"got {type(gradient).__name__}"
        )
    if nests_arrays(gradient):
        raise GradientError(f"the gradient of {label} is a {type_name(gradient)} of arrays, expected an array")
    g = np.array(plain(gradient, f"the gradient of {label}"))
    if g.dtype.kind not in "biufc":
        raise GradientError(
            f"the gradient of {label} is a {type_name(gradient)}, expected an array of {array.dtype}: convert it"
        )
    if g.shape != array.shape:
        raise GradientError(
            f"the gradient of {label} has shape {g.shape}, expected {array.shape}{_remedy_for_shape(g, array)}"
        )
    if g.dtype != array.dtype:
        remedy = for_64_bits(library_of(gradient)) or ": cast it"
        raise GradientError(f"the gradient of {label} has dtype {g.dtype}, expected {array.dtype}{remedy}")
    return g


def _remedy_for_shape(g: Array, x: Array) -> str:
    if g.ndim > x.ndim or any(n != m and m == 1 for n, m in zip(g.shape[::-1], x.shape[::-1], strict=False)):
        return ": sum over the axes along which the input was broadcast"
    return ": reshape it" if g.size == x.size else ""


def _same(a: Array, b: Array) -> bool:
    """Return whether two arrays are equal, where NaN equals NaN. NaNs are rare, so ``==`` is tried first."""
    if a.shape != b.shape:
        return False
    return bool((a == b).all()) or (a.dtype.kind in "fc" and np.array_equal(a, b, equal_nan=True))
