"""`check_complex_step`: compare a gradient with derivatives from complex evaluations, a second oracle.

For an analytic function, x + i·h·d with h = 10⁻²⁰ gives

    Im f(x + i·h·d) / h  =  f′(x) d − h² f‴(x) d³ / 6 + …

Nothing is subtracted, and the second term is far below rounding. One evaluation is accurate to the last digits, and it
crosses no kink, because the real part stays where it is. The function must not use abs, conj or real, and may only
branch on the real part.

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
from minires.testing.calling.arguments import as_arrays, seed_of
from minires.testing.calling.pair import Gradients, Pair
from minires.testing.differences.bisection import index_of, most_wrong, part_of
from minires.testing.differences.cancellation import cancelled
from minires.testing.differences.compare import RESOLVED, Comparison, exact_dot, exact_sum, products_of
from minires.testing.differences.directions import USUAL, direction, signed
from minires.testing.differences.noise import EPS, TINY, largest
from minires.testing.report import (
    DISAGREEMENT,
    NOT_FINITE,
    RESOLUTION,
    GradientError,
    GradientReport,
    Inconclusive,
    InputReport,
    errors_end_here,
    inconclusive,
    not_finite,
)
from minires.testing.reproduce.snippet import of_complex_step

__tracebackhide__ = True  # pytest goes from the caller's line to the caller's function
STEP = 1e-20
_NEAR = 2.0**-40  # the relative move of neighbours; float32 would not notice it
_FARTHEST = 2.0**30  # an element moves by at most this many times its own size: i·h·d must vanish beside it
_FEW, _MANY = 2, 32  # neighbours; many if with few the gradient looks wrong
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

    This is much cheaper than `check_vjp`, and as sharp as rounding permits. Of the contract of ``vjp``, it only checks
    shapes, dtypes and that inputs are not modified.

    Parameters
    ----------
    function, vjp, has_cache, argnums : as for `check_vjp`; function must accept complex128 instead of float64
    arrays : the point; float64 where a gradient is checked, integers are passed through
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
    pair.need_float64()
    with np.errstate(all="ignore"):
        check = _ComplexStep(pair, np.random.default_rng(seed))
        inputs = tuple(check.check_input(argument) for argument in pair.varied)
    return GradientReport(inputs, pair.evaluations, pair.gradients, seed, method="a complex step")


class _Neighbour(NamedTuple):
    """A point nearby: an error of the gradient is the same there, but every rounding differs."""

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
        self.used = self.gy != 0
        self.gradients = pair.gradient(self.gy)
        self.neighbours: list[_Neighbour] = []
        self._visit(_FEW)

    def _visit(self, count: int) -> None:
        """Compute the gradients at more neighbours, until there are ``count``."""
        for _ in range(count - len(self.neighbours)):
            arrays = self.pair.beside(self._nudge)
            gy = self._nudge(self.gy)
            self.neighbours.append(_Neighbour(arrays, gy, self.pair.gradient(gy, arrays)))

    def _nudge(self, x: Array) -> Array:
        return np.asarray(x * (1 + _NEAR * signed(x.shape, self.rng)))

    def check_input(self, argument: int) -> InputReport:
        """Check one input along the usual directions."""
        x, label = self.pair.arrays[argument], self.pair.labels[argument]
        if not x.size or not self.base.size:
            return self.pair.report(argument, 0, 0.0)
        left_out = self._left_out(argument)
        if not self.gy.any() or left_out.all():
            raise inconclusive(label, NOT_FINITE, self.base.size)
        resolutions = []
        for kind in USUAL:
            d = direction(kind, x, self.rng)
            if d is None or left_out[d != 0].all():
                continue
            d[left_out] = 0
            reach = np.where(x == 0, np.inf, _FARTHEST * np.abs(x))
            d = np.clip(d, -reach, reach)
            compared = self._compare(argument, d)
            if not compared.agrees:  # few neighbours may by chance show little rounding
                self._visit(_MANY)
                compared = self._compare(argument, d)
            if not compared.agrees:
                if not math.isfinite(compared.claimed - compared.numerical):
                    raise inconclusive(label, NOT_FINITE, self.base.size)
                self._report(argument, d)
            resolutions.append(compared.resolution)
        if min(resolutions) > RESOLVED:
            raise inconclusive(label, RESOLUTION, self.base.size, best_resolution=min(resolutions))
        causes = {} if self.used.all() else {NOT_FINITE: int(np.sum(~self.used))}
        return self.pair.report(argument, len(resolutions), min(resolutions), causes, left_out)

    def _left_out(self, argument: int) -> Array:
        """Return the mask of elements whose gradient is not finite; raise GradientError if it should be finite.

        It need not be finite where the outputs that the element moves are not finite or are infinitely steep. An
        output is infinitely steep if its slope grows as the step shrinks.
        """
        g, x = self.gradients[argument], self.pair.arrays[argument]
        if g is None:
            return np.zeros(x.shape, bool)
        drawn = direction("array", x, self.rng)
        assert drawn is not None
        for flat in np.flatnonzero(~np.isfinite(g))[:_INFINITE]:
            index = index_of(int(flat), g)
            d = part_of(drawn, np.array([flat]))
            slopes, finer = (np.abs(self._derivative(argument, d, step=step)) for step in (STEP, STEP / 2**20))
            steep = finer > 2 * slopes
            if np.isfinite(self.base).all() and (np.isnan(g[index]) or not steep.any()):
                raise not_finite(self.pair.labels[argument], index, g[index], "all outputs are finite")
            if (~steep & (slopes > 0)).any():
                raise not_finite(self.pair.labels[argument], index, g[index], "the function's slope is finite")
        return np.asarray(~np.isfinite(g))

    def _compare(self, argument: int, d: Array) -> Comparison:
        """Compare claimed and numerical along d. Neighbours measure the rounding of their difference."""
        products, terms = products_of(d, self.gradients[argument]), self.gy * self._derivative(argument, d)
        claimed, numerical = exact_sum(products), exact_sum(terms)
        rounding, bar = (16 * EPS * exact_sum(np.abs(side)) for side in (products, terms))
        differences = [self._difference(argument, self._nudge(d), neighbour) for neighbour in self.neighbours]
        rounding += 4 * (max(differences) - min(differences)) + exact_sum(np.abs(self.gy)) * TINY / STEP
        if not abs(claimed - numerical) <= bar + rounding and self.gradients[argument] is not None:
            rounding += self._cancelled(argument, d)
        size = max(float(np.linalg.norm(products)), float(np.linalg.norm(terms)))
        resolution = (bar + rounding) / size if size else 0.0
        return Comparison(self.gy, claimed, numerical, bar, rounding, resolution)

    def _difference(self, argument: int, d: Array, at: _Neighbour) -> float:
        """Return claimed minus numerical at a neighbour."""
        terms = at.gy * self._derivative(argument, d, at.arrays)
        return exact_sum(products_of(d, at.gradients[argument])) - exact_sum(terms)

    def _cancelled(self, argument: int, d: Array) -> float:
        """Return the rounding of vjp that only larger moves show."""

        def gradient(move: Array) -> Array:
            try:
                found = self.pair.gradient(self.gy, self.pair.moved(argument, move))[argument]
            except MiniresError:
                raise
            except Exception:  # outside its domain
                found = None
            return np.full(d.shape, np.nan) if found is None else found

        return cancelled(gradient, self.pair.arrays[argument], d, self.gy, self.base)

    def _derivative(self, argument: int, d: Array, arrays: Sequence[Array] | None = None, step: float = STEP) -> Array:
        """Return f′ d of every output, at the point itself or at other ``arrays``; 0 where gy is 0."""
        values = self.pair.evaluate_complex(argument, step * d, self.pair.arrays if arrays is None else arrays)
        if arrays is None:
            drift = np.abs(values.real - self.base)[self.used]
            if not (drift <= 1e-6 * largest(self.base[self.used]) + STEP).all():  # a constant 0 may become h²
                raise Inconclusive(
                    "function gives other values for complex arguments with the same real part", RESOLUTION
                )
        return np.where(self.used, values.imag / step, 0.0)

    def _report(self, argument: int, d: Array) -> None:
        """Bisect d down to the element that shows the error, if one does, then raise GradientError."""
        compared = self._compare(argument, d)
        self._must_be_analytic(argument, d, compared)
        flat = most_wrong(d, lambda part: self._error(argument, part))
        index: tuple[int, ...] | None = index_of(flat, d)
        along = part_of(d, np.array([flat]))
        scale = float(d.reshape(-1)[flat])
        alone = self._compare(argument, along)
        if alone.agrees:
            index, scale, along, alone = None, 1.0, d, compared
        hint = "" if index else "the error is spread over many elements"
        finding = alone.as_finding(self.pair, argument, STEP, index, scale, hint=hint, oracle="complex step")
        snippet = of_complex_step(self.pair, finding, along / scale, self.gy)
        finding = dataclasses.replace(finding, snippet=snippet)
        raise GradientError(str(finding), finding)

    def _must_be_analytic(self, argument: int, d: Array, compared: Comparison) -> None:
        """Raise Inconclusive if a plain difference agrees with vjp: then the complex step is wrong."""
        h = 2.0**-20
        plus, minus = (self.pair.evaluate(self.pair.moved(argument, t * d)) for t in (h, -h))
        plain = exact_dot(self.gy[self.used], (plus - minus)[self.used]) / (2 * h)
        blur = EPS * exact_sum(np.abs(self.gy * self.base)[self.used]) / h  # how far a plain difference may be off
        gap, nearer = abs(compared.claimed - compared.numerical), abs(plain - compared.claimed)
        if gap > 8 * blur and nearer < abs(plain - compared.numerical) / 8:
            raise Inconclusive(
                f"a complex step gives {compared.numerical:.6g}, vjp {compared.claimed:.6g} and a plain difference "
                f"{plain:.6g}: the function is not analytic (abs, conj or real inside it?), use check_vjp",
                DISAGREEMENT,
            )

    def _error(self, argument: int, d: Array) -> float:
        products, slopes = products_of(d, self.gradients[argument]), self._derivative(argument, d)
        return abs(exact_sum(products) - exact_dot(self.gy, slopes))
