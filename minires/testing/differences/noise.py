"""Measure how noisy a function is from its values at the finest steps, before any derivative is computed.

With O(h) = f(h) − f(−h) and E(h) = f(h) + f(−h) − 2 f(0): for a smooth f, O doubles and E quadruples when h
doubles, up to terms far below the rounding error if h is small. A misfit is the function's own noise.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from minires.device import Array

EPS = 2.0**-52
TINY = 2.0**-1074  # the smallest positive float64, and the error of a value that underflows


class Sample(NamedTuple):
    """The outputs of a function at the steps ±h.

    ``odd`` is O(h), ``even`` is E(h), ``size`` is the largest of |f(h)|, |f(−h)| and |f(0)|. ``moves`` holds two masks:
    where f(h) ≠ f(0), and where f(−h) ≠ f(0).
    """

    h: float
    odd: Array
    even: Array
    size: Array
    moves: tuple[Array, Array]


def sample_at(h: float, plus: Array, minus: Array, base: Array) -> Sample:
    """Return the sample made of f(h), f(−h) and f(0)."""
    size = np.maximum(np.maximum(np.abs(plus), np.abs(minus)), np.abs(base))
    return Sample(h, plus - minus, (plus - base) + (minus - base), size, (plus != base, minus != base))


def largest(array: Array | None) -> float:
    """Return the largest finite magnitude; 0 for None and for an empty array."""
    if array is None:
        return 0.0
    magnitude = np.abs(array)
    return float(np.max(magnitude, initial=0.0, where=np.isfinite(magnitude)))


def rounding_of(values: Array) -> Array:
    """Return how far each value may be off by rounding: eps · |value|, plus `TINY` where it may underflow.

    A zero may be exact: its rounding is 0.
    """
    rounding = np.asarray(EPS * np.abs(values))
    rounding[(np.abs(values) < 2.0**-960) & (values != 0)] += TINY
    return rounding


def noise_of(samples: Sequence[Sample], ratio: float) -> Array:
    """Return the largest misfit of each output at the finest steps; a misfit that grows as truncation does is ignored.

    ``ratio`` is that of neighbouring steps. The last two samples only help to interpret the ones before.
    """
    worst = np.zeros_like(samples[0].odd)
    for part, growth in (("odd", ratio), ("even", ratio**2)):
        scale = np.sqrt(2 * (1 + growth**2)) * (1 if part == "odd" else np.sqrt(2))
        values = [getattr(sample, part) for sample in samples[:-2]]
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
    still = ~(samples[0].moves[0] | samples[0].moves[1])
    for sample, second, third in zip(samples[1:], samples[2:], samples[3:], strict=False):
        # An output that stands still at first and then jumps is rounded to steps of that size.
        moves = sample.moves[0] | sample.moves[1]
        (where,) = np.nonzero(still & moves)
        jump = np.maximum(np.abs(sample.odd[where]), np.abs(sample.even[where]))
        jump[_starts_to_slope(sample, second, third, ratio, where)] = 0
        worst[where] = np.fmax(worst[where], jump)
        still &= ~moves
    return worst


def _starts_to_slope(first: Sample, second: Sample, third: Sample, ratio: float, where: Array) -> Array:
    """Return which outputs move at one side only and in proportion to the step, as behind a kink; rounding does not."""
    side = first.moves[0][where]
    sides = [(s.moves[0][where] == side) & (s.moves[1][where] == ~side) for s in (first, second, third)]
    a, b, c = (s.odd[where] for s in (first, second, third))
    straight = np.abs(c - b - ratio * (b - a)) <= 1e-3 * np.abs(b - a)
    return np.asarray(np.all(sides, axis=0) & straight & (a != b))


def bends(samples: Sequence[Sample]) -> Array:
    """Return the mask of outputs whose left and right slopes at the point differ: E doubles when h doubles."""
    found = np.abs(samples[0].even) > 16 * EPS * samples[0].size
    (where,) = np.nonzero(found)
    slopes = np.array([sample.even[where] / sample.h for sample in samples[:6]])
    found[where] = np.all(np.abs(slopes - slopes[0]) <= np.abs(slopes[0]) / 4, axis=0)
    return found


def stands_apart(samples: Sequence[Sample]) -> Array:
    """Return the mask of outputs with a step or a spike at the point: f(0) differs from f(h) at every step.

    A spike of a few last digits is the rounding of a term that cancels, as in a sum of a large and a small number.
    """
    found = np.abs(samples[0].even) > 16 * EPS * samples[0].size
    (where,) = np.nonzero(found)
    even = np.array([sample.even[where] for sample in samples])
    found[where] = np.max(np.abs(even - even[0]), axis=0) < np.abs(even[0]) / 16
    return found
