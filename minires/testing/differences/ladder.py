"""Derivatives of a function along a line, each with an error bar that was measured, not assumed.

For every output at once, with C(h) = (f(h) − f(−h)) / 2h:

1. *Noise* ν. For a smooth f the odd part O(h) = f(h) − f(−h) doubles and the even part
   E(h) = f(h) + f(−h) − 2 f(0) quadruples when h doubles, up to terms far below the rounding error if h is
   small. What does not fit at the finest steps is the function's own rounding noise; eps · |f| is its floor.
2. *From fine to coarse.* The finest C has a wide bar (ν / h), but no truncation error. Coarser steps, with
   Richardson's extrapolation

       A = C(h) + (C(h) − C(qh)) / (q² − 1),   T = A(h) + (A(h) − A(qh)) / (q⁴ − 1),

   are sharper: bar 2·1.7·ν / h + |T − A(qh)|. One is accepted only while it lies inside the bar of the best one
   before. A kink, a fast oscillation or an overflow ends the walk of the outputs it touches and spoils
   nothing that was accepted. A kink at the very point shows in E, which then doubles instead of quadrupling.
3. *A second ladder* at other steps must lead to the same derivative within the two bars.

All outputs are walked together, in blocks that fit the cache: of a million outputs, each step is evaluated once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from minires.device import Array
from minires.testing.differences.noise import (
    EPS,
    TINY,
    Point,
    bends,
    largest,
    noise_of,
    point_at,
    rounding_of,
    stands_apart,
)
from minires.testing.report import CAUSES, DISAGREEMENT, KINK, NOT_FINITE, RESOLUTION

Line = Callable[[float], Array]  # step -> outputs; NaN where the function cannot be evaluated

FINEST, COARSEST = -30, -3  # powers of two: a little over eight decades
WINDOW = 2.0**-21  # noise is measured at steps up to here
ULTRAFINE = -38
ROUGH = 2.0**-20  # noise above this part of the outputs is looked at again at the ultrafine step
GRAINY = 64 * EPS  # noise above this part of the outputs is more than the rounding of a result
FEW_STEPS = 2.0**-7  # a jump above this part of all variation is no rounding
VANISHING = 2.0**-36  # the rounding of outputs hides 1e-4 of a slope that is smaller than this part of them
BLUNT = 1e-5  # the usual part of the largest variation below which a bar must be for its output to be of use
LADDERS = (
    (2.0, tuple(2.0**k for k in range(FINEST, COARSEST + 1))),
    # 23/32, so that a grid to which f is rounded and which the one ladder happens to hit is missed by the other.
    (4.0, tuple(23 / 32 * 2.0**k for k in range(FINEST + 1, COARSEST + 1, 2))),
)
_BLOCK = 1 << 14  # outputs

_RESOLUTION, _KINK, _DISAGREEMENT, _NOT_FINITE = map(CAUSES.index, (RESOLUTION, KINK, DISAGREEMENT, NOT_FINITE))


@dataclass
class Derivatives:
    """Derivatives along a line, one per output, with bars; ``cause`` says why a blunt one is blunt.

    ``cause`` holds indices into `CAUSES`. An output that is ``still`` did not move at all at fine steps; if it did
    so to both sides at coarse ones, it is on ``stairs``. One that is ``grainy`` has more noise than the rounding of
    a result, so it may stand still where it has a slope. One that is ``bent`` has a kink at the very point.
    """

    value: Array
    bar: Array
    step: Array
    noise: Array
    variation: Array
    sharp: Array
    cause: Array
    still: Array
    stairs: Array
    grainy: Array
    bent: Array

    def left_out(self) -> dict[str, int]:
        """How many outputs are blunt, by cause."""
        return count_causes(self.cause[~self.sharp])


def count_causes(cause: Array) -> dict[str, int]:
    """How often each cause occurs among indices into `CAUSES`, those that do."""
    counts = np.bincount(cause, minlength=len(CAUSES)).tolist()
    return {name: count for name, count in zip(CAUSES, counts, strict=True) if count}


def differentiate(
    line: Line, base: Array, floor: Array | float = 0.0, unit: float = 0.0, blunt: float = BLUNT
) -> Derivatives:
    """The derivative of every output of ``line`` at 0.

    Parameters
    ----------
    line : step -> outputs, a vector; not called at 0
    base : the outputs at 0
    floor : noise already known (from calls that did not repeat, or from the function's user)
    unit : the size of the inputs, to which outputs may be rounded on the way; 0 if it is not known
    blunt : an output is of use if its bar is below this part of the largest variation

    Returns
    -------
    Derivatives
    """
    with np.errstate(all="ignore"):
        return _differentiate(line, base, floor, unit, blunt)


def _differentiate(line: Line, base: Array, floor: Array | float, unit: float, blunt: float) -> Derivatives:
    blocks = [slice(start, start + _BLOCK) for start in range(0, max(base.size, 1), _BLOCK)]
    floors, reach = np.broadcast_to(floor, base.shape), largest(base)
    scale = max(reach, unit)
    # The steps of the window, and two more, which tell what a first move at the window's end was.
    counts = [2 + sum(h <= WINDOW for h in steps) for _, steps in LADDERS]
    starts = [[(h, line(h), line(-h)) for h in steps[:n]] for n, (_, steps) in zip(counts, LADDERS, strict=True)]
    walks = []
    for block in blocks:
        points = [[point_at(h, plus[block], minus[block], base[block]) for h, plus, minus in start] for start in starts]
        noise = np.maximum(floors[block], rounding_of(base[block]))
        for (ratio, _), start in zip(LADDERS, points, strict=True):
            noise = np.maximum(noise, noise_of(start, ratio))
        walks.append([Walk(noise, ratio, start[:-2], scale) for (ratio, _), start in zip(LADDERS, points, strict=True)])
        for walk, start in zip(walks[-1], points, strict=True):
            for point in start[-2:]:
                walk.advance(point)
    del starts
    for number, (_, steps) in enumerate(LADDERS):
        for h in steps[counts[number] :]:
            plus, minus = line(h), line(-h)
            for block, pair in zip(blocks, walks, strict=True):
                pair[number].advance(point_at(h, plus[block], minus[block], base[block]))
    parts = [_combine(first, second, base[block]) for block, (first, second) in zip(blocks, walks, strict=True)]
    found = _Found(*map(np.concatenate, zip(*parts, strict=True)))
    doubtful = found.usable & (found.noise > ROUGH * np.fmax(np.abs(base), found.variation))
    if doubtful.any():
        _tell_structure_from_noise(line, base, found, doubtful)
        # Where noise is all there is, nothing tells that there is no slope.
        found.flat[doubtful & ~found.still & (found.noise > GRAINY * scale)] = False
    _doubt_stillness(found, np.abs(base), reach)
    return _judge(found, np.fmax(reach, found.variation), blunt)


def _doubt_stillness(found: _Found, size: Array, reach: float) -> None:
    """An output that stands still has at least the relative noise of those that move: they may be rounded alike."""
    moving = found.usable & ~found.still & (found.cause != _KINK) & (size > ROUGH * reach)
    if moving.any() and found.still.any():
        noise = float(np.median(found.noise[moving] / size[moving])) * size
        found.bar[:] = np.where(found.still, np.maximum(found.bar, 8 * noise), found.bar)


def _tell_structure_from_noise(line: Line, base: Array, found: _Found, doubtful: Array) -> None:
    """Noise is as large at any step, however fine; what vanishes there was the function's own structure.

    Steps that cannot follow it are no evidence against the slope that the finest of all shows.
    """
    h = 2.0**ULTRAFINE
    plus, minus = line(h), line(-h)
    moves = np.maximum(np.abs(plus - base), np.abs(minus - base))
    distance = np.abs((plus - minus) / (2 * h) - found.value)
    structure = doubtful & (moves < found.noise / 16) & (distance > found.bar)
    found.bar[structure] = 2 * distance[structure]
    found.flat[structure] = False
    found.cause[structure] = _RESOLUTION


class Walk:
    """One ladder, walked from fine to coarse by the outputs of a block together.

    Attributes
    ----------
    value, bar, step : of each output: the best derivative so far, how far it may be off, and where it was found
    """

    def __init__(self, noise: Array, ratio: float, start: Sequence[Point], reach: float = 0.0) -> None:
        first, second = start[0], start[1]
        self.reach = reach
        self.noise, self.ratio = noise, ratio
        self.value = first.odd / (2 * first.h)
        self.bar = (
            2 * noise / first.h + np.abs(self.value - second.odd / (2 * second.h)) + np.abs(first.even) / (2 * first.h)
        )
        self.finite = np.isfinite(self.bar)
        self.bar[~self.finite] = np.inf
        self.step = np.full_like(self.value, first.h)
        self.active = self.finite.copy()
        self.apart, self.bent = stands_apart(start), bends(start)
        self.kinked = self.apart | self.bent
        self.moved = (np.zeros_like(self.active), np.zeros_like(self.active))
        self.variation, self.first_move = np.zeros_like(self.value), np.zeros_like(self.value)
        self.error = np.zeros_like(self.value)
        self.jump = np.zeros_like(self.value)
        self._points: list[Point] = []
        self._extrapolated: Array | None = None
        for point in start:
            self.advance(point)
        self.still = ~(self.moved[0] | self.moved[1])  # did not move at all up to the end of the window

    def advance(self, point: Point) -> None:
        """Go on to the next coarser step."""
        self._look_for_a_jump(point)
        (fresh,) = np.nonzero((point.moves[0] | point.moves[1]) & ~(self.moved[0] | self.moved[1]))
        self.first_move[fresh] = np.maximum(np.abs(point.odd[fresh]), np.abs(point.even[fresh]))
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

    def _look_for_a_jump(self, point: Point) -> None:
        """A jump by a few roundings of the largest output, where the function was smooth up to here.

        Something on the way to this output was rounded, and its slope between two jumps is not all of its slope.
        """
        before, self.error = self.error, np.abs(point.odd - 2 * point.h * self.value)
        (where,) = np.nonzero((self.error < GRAINY * self.reach) & (self.error > 16 * self.noise))
        error = self.error[where]
        expected = 16 * (2 * point.h * self.bar[where] + self.noise[where]) + 2 * self.ratio**3 * before[where]
        jumps = where[(error > expected) & (self.jump[where] == 0)]
        self.jump[jumps] = 4 * self.error[jumps] / point.h

    def _accept(self, best: Array, rough: Array, points: Sequence[Point]) -> None:
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
    still: Array
    stairs: Array
    bent: Array


def _combine(a: Walk, b: Walk, base: Array) -> _Found:
    for walk in (a, b):
        walk.bar = np.maximum(walk.bar, np.maximum(a.jump, b.jump))
    a_wins = a.bar <= b.bar
    value, bar = np.where(a_wins, a.value, b.value), np.where(a_wins, a.bar, b.bar)
    distance = np.abs(a.value - b.value)
    last_digit = 2 * EPS * np.abs(value)
    agree = distance <= a.bar + b.bar + last_digit
    bar = np.maximum(bar, np.minimum(np.where(a_wins, b.bar, a.bar), distance)) + last_digit
    finite = a.finite & b.finite & np.isfinite(base)
    variation = np.fmax(a.variation, b.variation)
    moved = [x | y for x, y in zip(a.moved, b.moved, strict=True)]
    still = a.still & b.still
    # Flat at fine steps and moving to both sides at coarse ones: as likely coarse rounding as a true plateau; and so
    # is what moves by little. But one that moves by its last digits only was not rounded more than any number is,
    # and stairs with few steps are the function's own.
    jump = np.minimum(a.first_move, b.first_move)
    little = (moved[0] | moved[1]) & (jump < np.maximum(ROUGH * np.abs(base), GRAINY * a.reach))
    climbs = moved[0] & moved[1] & (jump < FEW_STEPS * variation)
    stairs = still & (climbs | little) & (jump > 16 * EPS * np.abs(base))
    cause = np.full(value.shape, _RESOLUTION, np.int8)
    cause[a.kinked | b.kinked] = _KINK
    cause[stairs] = _RESOLUTION
    cause[~agree] = _DISAGREEMENT
    cause[~finite] = _NOT_FINITE
    flat = (variation <= 8 * a.noise) | still
    step = np.where(a_wins, a.step, b.step)
    usable = finite & agree & ~stairs & ~(a.apart & b.apart) & ~a.bent
    return _Found(value, bar, step, a.noise, variation, cause, usable, flat, still, stairs, a.bent)


def _judge(found: _Found, reach: Array, blunt: float) -> Derivatives:
    """Sharp is what has a bar that is small beside the largest variation of all outputs, or does not vary at all."""
    finite = (found.cause != _NOT_FINITE) & (found.cause != _DISAGREEMENT)
    widest = float(np.max(np.fmax(np.abs(found.value), found.variation)[finite], initial=0.0))
    sharp = found.usable & ((found.bar <= blunt * widest) | found.flat)
    if widest <= VANISHING * np.max(reach, initial=0.0):  # sharp beside the outputs themselves
        sharp |= found.usable & (found.bar <= 128 * EPS * reach)
    if not (sharp & ~found.flat).any():  # the best there is; what it can tell is for its bar to say
        sharp |= found.usable & (found.bar <= 10 * blunt * widest)
    grainy = found.stairs | (found.noise > GRAINY * reach + TINY) & (found.cause != _KINK)
    masks = (found.still, found.stairs, grainy, found.bent)
    return Derivatives(found.value, found.bar, found.step, found.noise, found.variation, sharp, found.cause, *masks)
