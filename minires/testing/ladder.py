"""Derivatives of a function along a line, each with an error bar that was measured, not assumed.

For every output at once, with C(h) = (f(h) − f(−h)) / 2h:

1. *Noise* ν. For a smooth f the odd part O(h) = f(h) − f(−h) doubles and the even part
   E(h) = f(h) + f(−h) − 2 f(0) quadruples when h doubles, up to terms far below the rounding error if h is
   small. What does not fit at the finest steps is the function's own rounding noise; eps · |f| is its floor.
2. *From fine to coarse.* The finest C has a wide bar (ν / h), but no truncation error. Coarser steps, with
   Richardson's extrapolation

       A = C(h) + (C(h) − C(qh)) / (q² − 1),   T = A(h) + (A(h) − A(qh)) / (q⁴ − 1),

   are sharper: bar 2·1.7·ν / h + |T − A|. One is accepted only while it lies inside the bar of the best one
   before. A kink, a fast oscillation or an overflow ends the walk of the outputs it touches and spoils
   nothing that was accepted. A kink at the very point shows in E, which then doubles instead of quadrupling.
3. *A second ladder* at other steps must lead to the same derivative within the two bars.

All outputs are walked together, in blocks that fit the cache: of a million outputs, each step is evaluated once.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from minires.device import Array
from minires.testing.report import CAUSES, DISAGREEMENT, KINK, NOT_FINITE, RESOLUTION

EPS = 2.0**-52
Line = Callable[[float], Array]  # step -> outputs; NaN where the function cannot be evaluated

FINEST, COARSEST = -30, -3  # powers of two: a little over eight decades
WINDOW = 2.0**-21  # noise is measured at steps up to here
BLUNT = 1e-5  # an output is of use if its bar is below this part of the largest variation
LADDERS = (
    (2.0, tuple(2.0**k for k in range(FINEST, COARSEST + 1))),
    (4.0, tuple(0.75 * 2.0**k for k in range(FINEST + 1, COARSEST + 1, 2))),
)
_BLOCK = 1 << 14  # outputs

_RESOLUTION, _KINK, _DISAGREEMENT, _NOT_FINITE = map(CAUSES.index, (RESOLUTION, KINK, DISAGREEMENT, NOT_FINITE))


@dataclass
class Derivatives:
    """Derivatives along a line, one per output, with bars; ``cause`` says why a blunt one is blunt.

    ``cause`` holds indices into `CAUSES`.
    """

    value: Array
    bar: Array
    step: Array
    noise: Array
    variation: Array
    sharp: Array
    cause: Array

    def left_out(self) -> dict[str, int]:
        """How many outputs are blunt, by cause."""
        return count_causes(self.cause[~self.sharp])


def count_causes(cause: Array) -> dict[str, int]:
    """How often each cause occurs among indices into `CAUSES`, those that do."""
    counts = np.bincount(cause, minlength=len(CAUSES)).tolist()
    return {name: count for name, count in zip(CAUSES, counts, strict=True) if count}


def differentiate(line: Line, base: Array, floor: Array | float = 0.0) -> Derivatives:
    """The derivative of every output of ``line`` at 0.

    Parameters
    ----------
    line : step -> outputs, a vector; not called at 0
    base : the outputs at 0
    floor : noise already known (from calls that did not repeat)

    Returns
    -------
    Derivatives
    """
    with np.errstate(all="ignore"):
        return _differentiate(line, base, floor)


def _differentiate(line: Line, base: Array, floor: Array | float) -> Derivatives:
    blocks = [slice(start, start + _BLOCK) for start in range(0, max(base.size, 1), _BLOCK)]
    floors = np.broadcast_to(floor, base.shape)
    starts = [[(h, line(h), line(-h)) for h in steps if h <= WINDOW] for _, steps in LADDERS]
    walks = []
    for block in blocks:
        points = [[_point(h, plus[block], minus[block], base[block]) for h, plus, minus in start] for start in starts]
        noise = np.maximum(floors[block], EPS * np.abs(base[block]))
        for (ratio, _), start in zip(LADDERS, points, strict=True):
            noise = np.maximum(noise, _noise(start, ratio))
        walks.append([_Walk(noise, ratio, start) for (ratio, _), start in zip(LADDERS, points, strict=True)])
    del starts
    for number, (_, steps) in enumerate(LADDERS):
        for h in steps:
            if h > WINDOW:
                plus, minus = line(h), line(-h)
                for block, pair in zip(blocks, walks, strict=True):
                    pair[number].advance(_point(h, plus[block], minus[block], base[block]))
    found = [_combine(first, second, base[block]) for block, (first, second) in zip(blocks, walks, strict=True)]
    return _judge(_Found(*map(np.concatenate, zip(*found, strict=True))))


class _Point(NamedTuple):
    """f at ±h, as odd and even part; ``size`` is the largest |f| of the three values, ``moves`` where f ≠ f(0)."""

    h: float
    odd: Array
    even: Array
    size: Array
    moves: tuple[Array, Array]


def _point(h: float, plus: Array, minus: Array, base: Array) -> _Point:
    size = np.maximum(np.maximum(np.abs(plus), np.abs(minus)), np.abs(base))
    return _Point(h, plus - minus, (plus - base) + (minus - base), size, (plus != base, minus != base))


def _noise(points: Sequence[_Point], ratio: float) -> Array:
    """The largest misfit of the finest steps, leaving out a misfit that grows as truncation does."""
    worst = np.zeros_like(points[0].odd)
    for part, growth in (("odd", ratio), ("even", ratio**2)):
        scale = np.sqrt(2 * (1 + growth**2)) * (1 if part == "odd" else np.sqrt(2))
        values = [getattr(point, part) for point in points]
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
    still = np.ones(worst.shape, bool)
    for point in points:  # an output that stands still at first and then jumps is rounded to steps of that size
        moves = point.moves[0] | point.moves[1]
        jump = np.maximum(np.abs(point.odd), np.abs(point.even))
        worst = np.fmax(worst, np.where(still & moves & (point is not points[0]), jump, 0))
        still &= ~moves
    return worst


class _Walk:
    """One ladder, walked from fine to coarse by the outputs of a block together."""

    def __init__(self, noise: Array, ratio: float, start: Sequence[_Point]) -> None:
        first, second = start[0], start[1]
        self.noise, self.ratio = noise, ratio
        self.value = first.odd / (2 * first.h)
        self.bar = (
            2 * noise / first.h + np.abs(self.value - second.odd / (2 * second.h)) + np.abs(first.even) / (2 * first.h)
        )
        self.finite = np.isfinite(self.bar)
        self.bar[~self.finite] = np.inf
        self.step = np.full_like(self.value, first.h)
        self.active = self.finite.copy()
        self.kinked = np.zeros_like(self.active)
        self.moved = (np.zeros_like(self.active), np.zeros_like(self.active))
        self.variation = np.zeros_like(self.value)
        self._points: list[_Point] = []
        self._extrapolated: Array | None = None
        for point in start:
            self.advance(point)
        self.still = ~(self.moved[0] | self.moved[1])  # did not move at all up to the end of the window

    def advance(self, point: _Point) -> None:
        """Go on to the next coarser step."""
        for side, moves in zip(self.moved, point.moves, strict=True):
            side |= moves
        self.variation = np.fmax(self.variation, (np.abs(point.odd) + np.abs(point.even)) / 2)
        self._points.append(point)
        if len(self._points) > 1:
            fine, coarse = (p.odd / (2 * p.h) for p in self._points[-2:])
            before, self._extrapolated = self._extrapolated, fine + (fine - coarse) / (self.ratio**2 - 1)
            if before is not None and self.active.any():
                best = before + (before - self._extrapolated) / (self.ratio**4 - 1)
                self._accept(best, self._extrapolated, self._points)
        self._points = self._points[-2:]

    def _accept(self, best: Array, rough: Array, points: Sequence[_Point]) -> None:
        finest, middle, coarsest = points
        noise = np.maximum(self.noise, EPS * coarsest.size)
        bar = 3.4 * noise / finest.h + np.abs(best - rough)
        growth = self.ratio**2
        misfit = np.abs(coarsest.even - growth * middle.even)
        kinked = misfit > 0.25 * np.abs(coarsest.even) + 8 * growth * noise
        distance = np.abs(best - self.value)
        consistent = distance <= self.bar + bar  # false for NaN, too
        accepted = self.active & ~kinked & (distance <= self.bar) & (bar < self.bar)
        self.kinked |= self.active & kinked
        self.active &= consistent & ~kinked
        self.value = np.where(accepted, best, self.value)
        self.bar = np.where(accepted, bar, self.bar)
        self.step = np.where(accepted, finest.h, self.step)


class _Found(NamedTuple):
    """What two walks found of each output."""

    value: Array
    bar: Array
    step: Array
    noise: Array
    variation: Array
    cause: Array
    usable: Array
    flat: Array


def _combine(a: _Walk, b: _Walk, base: Array) -> _Found:
    a_wins = a.bar <= b.bar
    value, bar = np.where(a_wins, a.value, b.value), np.where(a_wins, a.bar, b.bar)
    distance = np.abs(a.value - b.value)
    agree = distance <= a.bar + b.bar
    bar = np.maximum(bar, np.minimum(np.where(a_wins, b.bar, a.bar), distance)) + 2 * EPS * np.abs(value)
    finite = a.finite & b.finite & np.isfinite(base)
    variation = np.fmax(a.variation, b.variation)
    moved = [x | y for x, y in zip(a.moved, b.moved, strict=True)]
    still = a.still & b.still
    # Flat at fine steps and moving to both sides at coarse ones: as likely coarse rounding as a true plateau.
    stairs = still & moved[0] & moved[1]
    cause = np.full(value.shape, _RESOLUTION, np.int8)
    cause[a.kinked | b.kinked] = _KINK
    cause[stairs] = _RESOLUTION
    cause[~agree] = _DISAGREEMENT
    cause[~finite] = _NOT_FINITE
    flat = (variation <= 8 * a.noise) | still
    step = np.where(a_wins, a.step, b.step)
    return _Found(value, bar, step, a.noise, variation, cause, finite & agree & ~stairs, flat)


def _judge(found: _Found) -> Derivatives:
    """Sharp is what has a bar that is small beside the largest variation of all outputs, or does not vary at all."""
    finite = (found.cause != _NOT_FINITE) & (found.cause != _DISAGREEMENT)
    largest = float(np.max(np.fmax(np.abs(found.value), found.variation)[finite], initial=0.0))
    sharp = found.usable & ((found.bar <= BLUNT * largest) | found.flat)
    return Derivatives(found.value, found.bar, found.step, found.noise, found.variation, sharp, found.cause)
