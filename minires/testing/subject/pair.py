"""A function and its hand-written gradient, called with care.

Both see private copies of the arrays, in the memory order in which they came; what they must not touch is
compared after each call; what they return is copied and checked for type, shape and dtype.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minires.device import Array, asarray, asnumpy, device_of, is_array
from minires.errors import DtypeError, MiniresError, ShapeError
from minires.testing.layouts import copy_in_order, lay_out
from minires.testing.report import RESOLUTION, GradientError, Inconclusive
from minires.testing.subject.arguments import (
    choose_arguments,
    for_64_bits,
    library_of,
    must_be_callable,
    nests_arrays,
    plain,
    type_name,
)
from minires.testing.subject.names import labels_of, listed

__tracebackhide__ = True  # pytest goes from the caller's line to the caller's function

Gradients = list[Array | None]


def need_float64(pair: Pair) -> None:
    """Raise DtypeError if an input whose gradient is checked is a float other than float64."""
    for number in pair.checked:
        dtype = pair.arrays[number].dtype
        if dtype.kind in "fc" and dtype != np.float64:
            raise DtypeError(
                f"{pair.labels[number]} is {dtype}, but derivatives need float64: cast it with .astype(np.float64), "
                "use check_exact (for linear maps in float32), or leave it out with argnums"
            )


class Pair:
    """``function`` and ``vjp`` at the point ``arrays``: outputs and their gradients as flat vectors.

    All float outputs are raveled into one vector; gy comes in as such a vector and is handed to ``vjp`` in the
    outputs' shapes (None for outputs that are not floats).

    Raises
    ------
    DtypeError : if no input to check is of floats.
    DtypeError, ShapeError : if ``function`` returns anything but arrays of the inputs' float dtype.
    GradientError : if a call modifies what it was given, or ``vjp`` returns what is no gradient.
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
        self.homes = [device_of(array) for array in arrays]
        self.arrays = [copy_in_order(asnumpy(array)) for array in arrays]
        self.checked = choose_arguments(arrays, argnums)
        self.varied = [number for number in self.checked if self.arrays[number].dtype.kind == "f"]
        if all(self.arrays[number].dtype.kind in "biu" for number in self.checked):
            number = self.checked[0]
            raise DtypeError(
                f"{self.labels[number]} is {self.arrays[number].dtype} and has no gradient, and no other is to be "
                "checked: cast it with .astype(np.float64)"
            )
        self.evaluations = self.gradients = 0
        self._has_gradient: set[int] = set()  # also of inputs that are not to be checked
        self._outputs: list[tuple[tuple[int, ...], np.dtype[Any]] | None] = []
        self.is_tuple = False
        self.library = "numpy"  # that the latest float output came from

    @functools.cached_property
    def labels(self) -> list[str]:
        """What messages call the inputs."""
        return labels_of(self.function, len(self.arrays))

    def at(self, arrays: Sequence[Array]) -> Pair:
        """The same pair at another point."""
        return Pair(self.function, self.vjp, arrays, has_cache=self.has_cache, argnums=self.checked)

    def evaluate(self, arrays: Sequence[Array] | None = None) -> Array:
        """All float outputs of ``function`` at ``arrays`` (default: the point itself), in one vector."""
        outputs, _, _ = self._forward(self.arrays if arrays is None else arrays)
        return outputs

    def gradient(
        self,
        gy: Array,
        arrays: Sequence[Array] | None = None,
        *,
        twice: bool = False,
        order: str = "C",
        between: Sequence[Array] | None = None,
    ) -> Gradients:
        """What ``vjp`` returns for gy, one gradient (or None) per argument.

        ``function`` is called first, as a layer that remembers its last input needs it. With ``twice``, ``vjp``
        is called for 2 gy before, with the same arguments or cache, and what it returned then must outlive the
        second call. gy comes in memory order ``order`` (see `lay_out`). With ``between``, ``function`` is called there
        before ``vjp``.
        """
        arrays = self.arrays if arrays is None else arrays
        _, passed, cache = self._forward(arrays)
        if between is not None:
            self._forward(between)
        result: Gradients = []
        earlier: tuple[Any, Gradients] | None = None
        for factor in (2.0, 1.0) if twice else (1.0,):
            handed = self.split(factor * gy if twice else gy, order)
            kept = [None if part is None else part.copy() for part in handed]
            hand = tuple(handed) if self.is_tuple else handed[0]
            self.gradients += 1
            with np.errstate(all="ignore"):
                returned = self.vjp(hand, cache) if self.has_cache else self.vjp(hand, *passed)
            result = self._gradients(returned, arrays)
            self._untouched("vjp", arrays, passed)
            for part, before in zip(handed, kept, strict=True):
                if part is not None and not _same(asnumpy(part), asnumpy(before)):
                    raise GradientError(
                        "vjp modifies gy in place; it must leave it as it was, others may still need it: copy first"
                    )
            if earlier is not None:
                held, then = earlier
                for a, b in zip(then, self._gradients(held, arrays), strict=True):
                    if a is not None and b is not None and not _same(a, b):
                        raise GradientError(
                            "vjp changes a gradient that it returned before: each call must return memory of its own"
                        )
            earlier = returned, result
        return result

    def beside(self, move: Callable[[Array], Array], arrays: Sequence[Array] | None = None) -> list[Array]:
        """Return the point, or ``arrays``, moved by a little.

        What has no gradient, or one of zeros, stays: it may be a label or a mask, which 1.9999999999999998 is not.
        """
        given = self.arrays if arrays is None else arrays
        return [move(x) if number in self._has_gradient else x for number, x in enumerate(given)]

    def gradient_beside(self, gy: Array, move: Callable[[Array], Array]) -> Gradients:
        """What ``vjp`` returns where gy and the point are moved by so little that only rounding should tell.

        Where the function or vjp refuses (the point may lie at the end of its domain), gy alone is moved.
        """
        gy = move(gy)
        try:
            return self.gradient(gy, self.beside(move))
        except MiniresError:
            raise
        except Exception:
            return self.gradient(gy)

    def _forward(self, arrays: Sequence[Array]) -> tuple[Array, list[Array], Any]:
        passed = [
            asarray(copy_in_order(array, like), home)
            for array, like, home in zip(arrays, self.arrays, self.homes, strict=True)
        ]
        self.evaluations += 1
        with np.errstate(all="ignore"):
            returned = self.function(*passed)
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
        return self._flatten(returned), passed, cache

    def evaluate_complex(self, number: int, d: Array, arrays: Sequence[Array]) -> Array:
        """All float outputs at complex inputs, of which input ``number`` is shifted by i·d."""
        moved = [
            x + 1j * d if n == number else x.astype(complex) if x.dtype.kind == "f" else x for n, x in enumerate(arrays)
        ]
        self.evaluations += 1
        try:
            returned = self.function(*(asarray(x, home) for x, home in zip(moved, self.homes, strict=True)))
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
        """The choices that the last evaluation made, if the function belongs to an object that tells; else None."""
        return getattr(getattr(self.function, "__self__", None), "branches", None)

    @property
    def output_dtypes(self) -> set[np.dtype[Any]]:
        """The dtypes of the float outputs of the last call."""
        return {output[1] for output in self._outputs if output is not None}

    def split(self, gy: Array, order: str = "C") -> list[Array | None]:
        """The flat vector gy in the outputs' shapes, in a memory order of `lay_out`."""
        parts: list[Array | None] = []
        start = 0
        for output in self._outputs:
            if output is None:
                parts.append(None)
                continue
            shape, dtype = output
            size = int(np.prod(shape))
            part = lay_out(gy[start : start + size].reshape(shape).astype(dtype), order)
            parts.append(asarray(part, self.homes[0] if self.homes else "cpu"))
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
        for number, (gradient, array) in enumerate(zip(returned, arrays, strict=True)):
            if array.dtype == np.float64 and is_array(gradient) and asnumpy(gradient).any():
                self._has_gradient.add(number)
            if gradient is None or number not in self.checked:
                gradients.append(None)
                continue
            if array.dtype.kind != "f":
                raise GradientError(
                    f"{self.labels[number]} is of dtype {array.dtype} and has no gradient: vjp must return None, "
                    f"got {type(gradient).__name__}"
                )
            if nests_arrays(gradient):
                raise GradientError(
                    f"the gradient of {self.labels[number]} is a {type_name(gradient)} of arrays, expected an array"
                )
            g = np.array(plain(gradient, f"the gradient of {self.labels[number]}"))
            if g.dtype.kind not in "biufc":
                raise GradientError(
                    f"the gradient of {self.labels[number]} is a {type_name(gradient)}, expected an array of "
                    f"{array.dtype}: convert it"
                )
            if g.shape != array.shape:
                raise GradientError(
                    f"the gradient of {self.labels[number]} has shape {g.shape}, expected {array.shape}{_why(g, array)}"
                )
            if g.dtype != array.dtype:
                hint = for_64_bits(library_of(gradient)) or ": cast it"
                raise GradientError(
                    f"the gradient of {self.labels[number]} has dtype {g.dtype}, expected {array.dtype}{hint}"
                )
            gradients.append(g)
        return gradients

    def _untouched(self, who: str, arrays: Sequence[Array], passed: Sequence[Array]) -> None:
        for number, (before, after) in enumerate(zip(arrays, passed, strict=True)):
            if not _same(before, asnumpy(after)):
                raise GradientError(
                    f"{who} modifies {self.labels[number]} in place; it must leave it as it was: copy first"
                )


def _why(g: Array, x: Array) -> str:
    """A guess at why a gradient has another shape than its input."""
    if g.ndim > x.ndim or any(n != m and m == 1 for n, m in zip(g.shape[::-1], x.shape[::-1], strict=False)):
        return ": sum over the axes along which the input was broadcast"
    return ": reshape it" if g.size == x.size else ""


def _same(a: Array, b: Array) -> bool:
    """Equal, NaNs too; they are looked at only where plain equality fails, for that is rare and costs more."""
    if a.shape != b.shape:
        return False
    return bool((a == b).all()) or (a.dtype.kind in "fc" and np.array_equal(a, b, equal_nan=True))
