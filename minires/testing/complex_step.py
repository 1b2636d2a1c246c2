"""`check_complex_step`: a second oracle for functions that can be evaluated at complex numbers.

For a function that is analytic, x + i·h·d with h = 10⁻²⁰ gives

    Im f(x + i·h·d) / h  =  f′(x) d − h² f‴(x) d³ / 6 + …

where nothing is subtracted and the second term is far below rounding: one evaluation, accurate to the last
digits, and no kink is crossed, because the real part stays where it is. What it asks of a function: no abs,
conj or real, no branch but on the real part.

Source: Squire & Trapp 1998, SIAM Review 40(1), 110–112, doi:10.1137/S003614459631241X.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minires.device import Array
from minires.errors import DtypeError
from minires.testing.arguments import as_arrays, seed_of
from minires.testing.bisection import index_of, most_wrong, part_of
from minires.testing.cancellation import cancelled
from minires.testing.compare import RESOLVED, exact_dot, exact_sum
from minires.testing.directions import USUAL, beside, direction, move_by_ulps, signed
from minires.testing.noise import EPS
from minires.testing.pair import Gradients, Pair, need_float64
from minires.testing.report import (
    DISAGREEMENT,
    NOT_FINITE,
    RESOLUTION,
    Finding,
    GradientError,
    GradientReport,
    Inconclusive,
    InputReport,
    errors_end_here,
    inconclusive,
)
from minires.testing.snippet import of_complex_step

__tracebackhide__ = True  # pytest goes from the caller's line to the caller's function
STEP = 1e-20
_REPEATS, _IN_DOUBT = 2, 32  # evaluations at points an ulp or two away


@errors_end_here
def check_complex_step(
    function: Callable[..., Any],
    vjp: Callable[..., Any],
    *arrays: Any,
    rng: int | np.random.Generator | None = None,
    has_cache: bool = False,
    argnums: int | Sequence[int] | None = None,
) -> GradientReport:
    """Prove the gradient of an analytic function by complex evaluations, three for each input and direction.

        | ⟨vjp(gy, x), d⟩ − ⟨gy, Im function(x + i·h·d) / h⟩ |  ≤  the measured rounding of both sides

    Much cheaper than `check_vjp` and as sharp as rounding permits; it does not look at the contract of ``vjp``
    beyond shapes, dtypes and inputs left as they were.

    Parameters
    ----------
    function, vjp, has_cache, argnums : as for `check_vjp`; function must accept complex128 in the place of float64
    arrays : the point; float64 where a gradient is checked, integers are handed through
    rng : seed or generator for directions and gy; None is seed 0

    Returns
    -------
    GradientReport

    Raises
    ------
    GradientError : the gradient is wrong; the text says where and by how much.
    Inconclusive : the function drops imaginary parts, refuses complex numbers, or is not finite here.
    DtypeError : an input or output is not float64.
    """
    seed = seed_of(rng)
    pair = Pair(function, vjp, as_arrays(arrays), has_cache=has_cache, argnums=argnums)
    need_float64(pair)
    with np.errstate(all="ignore"):
        check = _ComplexStep(pair, np.random.default_rng(seed))
        inputs = tuple(check.input(number) for number in pair.varied)
    return GradientReport(inputs, pair.evaluations, pair.gradients, seed, method="a complex step")


class _ComplexStep:
    def __init__(self, pair: Pair, rng: np.random.Generator) -> None:
        self.pair, self.rng = pair, rng
        self.base = pair.evaluate()
        if pair.output_dtypes != {np.dtype("float64")}:
            raise DtypeError("function must return float64 for float64 inputs: cast its results")
        self.gy = np.where(np.isfinite(self.base), signed(self.base.size, rng), 0.0)
        self.gradients = pair.gradient(self.gy)
        self.moved: list[Gradients] = []
        self._move(_REPEATS)

    def _move(self, repeats: int) -> None:
        """Gradients at so many points in all, an ulp or two away: they show what rounding does to one."""
        for _ in range(repeats - len(self.moved)):
            arrays = beside(self.pair.arrays, self.gradients, self.rng)
            self.moved.append(self.pair.gradient(move_by_ulps(self.gy, self.rng), arrays))

    def input(self, number: int) -> InputReport:
        """Check one input along the usual directions."""
        x = self.pair.arrays[number]
        if not x.size or not self.base.size:
            return InputReport(number, x.shape, 0, 0.0)
        if not self.gy.any():
            raise inconclusive(number, NOT_FINITE, self.base.size)
        resolutions = []
        for kind in USUAL:
            d = direction(kind, x, self.rng)
            if d is not None:
                claimed, numerical, bar, rounding, size = self._compare(number, d)
                if not abs(claimed - numerical) <= bar + rounding:  # few moves may by chance show little rounding
                    self._move(_IN_DOUBT)
                    claimed, numerical, bar, rounding, size = self._compare(number, d)
                if not abs(claimed - numerical) <= bar + rounding:
                    self._report(number, d)
                resolutions.append((bar + rounding) / size if size else 0.0)
        if min(resolutions) > RESOLVED:
            raise inconclusive(number, RESOLUTION, self.base.size, best_resolution=min(resolutions))
        causes = {NOT_FINITE: int(np.sum(self.gy == 0))} if (self.gy == 0).any() else {}
        return InputReport(number, x.shape, len(resolutions), min(resolutions), causes)

    def _compare(self, number: int, d: Array) -> tuple[float, float, float, float, float]:
        """(claimed, numerical, rounding of the numerical side, of the claimed side, size) along d."""
        products = _products(self.gradients[number], d)
        terms = self.gy * self._derivative(number, d, self.pair.arrays)
        claimed, numerical = exact_sum(products), exact_sum(terms)
        rounding, bar = (16 * EPS * exact_sum(np.abs(side)) for side in (products, terms))
        rounding += 4 * max(abs(exact_sum(_products(g[number], d)) - claimed) for g in self.moved)
        moves = []
        for _ in self.moved:
            arrays = beside(self.pair.arrays, self.gradients, self.rng)
            slopes = self._derivative(number, move_by_ulps(d, self.rng), arrays)
            moves.append(abs(exact_dot(self.gy, slopes) - numerical))
        bar += 4 * max(moves)
        difference = abs(claimed - numerical)
        if not difference <= bar + rounding and self.gradients[number] is not None:
            rounding += self._cancelled(number, d)
        size = max(float(np.linalg.norm(products)), float(np.linalg.norm(terms)))
        return claimed, numerical, bar, rounding, size

    def _cancelled(self, number: int, d: Array) -> float:
        """The rounding of vjp that only larger moves show."""

        def gradient(move: Array) -> Array:
            arrays = [x + move if n == number else x for n, x in enumerate(self.pair.arrays)]
            found = self.pair.gradient(self.gy, arrays)[number]
            return np.full(d.shape, np.nan) if found is None else found

        return cancelled(gradient, self.pair.arrays[number], d, self.gy, self.base)

    def _derivative(self, number: int, d: Array, arrays: Sequence[Array]) -> Array:
        """f′(x) d of every output."""
        values = self.pair.evaluate_complex(number, STEP * d, arrays)
        used = self.gy != 0
        drift = np.abs(values.real - self.base)[used]
        if not (drift <= 1e-6 * np.max(np.abs(self.base[used])) + STEP).all():  # a constant 0 may become h²
            raise Inconclusive("function gives other values for complex arguments with the same real part", RESOLUTION)
        return np.where(used, values.imag / STEP, 0.0)

    def _report(self, number: int, d: Array) -> None:
        """Bisect d down to the element that shows the error, if one does, then raise."""
        self._must_be_analytic(number, d)
        place = most_wrong(d, lambda part: self._error(number, part))
        single = part_of(d, np.array([place]))
        claimed, numerical, bar, rounding, _ = self._compare(number, single)
        index: tuple[int, ...] | None = index_of(place, d)
        scale = float(d.reshape(-1)[place])
        if abs(claimed - numerical) <= bar + rounding:
            index, scale = None, 1.0
            claimed, numerical, bar, rounding, _ = self._compare(number, d)
        hint = "" if index else "the error is spread over many elements"
        numbers = (claimed / scale, numerical / scale, bar / abs(scale), rounding / abs(scale))
        finding = Finding(number, index, *numbers, step=STEP, hint=hint, oracle="complex step")
        along = d if index is None else single / scale
        finding = dataclasses.replace(finding, snippet=of_complex_step(self.pair, finding, along, self.gy))
        raise GradientError(str(finding), finding)

    def _must_be_analytic(self, number: int, d: Array) -> None:
        """Raise Inconclusive if a plain difference takes the side of vjp: then it is the complex step that errs."""
        claimed, numerical, *_ = self._compare(number, d)
        h = 2.0**-20
        sides = ([x + t * d if n == number else x for n, x in enumerate(self.pair.arrays)] for t in (h, -h))
        plus, minus = (self.pair.evaluate(arrays) for arrays in sides)
        used = self.gy != 0
        plain = exact_dot(self.gy[used], (plus - minus)[used]) / (2 * h)
        if abs(plain - claimed) < abs(plain - numerical) / 8:
            raise Inconclusive(
                f"a complex step gives {numerical:.6g}, vjp {claimed:.6g} and a plain difference {plain:.6g}: the "
                "function is not analytic (abs, conj or real inside it?), use check_vjp",
                DISAGREEMENT,
            )

    def _error(self, number: int, d: Array) -> float:
        slopes = self._derivative(number, d, self.pair.arrays)
        return abs(exact_sum(_products(self.gradients[number], d)) - exact_dot(self.gy, slopes))


def _products(gradient: Array | None, d: Array) -> Array:
    return np.zeros(1) if gradient is None else gradient * d
