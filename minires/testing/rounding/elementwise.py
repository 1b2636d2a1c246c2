"""The rules for elementwise functions: the error of a result from the errors of its operands.

Every rule answers two questions. How far can f(x̂) be from f(x), if each x̂ is within its error of x? How many
roundings does computing f add? A comparison answers one question: does every x̂ compare as x does? If not, the boolean
has the error 1 ("true or false"), and whatever is multiplied with it or chosen by it gets the union of both.

Some functions are not correctly rounded. Their roundings are the largest that is documented:

- CUDA C++ Programming Guide, "Mathematical Functions", float: at most 2 units in the last place (ulp) from the
  correctly rounded result for exp, log, expm1, log1p, tanh, sin, cos; 8 for powf (4 in newer toolkits). Division and
  square root are correctly rounded, unless compiled for fast arithmetic.
- NumPy: 2.52 ulp for exp and 3.83 for log in float32 (release notes of 1.17); up to 4 ulp for the others, from the
  vector library that computes them (NEP 38 and the notes of 1.22).

An ulp is at most 2u of the result, and half an ulp is the rounding itself: k ulps are 2k + 1 roundings. A quotient is
charged twice, so that a kernel may multiply by the reciprocal.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from minires.device import Array
from minires.testing.rounding.model import Parts

_ULPS = {np.exp: 4, np.expm1: 4, np.log: 4, np.log1p: 4, np.tanh: 4, np.sin: 4, np.cos: 4, np.power: 8}

Rule = Callable[..., Parts]
RULES: dict[np.ufunc, Rule] = {}


def apply(ufunc: np.ufunc, *operands: Parts) -> Parts:
    """Return the result of an elementwise function, by its rule.

    Raises
    ------
    TypeError : if it has no rule.
    """
    if ufunc not in RULES:
        raise TypeError(f"no rule bounds the rounding of np.{ufunc.__name__}: write it with operations that have one")
    with np.errstate(all="ignore"):
        return RULES[ufunc](*operands)


def _rule(*ufuncs: np.ufunc) -> Callable[[Callable[..., Parts]], Callable[..., Parts]]:
    def register(function: Callable[..., Parts]) -> Callable[..., Parts]:
        for ufunc in ufuncs:
            RULES[ufunc] = functools.partial(function, ufunc)
        return function

    return register


@_rule(np.add, np.subtract)
def _sum(ufunc: np.ufunc, a: Parts, b: Parts) -> Parts:
    value = ufunc(a.value, b.value)
    if value.dtype.kind != "f":
        return a.numbers(value, a.bound + b.bound)
    return Parts(value, a.error + b.error, a.size + b.size, a.terms + b.terms, a.precision)


@_rule(np.multiply)
def _multiply(ufunc: np.ufunc, a: Parts, b: Parts) -> Parts:
    ea, eb = a.bound, b.bound
    value = ufunc(a.value, b.value)
    inherited = np.abs(a.value) * eb + np.abs(b.value) * ea + ea * eb
    if value.dtype.kind != "f":
        return a.numbers(value, inherited)
    exact = (_is_power(a.value) & (ea == 0)) | (_is_power(b.value) & (eb == 0))
    if a.precision.dtype != np.float64:  # a product that float64 holds exactly, and the lower precision too
        exact |= (inherited == 0) & (a.precision.representation(np.asarray(value)) == 0)
    return a.charged(value, inherited, np.where(exact, 0, 1))


@_rule(np.square)
def _square(ufunc: np.ufunc, a: Parts) -> Parts:
    return _multiply(np.multiply, a, a)


@_rule(np.divide)
def _divide(ufunc: np.ufunc, a: Parts, b: Parts) -> Parts:
    ea, eb = a.bound, b.bound
    value = ufunc(a.value, b.value)
    least = np.abs(b.value) - eb  # of the divisor
    inherited = np.where(least > 0, (ea + np.abs(value) * eb) / least, np.where(eb == 0, 0.0, np.inf))
    inherited = np.where((ea == 0) & (eb == 0), 0.0, inherited)
    return a.charged(value, inherited, np.where(_is_power(b.value) & (eb == 0), 0, 2))


@_rule(np.reciprocal)
def _reciprocal(ufunc: np.ufunc, a: Parts) -> Parts:
    return _divide(np.divide, a.numbers(np.ones_like(a.value)), a)


@_rule(np.negative, np.absolute, np.positive, np.conjugate)
def _same_size(ufunc: np.ufunc, a: Parts) -> Parts:
    value = ufunc(a.value)
    if ufunc is np.absolute or value.dtype.kind != "f":
        return a.numbers(value, a.bound)
    return a._replace(value=value)


@_rule(np.sqrt)
def _sqrt(ufunc: np.ufunc, a: Parts) -> Parts:
    ea, value = a.bound, ufunc(a.value)
    least = a.value - ea
    inherited = np.where(least >= 0, ea / (value + np.sqrt(np.maximum(least, 0))), np.inf)
    return a.charged(value, np.where(ea == 0, 0.0, inherited), 1)


@_rule(np.exp, np.expm1)
def _exponential(ufunc: np.ufunc, a: Parts) -> Parts:
    ea = a.bound
    return a.charged(ufunc(a.value), np.exp(a.value) * np.expm1(ea), _roundings(ufunc))


@_rule(np.log, np.log1p)
def _logarithm(ufunc: np.ufunc, a: Parts) -> Parts:
    ea = a.bound
    whole = a.value if ufunc is np.log else 1 + a.value
    share = np.where(whole > 0, ea / whole, np.inf)
    inherited = np.where(share < 1, -np.log1p(-share), np.inf)
    return a.charged(ufunc(a.value), np.where(ea == 0, 0.0, inherited), _roundings(ufunc))


@_rule(np.tanh)
def _tanh(ufunc: np.ufunc, a: Parts) -> Parts:
    ea = a.bound
    slope = 1 / np.cosh(np.maximum(np.abs(a.value) - ea, 0)) ** 2  # the largest within reach; 0 where cosh overflows
    value = ufunc(a.value)
    inherited = np.fmin(slope * ea, 2.0)  # of 0 · ∞, too
    return a.charged(value, np.where(ea == 0, 0.0, inherited), _roundings(ufunc))


@_rule(np.sin, np.cos)
def _wave(ufunc: np.ufunc, a: Parts) -> Parts:
    inherited = np.minimum(a.bound, 2.0)
    return a.charged(ufunc(a.value), inherited, _roundings(ufunc))


@_rule(np.power)
def _power(ufunc: np.ufunc, a: Parts, b: Parts) -> Parts:
    # a ** b is monotone in a and in b where a > 0, and |a| ** b in |a|: the extremes are at the corners.
    ea, eb = a.bound, b.bound
    value = ufunc(a.value, b.value)
    least, most = np.abs(a.value) - ea, np.abs(a.value) + ea
    corners = [np.abs(np.power(x, b.value + s * eb) - np.abs(value)) for x in (least, most) for s in (-1, 1)]
    spread = np.maximum.reduce(corners)
    positive = (least > 0) & ((a.value > 0) | (eb == 0))
    through_zero = (b.value > 0) & (eb == 0)  # |x| ≤ most
    inherited = np.where(positive, spread, np.where(through_zero, np.power(most, b.value) + np.abs(value), np.inf))
    return a.charged(value, np.where((ea == 0) & (eb == 0), 0.0, inherited), _roundings(ufunc))


@_rule(np.maximum, np.minimum)
def _extreme(ufunc: np.ufunc, a: Parts, b: Parts) -> Parts:
    ea, eb = a.bound, b.bound
    decided, a_wins = ~_open(a.value, ea, b.value, eb), (a.value > b.value) == (ufunc is np.maximum)
    chosen = np.where(a_wins, ea, eb)
    return a.numbers(ufunc(a.value, b.value), np.where(decided & (a.value != b.value), chosen, np.maximum(ea, eb)))


@_rule(np.less, np.less_equal, np.greater, np.greater_equal, np.equal, np.not_equal)
def _compare(ufunc: np.ufunc, a: Parts, b: Parts) -> Parts:
    value = ufunc(a.value, b.value)
    if a is b:  # the same array, as in x != x
        return a.numbers(value)
    return a.numbers(value, _open(a.value, a.bound, b.value, b.bound))


@_rule(np.isnan, np.isinf, np.isfinite, np.signbit)
def _classify(ufunc: np.ufunc, a: Parts) -> Parts:
    ea = a.bound
    undecided = (ea != 0) & (np.abs(a.value) <= ea) if ufunc is np.signbit else ~np.isfinite(ea)
    return a.numbers(ufunc(a.value), undecided)


@_rule(np.sign)
def _sign(ufunc: np.ufunc, a: Parts) -> Parts:
    ea = a.bound
    return a.numbers(ufunc(a.value), np.where((ea != 0) & (np.abs(a.value) <= ea), 2.0, 0.0))


@_rule(np.logical_not, np.invert)
def _not(ufunc: np.ufunc, a: Parts) -> Parts:
    _need_boolean(ufunc, a)
    return a.numbers(ufunc(a.value), a.bound)


@_rule(np.logical_and, np.logical_or, np.logical_xor, np.bitwise_and, np.bitwise_or, np.bitwise_xor)
def _connect(ufunc: np.ufunc, a: Parts, b: Parts) -> Parts:
    _need_boolean(ufunc, a, b)
    open_a, open_b = a.bound != 0, b.bound != 0
    undecided = open_a | open_b
    if ufunc not in (np.logical_xor, np.bitwise_xor):
        deciding = ufunc in (np.logical_or, np.bitwise_or)  # one operand with this value is enough
        undecided &= ~((a.value == deciding) & ~open_a) & ~((b.value == deciding) & ~open_b)
    return a.numbers(ufunc(a.value, b.value), undecided)


def choose(condition: Parts, a: Parts, b: Parts) -> Parts:
    """Return the parts of the chosen operand, as ``np.where``; where the condition is open, the union of both."""
    with np.errstate(all="ignore"):
        undecided, first = condition.bound != 0, condition.value.astype(bool)
        picked = _where(first, a, b)
        if not undecided.any():
            return picked
        ea, eb = a.bound, b.bound
        apart = np.abs(np.subtract(a.value, b.value, dtype=np.float64))
        apart = np.where(np.equal(a.value, b.value), 0.0, apart)
        either = np.where(first, np.maximum(ea, apart + eb), np.maximum(eb, apart + ea))
        union = a.numbers(picked.value, np.where(np.isnan(either), np.inf, either))
        return _where(undecided, union, picked)


def _where(condition: Array, a: Parts, b: Parts) -> Parts:
    value, error, size, terms = (np.where(condition, x, y) for x, y in zip(a.arrays, b.arrays, strict=True))
    return Parts(value, error, size, terms, a.precision)


def _open(a: Array, ea: Array, b: Array, eb: Array) -> Array:
    """Return where the errors leave open how a and b compare.

    Rounding is monotone: if a is larger after it (a − ea > b + eb), it was larger before.
    """
    apart = (a + ea < b - eb) | (a - ea > b + eb)
    certain: Array = (ea == 0) & (eb == 0)
    return ~(apart | certain)


def _is_power(x: Array) -> Array:
    """Return whether multiplying by x is exact: 0, or ± a power of two."""
    fraction, _ = np.frexp(np.asarray(x, np.float64))
    exact: Array = (np.abs(fraction) == 0.5) | (fraction == 0)
    return exact


def _roundings(ufunc: np.ufunc) -> int:
    return 2 * _ULPS[ufunc] + 1


def _need_boolean(ufunc: np.ufunc, *operands: Parts) -> None:
    if any(x.value.dtype.kind != "b" and np.any(x.error) for x in operands):
        raise TypeError(f"no rule bounds np.{ufunc.__name__} of numbers with an error")
