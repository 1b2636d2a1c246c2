"""What a function's values at the finest steps tell before any derivative: how noisy it is, whether it steps.

With O(h) = f(h) − f(−h) and E(h) = f(h) + f(−h) − 2 f(0): for a smooth f, O doubles and E quadruples when h
doubles, up to terms far below the rounding error if h is small. What does not fit is the function's own noise.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from minires.device import Array

EPS = 2.0**-52
TINY = 2.0**-1074  # the smallest number, and the error of all that underflows


class Point(NamedTuple):
    """f at ±h, as odd and even part; ``size`` is the largest |f| of the three values, ``moves`` where f ≠ f(0)."""

    h: float
    odd: Array
    even: Array
    size: Array
    moves: tuple[Array, Array]


def point_at(h: float, plus: Array, minus: Array, base: Array) -> Point:
    """The point of a ladder made of f(h), f(−h) and f(0)."""
    size = np.maximum(np.maximum(np.abs(plus), np.abs(minus)), np.abs(base))
    return Point(h, plus - minus, (plus - base) + (minus - base), size, (plus != base, minus != base))


def largest(array: Array | None) -> float:
    """The largest finite magnitude; 0 for None and for an empty array."""
    if array is None:
        return 0.0
    magnitude = np.abs(array)
    return float(np.max(magnitude, initial=0.0, where=np.isfinite(magnitude)))


def rounding_of(base: Array) -> Array:
    """The last digit of numbers; of those that may underflow, the smallest number too. Zeros may be exact."""
    rounding = np.asarray(EPS * np.abs(base))
    rounding[(np.abs(base) < 2.0**-960) & (base != 0)] += TINY
    return rounding


def noise_of(points: Sequence[Point], ratio: float) -> Array:
    """The largest misfit of the finest steps, leaving out a misfit that grows as truncation does.

    The last two of ``points`` are there only to understand those before.
    """
    worst = np.zeros_like(points[0].odd)
    for part, growth in (("odd", ratio), ("even", ratio**2)):
        scale = np.sqrt(2 * (1 + growth**2)) * (1 if part == "odd" else np.sqrt(2))
        values = [getattr(point, part) for point in points[:-2]]
        misfits = [np.abs(b - growth * a) / scale for a, b in itertools.pairwise(values)]
        sure = 4 if ratio < 3 else 2
        for k, misfit in enumerate(misfits):
            if k < sure:
                counted = misfit
            elif k + 1 < len(misfits):
                counted = np.where(misfits[k + 1] < 0.75 * ratio**2 * misfit, misfit, 0)
            else:
                break
            worst = np.fmax(worst, counted)
    still = ~(points[0].moves[0] | points[0].moves[1])
    for point, second, third in zip(points[1:], points[2:], points[3:], strict=False):
        # An output that stands still at first and then jumps is rounded to steps of that size.
        moves = point.moves[0] | point.moves[1]
        (where,) = np.nonzero(still & moves)
        jump = np.maximum(np.abs(point.odd[where]), np.abs(point.even[where]))
        jump[_starts_to_slope(point, second, third, ratio, where)] = 0
        worst[where] = np.fmax(worst[where], jump)
        still &= ~moves
    return worst


def _starts_to_slope(first: Point, second: Point, third: Point, ratio: float, where: Array) -> Array:
    """Which outputs move to one side only, and in proportion to the step: behind a kink. Rounding does neither."""
    side = first.moves[0][where]
    sides = [(p.moves[0][where] == side) & (p.moves[1][where] == ~side) for p in (first, second, third)]
    a, b, c = (p.odd[where] for p in (first, second, third))
    straight = np.abs(c - b - ratio * (b - a)) <= 1e-3 * np.abs(b - a)
    return np.asarray(np.all(sides, axis=0) & straight & (a != b))


def bends(points: Sequence[Point]) -> Array:
    """Where the slope is another to either side of the very point, by however little: E doubles with h."""
    found = np.abs(points[0].even) > 16 * EPS * points[0].size
    (where,) = np.nonzero(found)
    slopes = np.array([point.even[where] / point.h for point in points[:6]])
    found[where] = np.all(np.abs(slopes - slopes[0]) <= np.abs(slopes[0]) / 4, axis=0)
    return found


def stands_apart(points: Sequence[Point]) -> Array:
    """Where f(0) is off all other values, however fine the step: a step or a spike at the very point."""
    found = np.abs(points[0].even) > EPS * points[0].size
    (where,) = np.nonzero(found)
    even = np.array([point.even[where] for point in points])
    found[where] = np.max(np.abs(even - even[0]), axis=0) < np.abs(even[0]) / 16
    return found
