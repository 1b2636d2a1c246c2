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
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from minires.device import Array
from minires.errors import DtypeError, MiniresError
from minires.testing.differences.bisection import index_of, most_wrong, part_of
from minires.testing.differences.cancellation import cancelled
from minires.testing.differences.compare import RESOLVED, Comparison, exact_dot, exact_sum
from minires.testing.differences.directions import USUAL, direction, signed
from minires.testing.differences.noise import EPS, TINY, largest
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
    not_finite,
)
from minires.testing.reproduce.snippet import of_complex_step
from minires.testing.subject.arguments import as_arrays, seed_of
from minires.testing.subject.pair import Gradients, Pair, need_float64

__tracebackhide__ = True  # pytest goes from the caller's line to the caller's function
STEP = 1e-20
_NEAR = 2.0**-40  # what neighbours are moved by, beside their own size; float32 would not notice
_FARTHEST = 2.0**30  # times its own size, how far an element is moved: i·h·d must be nothing beside it
_FEW, _MANY = 2, 32  # neighbours; many where few make a gradient look wrong
_INFINITE = 64  # elements with infinite gradients that are looked at one by one


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
    pair = Pair(function, vjp, as_arrays(arrays, function), has_cache=has_cache, argnums=argnums)
    need_float64(pair)
    with np.errstate(all="ignore"):
        check = _ComplexStep(pair, np.random.default_rng(seed))
        inputs = tuple(check.input(number) for number in pair.varied)
    return GradientReport(inputs, pair.evaluations, pair.gradients, seed, method="a complex step")


class _Neighbour(NamedTuple):
    """A point too near for an error to change, but far enough for all roundings to come out anew."""

    arrays: list[Array]
    gy: Array
    gradients: Gradients


class _ComplexStep:
    def __init__(self, pair: Pair, rng: np.random.Generator) -> None:
        self.pair, self.rng = pair, rng
        self.base = pair.evaluate()
        if pair.output_dtypes != {np.dtype("float64")}:
            raise DtypeError("function must return float64 for float64 inputs: cast its results")
        gy = signed(self.base.size, rng) * rng.uniform(0.5, 1.0, self.base.size)  # in more digits than float32 has
        self.gy = np.where(np.isfinite(self.base), gy, 0.0)
        self.gradients = pair.gradient(self.gy)
        self.neighbours: list[_Neighbour] = []
        self._meet(_FEW)

    def _meet(self, count: int) -> None:
        """So many neighbours in all."""
        for _ in range(count - len(self.neighbours)):
            arrays = self.pair.beside(self._nudge)
            gy = self._nudge(self.gy)
            self.neighbours.append(_Neighbour(arrays, gy, self.pair.gradient(gy, arrays)))

    def _nudge(self, x: Array) -> Array:
        return np.asarray(x * (1 + _NEAR * signed(x.shape, self.rng)))

    def input(self, number: int) -> InputReport:
        """Check one input along the usual directions."""
        x = self.pair.arrays[number]
        if not x.size or not self.base.size:
            return InputReport(number, x.shape, 0, 0.0, label=self.pair.labels[number])
        left_out = self._left_out(number)
        if not self.gy.any() or left_out.all():
            raise inconclusive(self.pair.labels[number], NOT_FINITE, self.base.size)
        resolutions = []
        for kind in USUAL:
            d = direction(kind, x, self.rng)
            if d is None or left_out[d != 0].all():
                continue
            d[left_out] = 0
            reach = np.where(x == 0, np.inf, _FARTHEST * np.abs(x))
            d = np.clip(d, -reach, reach)
            compared = self._compare(number, d)
            if not compared.agrees:  # few neighbours may by chance show little rounding
                self._meet(_MANY)
                compared = self._compare(number, d)
            if not compared.agrees:
                if not math.isfinite(compared.claimed - compared.numerical):
                    raise inconclusive(self.pair.labels[number], NOT_FINITE, self.base.size)
                self._report(number, d)
            resolutions.append(compared.resolution)
        if min(resolutions) > RESOLVED:
            raise inconclusive(self.pair.labels[number], RESOLUTION, self.base.size, best_resolution=min(resolutions))
        causes = {NOT_FINITE: int(np.sum(self.gy == 0))} if (self.gy == 0).any() else {}
        elements = tuple(tuple(map(int, index)) for index in np.argwhere(left_out))
        return InputReport(
            number, x.shape, len(resolutions), min(resolutions), causes, elements, self.pair.labels[number]
        )

    def _left_out(self, number: int) -> Array:
        """Elements whose gradient is not finite: an error, unless the outputs that they move are not finite either, or
        are infinitely steep: then the slope grows as the step shrinks."""
        g, x = self.gradients[number], self.pair.arrays[number]
        if g is None:
            return np.zeros(x.shape, bool)
        drawn = direction("array", x, self.rng)
        assert drawn is not None
        for place in np.flatnonzero(~np.isfinite(g))[:_INFINITE]:
            index = index_of(int(place), g)
            d = part_of(drawn, np.array([place]))
            slopes, finer = (np.abs(self._derivative(number, d, step=step)) for step in (STEP, STEP / 2**20))
            steep = finer > 2 * slopes
            if np.isfinite(self.base).all() and (np.isnan(g[index]) or not steep.any()):
                raise not_finite(self.pair.labels[number], index, g[index], "all outputs are finite")
            if (~steep & (slopes > 0)).any():
                raise not_finite(self.pair.labels[number], index, g[index], "the function's slope is finite")
        return np.asarray(~np.isfinite(g))

    def _compare(self, number: int, d: Array) -> Comparison:
        """Claimed against numerical along d; the rounding of both is what neighbours show of their difference."""
        products, terms = _products(self.gradients[number], d), self.gy * self._derivative(number, d)
        claimed, numerical = exact_sum(products), exact_sum(terms)
        rounding, bar = (16 * EPS * exact_sum(np.abs(side)) for side in (products, terms))
        differences = [self._difference(number, self._nudge(d), neighbour) for neighbour in self.neighbours]
        rounding += 4 * (max(differences) - min(differences)) + exact_sum(np.abs(self.gy)) * TINY / STEP
        if not abs(claimed - numerical) <= bar + rounding and self.gradients[number] is not None:
            rounding += self._cancelled(number, d)
        size = max(float(np.linalg.norm(products)), float(np.linalg.norm(terms)))
        resolution = (bar + rounding) / size if size else 0.0
        return Comparison(self.gy, claimed, numerical, bar, rounding, resolution)

    def _difference(self, number: int, d: Array, at: _Neighbour) -> float:
        """Claimed minus numerical at a neighbour."""
        terms = at.gy * self._derivative(number, d, at.arrays)
        return exact_sum(_products(at.gradients[number], d)) - exact_sum(terms)

    def _cancelled(self, number: int, d: Array) -> float:
        """The rounding of vjp that only larger moves show."""

        def gradient(move: Array) -> Array:
            arrays = [x + move if n == number else x for n, x in enumerate(self.pair.arrays)]
            try:
                found = self.pair.gradient(self.gy, arrays)[number]
            except MiniresError:
                raise
            except Exception:  # outside its domain
                found = None
            return np.full(d.shape, np.nan) if found is None else found

        return cancelled(gradient, self.pair.arrays[number], d, self.gy, self.base)

    def _derivative(self, number: int, d: Array, arrays: Sequence[Array] | None = None, step: float = STEP) -> Array:
        """f′ d of every output, at the point itself or at other ``arrays``; 0 where gy is."""
        values = self.pair.evaluate_complex(number, step * d, self.pair.arrays if arrays is None else arrays)
        used = self.gy != 0
        if arrays is None:
            drift = np.abs(values.real - self.base)[used]
            if not (drift <= 1e-6 * largest(self.base[used]) + STEP).all():  # a constant 0 may become h²
                raise Inconclusive(
                    "function gives other values for complex arguments with the same real part", RESOLUTION
                )
        return np.where(used, values.imag / step, 0.0)

    def _report(self, number: int, d: Array) -> None:
        """Bisect d down to the element that shows the error, if one does, then raise."""
        compared = self._compare(number, d)
        self._must_be_analytic(number, d, compared)
        place = most_wrong(d, lambda part: self._error(number, part))
        index: tuple[int, ...] | None = index_of(place, d)
        along = part_of(d, np.array([place]))
        scale = float(d.reshape(-1)[place])
        alone = self._compare(number, along)
        if alone.agrees:
            index, scale, along, alone = None, 1.0, d, compared
        finding = Finding(
            number,
            index,
            alone.claimed / scale,
            alone.numerical / scale,
            alone.bar / abs(scale),
            alone.rounding / abs(scale),
            step=STEP,
            hint="" if index else "the error is spread over many elements",
            oracle="complex step",
            label=self.pair.labels[number],
        )
        snippet = of_complex_step(self.pair, finding, along / scale, self.gy)
        finding = dataclasses.replace(finding, snippet=snippet)
        raise GradientError(str(finding), finding)

    def _must_be_analytic(self, number: int, d: Array, compared: Comparison) -> None:
        """Raise Inconclusive if a plain difference takes the side of vjp: then it is the complex step that errs."""
        h = 2.0**-20
        sides = ([x + t * d if n == number else x for n, x in enumerate(self.pair.arrays)] for t in (h, -h))
        plus, minus = (self.pair.evaluate(arrays) for arrays in sides)
        used = self.gy != 0
        plain = exact_dot(self.gy[used], (plus - minus)[used]) / (2 * h)
        blur = EPS * exact_sum(np.abs(self.gy * self.base)[used]) / h  # a plain difference tells no more
        gap, nearer = abs(compared.claimed - compared.numerical), abs(plain - compared.claimed)
        if gap > 8 * blur and nearer < abs(plain - compared.numerical) / 8:
            raise Inconclusive(
                f"a complex step gives {compared.numerical:.6g}, vjp {compared.claimed:.6g} and a plain difference "
                f"{plain:.6g}: the function is not analytic (abs, conj or real inside it?), use check_vjp",
                DISAGREEMENT,
            )

    def _error(self, number: int, d: Array) -> float:
        slopes = self._derivative(number, d)
        return abs(exact_sum(_products(self.gradients[number], d)) - exact_dot(self.gy, slopes))


def _products(gradient: Array | None, d: Array) -> Array:
    return np.zeros(1) if gradient is None else gradient[d != 0] * d[d != 0]
