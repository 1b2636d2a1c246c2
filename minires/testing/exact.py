"""`check_exact`: prove gradients of linear, bilinear and piecewise linear maps with integers and ``==``.

A map that only multiplies and adds small integers makes no rounding error. Then for a map A

    ⟨v, A u⟩ = ⟨Aᵀ v, u⟩      and      (f(x + h u) − f(x − h u)) / 2h = f′(x) u      (f at most quadratic)

hold to the last bit, in float32 too, on any device and in any order of summation. h is a power of two.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from minires.device import Array
from minires.errors import DtypeError
from minires.testing.calling.arguments import as_arrays, seed_of
from minires.testing.calling.pair import Gradients, Pair
from minires.testing.differences.bisection import index_of, part_of
from minires.testing.layouts import copy_in_order
from minires.testing.report import (
    KINK,
    RESOLUTION,
    Finding,
    GradientError,
    GradientReport,
    Inconclusive,
    errors_end_here,
    not_finite,
)
from minires.testing.reproduce.snippet import of_integers

__tracebackhide__ = True  # pytest goes from the caller's line to the caller's function
_STEPS = [2.0**-k for k in range(13)]
_MAGNITUDES = (511, 63, 7, 1)
_ROUNDING = Fraction(1, 2**16)  # of the sum of absolute terms: more than float32 rounds, less than a mistake


@errors_end_here
def check_exact(
    function: Callable[..., Any],
    vjp: Callable[..., Any],
    *arrays: Any,
    rng: int | np.random.Generator | None = None,
    draws: int = 4,
    has_cache: bool = False,
    argnums: int | Sequence[int] | None = None,
) -> GradientReport:
    """Prove the gradient of a map that is (multi)linear, quadratic or piecewise so, with zero tolerance.

        ⟨vjp(v), u⟩ == ⟨v, (f(x + h u) − f(x − h u)) / 2h⟩

    for random integers u and v, where u moves each input alone, and then all inputs together. The step h is the first
    of 1, ½, ¼, … that crosses no kink. Then the differences for h and h / 2 are equal, bit for bit.

    Parameters
    ----------
    function, vjp, has_cache, argnums : as for `check_vjp`; float32 and float64 inputs and outputs
    arrays : float arrays of small integers (or halves, quarters, …); integer arrays are not varied
    rng : seed or generator; None is seed 0
    draws : how many pairs u and v to draw; in one pair, two errors of ±1 cancel with a probability of about 1/1000

    Returns
    -------
    GradientReport, with resolution 0

    Raises
    ------
    GradientError : the gradient is wrong; the text says where and by how much.
    Inconclusive : the arithmetic is not exact here (numbers too large or not dyadic), the point lies on a kink,
        or the map is of higher degree than two.
    DtypeError : an input is neither float32 nor float64.
    ValueError : ``draws`` is less than 1.
    """
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws!r}: nothing would be checked")
    seed = seed_of(rng)
    generator = np.random.default_rng(seed)
    pair = Pair(function, vjp, as_arrays(arrays, function), has_cache=has_cache, argnums=argnums)
    for argument in pair.checked:
        dtype = pair.arrays[argument].dtype
        if dtype.kind in "fc" and dtype not in (np.dtype("float32"), np.dtype("float64")):
            raise DtypeError(f"{pair.labels[argument]} is {dtype}, expected float32 or float64: cast it")
    exact = _Exact(pair, generator)
    together = [pair.varied] if len(pair.varied) > 1 else []
    for _ in range(draws):
        for arguments in [[argument] for argument in pair.varied] + together:
            exact.prove(arguments)
    inputs = tuple(pair.report(argument, draws * bool(exact.base.size), 0.0) for argument in pair.varied)
    return GradientReport(inputs, pair.evaluations, pair.gradients, seed, method="exact integer differences")


class _Inexact(Exception):
    """Rounding took place, or might have: smaller integers may help."""


class _Difference(NamedTuple):
    values: Array  # (f(x + h u) − f(x − h u)) / 2h, exact
    step: float


_Moves = dict[int, Array]  # argument -> u


class _Exact:
    def __init__(self, pair: Pair, rng: np.random.Generator) -> None:
        self.pair, self.rng = pair, rng
        self.base = pair.evaluate()
        self.digits = 24 if np.dtype("float32") in {*pair.output_dtypes, *(a.dtype for a in pair.arrays)} else 53

    def prove(self, arguments: list[int]) -> None:
        """Compare for one random v and one random u on these arguments, with the largest integers that stay exact."""
        for magnitude in _MAGNITUDES:
            try:
                self._prove(arguments, magnitude)
                return
            except _Inexact as error:
                reason = str(error)
            except Inconclusive as error:  # large steps cross kinks that small ones do not reach
                if error.cause != KINK or magnitude == _MAGNITUDES[-1]:
                    raise
        raise Inconclusive(f"the arithmetic is not exact here: {reason}; use smaller integers", RESOLUTION)

    def _prove(self, arguments: list[int], magnitude: int) -> None:
        u = {n: self._integers(self.pair.arrays[n].shape, magnitude) for n in arguments}
        v = self._integers(self.base.shape, magnitude)
        gradients = self.pair.gradient(v)
        self._must_be_finite(gradients)
        rounded = self._why_rounded([gradients[n] for n in arguments])
        difference = self._difference(u)
        slack = Fraction(0)
        if rounded is not None:
            sizes = [None if g is None else np.abs(g) for g in gradients]
            slack = _claimed(sizes, {n: np.abs(moves) for n, moves in u.items()}) * _ROUNDING
        if abs(_claimed(gradients, u) - _dot(v, difference.values)) > slack:
            self._report(u, v, gradients, difference, slack)
        if rounded is not None:
            raise rounded

    def _must_be_finite(self, gradients: Gradients) -> None:
        for argument, g in enumerate(gradients):
            if g is not None and not np.isfinite(g).all() and np.isfinite(self.base).all():
                index = index_of(int(np.flatnonzero(~np.isfinite(g))[0]), g)
                raise not_finite(self.pair.labels[argument], index, g[index], "all outputs are finite")

    def _why_rounded(self, gradients: Gradients) -> _Inexact | None:
        """Return the error for rounding in a gradient. A larger difference is still wrong, but none is proved right."""
        try:
            for g in gradients:
                if g is not None:
                    self._must_be_exact(g, "the gradient")
        except _Inexact as error:
            return error
        return None

    def _difference(self, u: _Moves) -> _Difference:
        """Return the central difference at the first step that crosses no kink."""
        narrow, narrow_bend = self._at(u, _STEPS[0])
        for step in _STEPS:
            wide, wide_bend = narrow, narrow_bend
            narrow, narrow_bend = self._at(u, step / 2)
            if np.array_equal(wide, narrow) and np.array_equal(wide_bend, 4 * narrow_bend):
                return _Difference(wide, step)
        raise Inconclusive(
            f"the function is not quadratic at any step down to {_STEPS[-1]:.3g}: this point is on a kink, or the "
            "function is of higher degree; choose a point off the kinks, or use check_vjp",
            KINK,
        )

    def _at(self, u: _Moves, step: float) -> tuple[Array, Array]:
        """Return (f(x + h u) − f(x − h u)) / 2h and f(x + h u) + f(x − h u) − 2 f(x)."""
        plus, minus = (self.pair.evaluate(self._moved(u, sign * step)) for sign in (1, -1))
        for values in (plus, minus):
            self._must_be_exact(values, "the output")
        plus, minus = plus.astype(np.float64), minus.astype(np.float64)
        return (plus - minus) / (2 * step), plus + minus - 2 * self.base.astype(np.float64)

    def _moved(self, u: _Moves, step: float) -> list[Array]:
        moved = list(self.pair.arrays)
        for argument in u:
            x = moved[argument]
            moved[argument] = copy_in_order(x)
            moved[argument] += (step * u[argument]).astype(x.dtype)
            self._must_be_exact(moved[argument], f"x ± {step:.3g} u of {self.pair.labels[argument]}")
        return moved

    def _report(self, u: _Moves, v: Array, gradients: Gradients, found: _Difference, slack: Fraction) -> None:
        """Bisect u down to one element, then raise GradientError; differences up to ``slack`` are rounding."""
        parts = [(n, flat) for n in u for flat in np.flatnonzero(u[n]).tolist()]
        claimed, numerical = _claimed(gradients, u), _dot(v, found.values)
        while len(parts) > 1:
            half = len(parts) // 2
            for chosen in (parts[:half], parts[half:]):
                some = {n: part_of(u[n], np.array([flat for m, flat in chosen if m == n], int)) for n in u}
                found = self._difference(some)
                claimed, numerical = _claimed(gradients, some), _dot(v, found.values)
                if abs(claimed - numerical) > slack / 2:
                    slack /= 2
                    parts = chosen
                    break
            else:
                raise GradientError("vjp is not a linear map's adjoint: the derivative along a sum is not the sum")
        argument, flat = parts[0]
        d = part_of(u[argument], np.array([flat]))
        scale = Fraction(float(d.flat[flat]))
        index, label = index_of(flat, d), self.pair.labels[argument]
        finding = Finding(
            argument, index, float(claimed / scale), float(numerical / scale), 0, 0, found.step, label=label
        )
        finding = dataclasses.replace(finding, snippet=of_integers(self.pair, finding, d, v))
        raise GradientError(str(finding), finding)

    def _integers(self, shape: tuple[int, ...], magnitude: int) -> Array:
        values: Array = self.rng.integers(1, magnitude + 1, shape) * self.rng.choice([-1.0, 1.0], shape)
        return values

    def _must_be_exact(self, values: Array, what: str) -> None:
        """Raise _Inexact unless all values are small multiples of one power of two: then none can have been rounded."""
        if not np.isfinite(values).all():
            raise Inconclusive(f"{what} is not finite", RESOLUTION)
        used = values[values != 0].astype(np.float64)
        if not used.size:
            return
        mantissa, exponent = np.frexp(used)
        whole = (mantissa * 2.0**53).astype(np.int64)
        lowest = int(np.min(exponent - 53 + np.log2(whole & -whole).astype(int)))
        bits = int(np.max(exponent)) - lowest
        if bits > self.digits - 2:
            raise _Inexact(f"{what} needs {bits} of the {self.digits} binary digits")


def _claimed(gradients: Gradients, u: _Moves) -> Fraction:
    """Return the derivative along u that the gradients claim, exactly."""
    pairs = ((gradients[argument], moves) for argument, moves in u.items())
    return sum((_dot(g, moves) for g, moves in pairs if g is not None), Fraction(0))


def _dot(a: Array, b: Array) -> Fraction:
    """Return Σ a b, exactly."""
    pairs = zip(a.ravel().tolist(), b.ravel().tolist(), strict=True)
    return sum((Fraction(x) * Fraction(y) for x, y in pairs if x and y), Fraction(0))
