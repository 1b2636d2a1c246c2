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
        jumps = still & moves & ~_starts_to_slope(point, second, third, ratio)
        worst = np.fmax(worst, np.where(jumps, np.maximum(np.abs(point.odd), np.abs(point.even)), 0))
        still &= ~moves
    return worst


def _starts_to_slope(first: Point, second: Point, third: Point, ratio: float) -> Array:
    """Where f moves to one side only, and in proportion to the step: behind a kink. Rounding does neither."""
    side = first.moves[0]
    one_sided = np.all([(p.moves[0] == side) & (p.moves[1] == ~side) for p in (first, second, third)], axis=0)
    rise = second.odd - first.odd
    straight = np.abs(third.odd - second.odd - ratio * rise) <= 1e-3 * np.abs(rise)
    return np.asarray(one_sided & straight & (rise != 0))


def bends(points: Sequence[Point]) -> Array:
    """Where the slope is another to either side of the very point, by however little: E doubles with h."""
    finest = points[0]
    first = finest.even / finest.h
    doubles = [np.abs(point.even / point.h - first) <= np.abs(first) / 4 for point in points[1:4]]
    return np.asarray(np.all(doubles, axis=0) & (np.abs(finest.even) > 16 * EPS * finest.size))


def stands_apart(points: Sequence[Point]) -> Array:
    """Where f(0) is off all other values, however fine the step: a step or a spike at the very point."""
    even = np.array([point.even for point in points])
    middle = even[0]
    return np.asarray(
        (np.abs(middle) > EPS * points[0].size) & (np.max(np.abs(even - middle), axis=0) < np.abs(middle) / 16)
    )
