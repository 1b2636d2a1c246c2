"""What each elementwise function makes of its operands' errors.

Every rule answers two questions: how far f(x̂) can be from f(x) where each x̂ is within its error of x, and how
many roundings computing f adds. Comparisons answer another: whether every x̂ would compare as x does. Where not,
the boolean has the error 1, "true or false", and whatever is multiplied with it or chosen by it gets the union
of both.

Roundings of functions that are not rounded correctly, as the largest of what is documented:

- CUDA C++ Programming Guide, "Mathematical Functions", float: at most 2 units in the last place (ulp) beside the
  correctly rounded result for exp, log, expm1, log1p, tanh, sin, cos; 8 for powf (4 in newer toolkits); division
  and square root correctly rounded, as they are unless compiled for fast arithmetic.
- NumPy: 2.52 ulp for exp and 3.83 for log in float32 (release notes of 1.17); 4 ulp is what it accepts from the
  vector library that computes the others (NEP 38 and the notes of 1.22).

An ulp is at most 2u of the result, and half of one is the rounding itself: k ulps are 2k + 1 roundings. A
quotient is charged twice, so that a kernel may multiply by the reciprocal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from minires.device import Array
from minires.testing.rounding.model import Parts, Precision, bound, charged, single

_ULPS = {np.exp: 4, np.expm1: 4, np.log: 4, np.log1p: 4, np.tanh: 4, np.sin: 4, np.cos: 4, np.power: 8}

Rule = Callable[[list[Parts], Precision], Parts]
RULES: dict[np.ufunc, Rule] = {}


def apply(ufunc: np.ufunc, operands: Sequence[Parts], precision: Precision) -> Parts:
    """The result of an elementwise function, by its rule.

    Raises
    ------
    TypeError : if it has none: then nothing is known of the error.
    """
    if ufunc not in RULES:
        raise TypeError(f"no rule bounds the rounding of np.{ufunc.__name__}: write it with operations that have one")
    with np.errstate(all="ignore"):
        return RULES[ufunc](list(operands), precision)


def _rule(*ufuncs: np.ufunc) -> Callable[[Callable[..., Parts]], Callable[..., Parts]]:
    def register(function: Callable[..., Parts]) -> Callable[..., Parts]:
        for ufunc in ufuncs:
            RULES[ufunc] = lambda operands, precision, ufunc=ufunc: function(ufunc, *operands, precision)  # type: ignore[misc]
        return function

    return register


@_rule(np.add, np.subtract)
def _sum(ufunc: np.ufunc, a: Parts, b: Parts, precision: Precision) -> Parts:
    value = ufunc(a.value, b.value)
    if value.dtype.kind != "f":
        return single(value, bound(a, precision) + bound(b, precision))
    return Parts(value, a.error + b.error, a.size + b.size, a.terms + b.terms)


@_rule(np.multiply)
def _multiply(ufunc: np.ufunc, a: Parts, b: Parts, precision: Precision) -> Parts:
    ea, eb = bound(a, precision), bound(b, precision)
    value = ufunc(a.value, b.value)
    inherited = np.abs(a.value) * eb + np.abs(b.value) * ea + ea * eb
    if value.dtype.kind != "f":
        return single(value, inherited)
    exact = (_is_power(a.value) & (ea == 0)) | (_is_power(b.value) & (eb == 0))
    if precision.dtype != np.float64:  # a product that float64 holds exactly, and the lower precision too
        exact |= (inherited == 0) & (precision.representation(np.asarray(value)) == 0)
    return charged(value, inherited, np.where(exact, 0, 1), precision)


@_rule(np.square)
def _square(ufunc: np.ufunc, a: Parts, precision: Precision) -> Parts:
    return _multiply(np.multiply, a, a, precision)


@_rule(np.divide)
def _divide(ufunc: np.ufunc, a: Parts, b: Parts, precision: Precision) -> Parts:
    ea, eb = bound(a, precision), bound(b, precision)
    value = ufunc(a.value, b.value)
    least = np.abs(b.value) - eb  # of the divisor
    inherited = np.where(least > 0, (ea + np.abs(value) * eb) / least, np.where(eb == 0, 0.0, np.inf))
    inherited = np.where((ea == 0) & (eb == 0), 0.0, inherited)
    return charged(value, inherited, np.where(_is_power(b.value) & (eb == 0), 0, 2), precision)


@_rule(np.reciprocal)
def _reciprocal(ufunc: np.ufunc, a: Parts, precision: Precision) -> Parts:
    return _divide(np.divide, single(np.ones_like(a.value), 0.0), a, precision)


@_rule(np.negative, np.absolute, np.positive, np.conjugate)
def _same_size(ufunc: np.ufunc, a: Parts, precision: Precision) -> Parts:
    value = ufunc(a.value)
    if ufunc is np.absolute or value.dtype.kind != "f":
        return single(value, bound(a, precision))
    return Parts(value, a.error, a.size, a.terms)


@_rule(np.sqrt)
def _sqrt(ufunc: np.ufunc, a: Parts, precision: Precision) -> Parts:
    ea, value = bound(a, precision), ufunc(a.value)
    least = a.value - ea
    inherited = np.where(least >= 0, ea / (value + np.sqrt(np.maximum(least, 0))), np.inf)
    return charged(value, np.where(ea == 0, 0.0, inherited), 1, precision)


@_rule(np.exp, np.expm1)
def _exponential(ufunc: np.ufunc, a: Parts, precision: Precision) -> Parts:
    ea = bound(a, precision)
    return charged(ufunc(a.value), np.exp(a.value) * np.expm1(ea), _roundings(ufunc), precision)


@_rule(np.log, np.log1p)
def _logarithm(ufunc: np.ufunc, a: Parts, precision: Precision) -> Parts:
    ea = bound(a, precision)
    whole = a.value if ufunc is np.log else 1 + a.value
    share = np.where(whole > 0, ea / whole, np.inf)
    inherited = np.where(share < 1, -np.log1p(-share), np.inf)
    return charged(ufunc(a.value), np.where(ea == 0, 0.0, inherited), _roundings(ufunc), precision)


@_rule(np.tanh)
def _tanh(ufunc: np.ufunc, a: Parts, precision: Precision) -> Parts:
    ea = bound(a, precision)
    slope = 1 / np.cosh(np.maximum(np.abs(a.value) - ea, 0)) ** 2  # the largest within reach; 0 where cosh overflows
    value = ufunc(a.value)
    inherited = np.fmin(slope * ea, 2.0)  # of 0 · ∞, too
    return charged(value, np.where(ea == 0, 0.0, inherited), _roundings(ufunc), precision)


@_rule(np.sin, np.cos)
def _wave(ufunc: np.ufunc, a: Parts, precision: Precision) -> Parts:
    inherited = np.minimum(bound(a, precision), 2.0)
    return charged(ufunc(a.value), inherited, _roundings(ufunc), precision)


@_rule(np.power)
def _power(ufunc: np.ufunc, a: Parts, b: Parts, precision: Precision) -> Parts:
    """a ** b is monotone in a and in b where a > 0, and |a| ** b in |a|: the extremes are at the corners."""
    ea, eb = bound(a, precision), bound(b, precision)
    value = ufunc(a.value, b.value)
    least, most = np.abs(a.value) - ea, np.abs(a.value) + ea
    corners = [np.abs(np.power(x, b.value + s * eb) - np.abs(value)) for x in (least, most) for s in (-1, 1)]
    spread = np.maximum.reduce(corners)
    positive = (least > 0) & ((a.value > 0) | (eb == 0))
    through_zero = (b.value > 0) & (eb == 0)  # |x| ≤ most
    inherited = np.where(positive, spread, np.where(through_zero, np.power(most, b.value) + np.abs(value), np.inf))
    return charged(value, np.where((ea == 0) & (eb == 0), 0.0, inherited), _roundings(ufunc), precision)


@_rule(np.maximum, np.minimum)
def _extreme(ufunc: np.ufunc, a: Parts, b: Parts, precision: Precision) -> Parts:
    ea, eb = bound(a, precision), bound(b, precision)
    decided, a_wins = ~_open(a.value, ea, b.value, eb), (a.value > b.value) == (ufunc is np.maximum)
    chosen = np.where(a_wins, ea, eb)
    return single(ufunc(a.value, b.value), np.where(decided & (a.value != b.value), chosen, np.maximum(ea, eb)))


@_rule(np.less, np.less_equal, np.greater, np.greater_equal, np.equal, np.not_equal)
def _compare(ufunc: np.ufunc, a: Parts, b: Parts, precision: Precision) -> Parts:
    value = ufunc(a.value, b.value)
    if a is b:  # the same array, as in x != x
        return single(value, 0.0)
    return single(value, _open(a.value, bound(a, precision), b.value, bound(b, precision)))


@_rule(np.isnan, np.isinf, np.isfinite, np.signbit)
def _classify(ufunc: np.ufunc, a: Parts, precision: Precision) -> Parts:
    ea = bound(a, precision)
    undecided = (ea != 0) & (np.abs(a.value) <= ea) if ufunc is np.signbit else ~np.isfinite(ea)
    return single(ufunc(a.value), undecided)


@_rule(np.sign)
def _sign(ufunc: np.ufunc, a: Parts, precision: Precision) -> Parts:
    ea = bound(a, precision)
    return single(ufunc(a.value), np.where((ea != 0) & (np.abs(a.value) <= ea), 2.0, 0.0))


@_rule(np.logical_not, np.invert)
def _not(ufunc: np.ufunc, a: Parts, precision: Precision) -> Parts:
    _need_boolean(ufunc, a)
    return single(ufunc(a.value), bound(a, precision))


@_rule(np.logical_and, np.logical_or, np.logical_xor, np.bitwise_and, np.bitwise_or, np.bitwise_xor)
def _connect(ufunc: np.ufunc, a: Parts, b: Parts, precision: Precision) -> Parts:
    _need_boolean(ufunc, a, b)
    open_a, open_b = bound(a, precision) != 0, bound(b, precision) != 0
    undecided = open_a | open_b
    if ufunc not in (np.logical_xor, np.bitwise_xor):
        deciding = ufunc in (np.logical_or, np.bitwise_or)  # one operand with this value is enough
        undecided &= ~((a.value == deciding) & ~open_a) & ~((b.value == deciding) & ~open_b)
    return single(ufunc(a.value, b.value), undecided)


def choose(condition: Parts, a: Parts, b: Parts, precision: Precision) -> Parts:
    """``np.where``: the parts of the chosen operand; where the condition is open, the union of both."""
    with np.errstate(all="ignore"):
        undecided, first = bound(condition, precision) != 0, condition.value.astype(bool)
        picked = Parts(*(np.where(first, x, y) for x, y in zip(a, b, strict=True)))
        if not undecided.any():
            return picked
        ea, eb = bound(a, precision), bound(b, precision)
        apart = np.abs(np.subtract(a.value, b.value, dtype=np.float64))
        apart = np.where(np.equal(a.value, b.value), 0.0, apart)
        either = np.where(first, np.maximum(ea, apart + eb), np.maximum(eb, apart + ea))
        union = single(picked.value, np.where(np.isnan(either), np.inf, either))
        return Parts(picked.value, *(np.where(undecided, x, y) for x, y in zip(union[1:], picked[1:], strict=True)))


def _open(a: Array, ea: Array, b: Array, eb: Array) -> Array:
    """Where the operands' errors leave open how a and b compare.

    Rounding is monotone, so what is larger after it (a − ea > b + eb) was larger before.
    """
    apart = (a + ea < b - eb) | (a - ea > b + eb)
    certain: Array = (ea == 0) & (eb == 0)
    return ~(apart | certain)


def _is_power(x: Array) -> Array:
    """Whether multiplying by x is exact: 0, or ± a power of two."""
    fraction, _ = np.frexp(np.asarray(x, np.float64))
    exact: Array = (np.abs(fraction) == 0.5) | (fraction == 0)
    return exact


def _roundings(ufunc: np.ufunc) -> int:
    return 2 * _ULPS[ufunc] + 1


def _need_boolean(ufunc: np.ufunc, *operands: Parts) -> None:
    if any(x.value.dtype.kind != "b" and np.any(x.error) for x in operands):
        raise TypeError(f"no rule bounds np.{ufunc.__name__} of numbers with an error")
