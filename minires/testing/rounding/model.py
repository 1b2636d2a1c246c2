"""What rounding may do to a number: the standard model, and the four numbers that `Rounded` keeps for each element.

In a precision with unit round-off u (2⁻²⁴ for float32), an operation on floats gives

    fl(a ∘ b) = (a ∘ b) · (1 + δ) + η,    |δ| ≤ u,                                (1)

where η is 0 unless the result underflows: then it is at most the smallest normal number, as a GPU may flush to
zero what is smaller. A sum of n numbers, **in whatever order** and whatever is added up where, errs by at most

    γ_{n−1} · Σ |terms|,    γ_n = n·u / (1 − n·u),                                (2)

so a sum is not charged when it is made but when it is used: until then it is carried as terms, and sums of sums
are one sum. That is what makes one bound hold for the reference, for blocks, for threads and for a GPU. A sum of
two numbers has one order only, so there (1) holds, which is far better where they cancel.

The values beside which all this is meant are computed in float64, so they err by (1) themselves, with the u of
float64: `Precision.unit` is the sum of both. What is computed here with bounds is rounded too, by a few units of
float64 each time: `_SLACK` makes up for it.

Source: Higham 2002, Accuracy and Stability of Numerical Algorithms, chapters 2 to 4.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minires.device import Array

_SLACK = 1 + 2.0**-49  # a bound is computed in at most 16 roundings from those before it


class Precision(NamedTuple):
    """What is known of a float dtype: u beside float64's, the smallest normal and the largest number."""

    dtype: np.dtype[Any]
    unit: float
    smallest: float
    largest: float

    @classmethod
    def of(cls, dtype: Any) -> Precision:
        """That of ``dtype``.

        Raises
        ------
        ValueError : (by NumPy) if it is not a float dtype.
        """
        info = np.finfo(dtype)
        return cls(np.dtype(dtype), float(info.eps) / 2 + 2.0**-53, float(info.tiny), float(info.max))

    def gamma(self, n: Any) -> Any:
        """γ_n of (2), infinite where it is undefined; for n ≤ 0 it is 0."""
        nu = np.maximum(n, 0) * self.unit
        return np.where(nu < 1, nu / np.maximum(1 - nu, self.unit), np.inf)

    def representation(self, value: Array) -> Array:
        """How far each constant is from the float that a kernel may put in its place (or it keeps the constant)."""
        with np.errstate(all="ignore"):
            error: Array = np.abs(value.astype(self.dtype).astype(np.float64) - value)
        return np.where(np.isfinite(value), error, 0.0)


class Parts(NamedTuple):
    """An array of sums: their values, the error of their terms so far, Σ |terms|, and how many are not zero.

    ``error`` and ``size`` belong to the terms as a kernel has them; adding them up is not charged yet.
    """

    value: Array
    error: Array
    size: Array
    terms: Array


def single(value: Array, error: Any) -> Parts:
    """Numbers that are sums of one term: themselves, wrong by ``error`` at most."""
    error = np.broadcast_to(np.asarray(error, np.float64), value.shape)
    with np.errstate(all="ignore"):
        size = np.abs(value) + error
    return Parts(value, error, size, (size != 0).astype(np.float64))


def bound(x: Parts, precision: Precision) -> Array:
    """How far the sums may be from their values once they are added up; infinite where nothing is known."""
    with np.errstate(all="ignore"):
        pair = precision.unit * (np.abs(x.value) + x.error)
        many = precision.gamma(x.terms - 1) * x.size
        adding = np.where(x.terms == 2, pair, many) + (x.terms - 1) * precision.smallest  # the last for underflow
        total = np.where(x.terms > 1, (x.error + adding) * _SLACK, x.error)
        total = np.where((x.terms > 1) & (x.size > precision.largest), np.inf, total)
        return np.where(np.isnan(total) | (np.isinf(x.value) & (x.error != 0)), np.inf, total)


def charged(value: Array, inherited: Any, roundings: Any, precision: Precision) -> Parts:
    """The result of an operation: ``inherited`` is what its operands' errors make of it, exactly computed.

    ``roundings`` are charged on top, and a flush to zero where the result may be so small.
    """
    with np.errstate(all="ignore"):
        size = np.abs(value) + inherited
        error = inherited + precision.gamma(roundings) * size
        tiny = (np.abs(value) - inherited < precision.smallest) & (size != 0)
        error = (error + np.where(tiny, precision.smallest, 0.0)) * _SLACK
        error = np.where(np.isnan(error) | (np.isfinite(value) & (size > precision.largest)), np.inf, error)
    return single(value, error)


def slack(terms: int) -> float:
    """By how much a sum of so many bounds, added up in float64, may be too small."""
    return 1 + (terms + 16) * 2.0**-52


def constants(value: Array, precision: Precision, floating: bool = True) -> Parts:
    """Numbers that a kernel knows rather than computes: exact, or rounded where they enter its ``floating`` sums."""
    value = np.asarray(value)
    if value.dtype.kind == "b" or not floating:
        return single(value, 0.0)
    return single(value, precision.representation(value.astype(np.float64)))
