"""The standard model of rounding, and the four numbers that `Rounded` keeps for each element.

In a precision with unit round-off u (2⁻²⁴ for float32), an operation on floats gives

    fl(a ∘ b) = (a ∘ b) · (1 + δ) + η,    |δ| ≤ u,                                (1)

where η is 0 unless the result underflows: then |η| is at most the smallest normal number, as a GPU may flush smaller
results to zero. A sum of n numbers, added **in any order**, errs by at most

    γ_{n−1} · Σ |terms|,    γ_n = n·u / (1 − n·u).                                (2)

A sum is charged when it is used, not when it is made. Until then it is carried as terms, and a sum of sums is one
sum. So one bound holds for the reference, for blocks, for threads and for a GPU. A sum of two numbers has one order
only, so it is charged by (1), which is much less where they cancel.

The values are computed in float64, so they err by (1) themselves, with the u of float64: `Precision.unit` is the sum
of both. The bounds are computed in float64 too, and each step rounds them a few times: `_SLACK` makes up for it.

Source: Higham 2002, Accuracy and Stability of Numerical Algorithms, chapters 2 to 4.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from minires.device import Array

_SLACK = 1 + 2.0**-49  # a bound is computed in at most 16 roundings from those before it


class Precision(NamedTuple):
    """A float dtype: its u plus that of float64, its smallest normal and its largest number."""

    dtype: np.dtype[Any]
    unit: float
    smallest: float
    largest: float

    @classmethod
    def of(cls, dtype: Any) -> Precision:
        """Return the precision of a dtype.

        Raises
        ------
        ValueError : (by NumPy) if it is not a float dtype.
        """
        info = np.finfo(dtype)
        return cls(np.dtype(dtype), float(info.eps) / 2 + 2.0**-53, float(info.tiny), float(info.max))

    def gamma(self, n: Any) -> Any:
        """Return γ_n of (2), infinite where it is undefined, 0 for n ≤ 0."""
        nu = np.maximum(n, 0) * self.unit
        return np.where(nu < 1, nu / np.maximum(1 - nu, self.unit), np.inf)

    def representation(self, value: Array) -> Array:
        """Return the distance of each constant from its rounded float; a kernel may use either."""
        with np.errstate(all="ignore"):
            error: Array = np.abs(value.astype(self.dtype).astype(np.float64) - value)
        return np.where(np.isfinite(value), error, 0.0)

    def numbers(self, value: Array, error: Any = 0.0) -> Parts:
        """Return numbers, each a sum of one term, wrong by ``error`` at most."""
        error = np.broadcast_to(np.asarray(error, np.float64), value.shape)
        with np.errstate(all="ignore"):
            size = np.abs(value) + error
        return Parts(value, error, size, (size != 0).astype(np.float64), self)

    def constants(self, value: Array, floating: bool = True) -> Parts:
        """Return numbers that a kernel knows: exact, or rounded where they enter its ``floating`` sums."""
        value = np.asarray(value)
        if value.dtype.kind == "b" or not floating:
            return self.numbers(value)
        return self.numbers(value, self.representation(value.astype(np.float64)))


class Parts(NamedTuple):
    """An array of sums: their values, the error of their terms so far, Σ |terms|, and how many terms are not zero.

    ``error`` and ``size`` belong to the terms as a kernel has them; adding them up is not charged yet.
    """

    value: Array
    error: Array
    size: Array
    terms: Array
    precision: Precision

    @property
    def arrays(self) -> tuple[Array, Array, Array, Array]:
        """Value, error, size and terms."""
        return self[:4]

    def each(self, function: Callable[[Array], Any]) -> Parts:
        """Return the same rearrangement of every array."""
        value, error, size, terms = (np.asarray(function(array)) for array in self.arrays)
        return Parts(value, error, size, terms, self.precision)

    @property
    def bound(self) -> Array:
        """How far the sums may be from their values once they are added up; infinite where nothing is known."""
        p = self.precision
        with np.errstate(all="ignore"):
            pair = p.unit * (np.abs(self.value) + self.error)
            many = p.gamma(self.terms - 1) * self.size
            adding = np.where(self.terms == 2, pair, many) + (self.terms - 1) * p.smallest  # the last for underflow
            total = np.where(self.terms > 1, (self.error + adding) * _SLACK, self.error)
            total = np.where((self.terms > 1) & (self.size > p.largest), np.inf, total)
            return np.where(np.isnan(total) | (np.isinf(self.value) & (self.error != 0)), np.inf, total)

    def numbers(self, value: Array, error: Any = 0.0) -> Parts:
        """Return other numbers of the same precision, wrong by ``error`` at most."""
        return self.precision.numbers(value, error)

    def charged(self, value: Array, inherited: Any, roundings: Any) -> Parts:
        """Return the result of an operation in this precision.

        ``inherited`` is the exact effect of the operands' errors. ``roundings`` are charged on top, and a flush to
        zero where the result may be that small.
        """
        p = self.precision
        with np.errstate(all="ignore"):
            size = np.abs(value) + inherited
            error = inherited + p.gamma(roundings) * size
            tiny = (np.abs(value) - inherited < p.smallest) & (size != 0)
            error = (error + np.where(tiny, p.smallest, 0.0)) * _SLACK
            error = np.where(np.isnan(error) | (np.isfinite(value) & (size > p.largest)), np.inf, error)
        return self.numbers(value, error)

    def as_floats(self) -> Parts:
        """Return integers and booleans as floats, which rounds the large ones."""
        return self.numbers(self.value.astype(np.float64), self.precision.constants(self.value).error + self.bound)


def slack(terms: int) -> float:
    """Return the factor by which a float64 sum of so many bounds may be too small."""
    return 1 + (terms + 16) * 2.0**-52
