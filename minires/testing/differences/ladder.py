"""Measure derivatives along a line, each with an error bar that is measured, not assumed.

For every output at once, with C(h) = (f(h) − f(−h)) / 2h:

1. *Noise* ν. Values that do not fit a smooth function at the finest steps show the function's own rounding noise
   (see noise.py). eps · |f| is its floor.
2. *From fine to coarse.* The finest C has a wide bar (ν / h), but no truncation error. Coarser steps are sharper, with
   Richardson's extrapolation:

       A = C(h) + (C(h) − C(qh)) / (q² − 1),   T = A(h) + (A(h) − A(qh)) / (q⁴ − 1),

   with the bar 2·1.7·ν / h + |T − A(qh)|. A sharper estimate is accepted only while it lies inside the bar of the best
   one before. A kink, a fast oscillation or an overflow ends the walk of the outputs that it touches and does not spoil
   what was accepted before. A kink at the point itself shows in E(h) = f(h) + f(−h) − 2 f(0): it doubles with h
   instead of quadrupling.
3. *A second ladder* with other steps must lead to the same derivative within the two bars.

All outputs are walked together, in blocks that fit the cache. Each step is evaluated once, even for a million outputs.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from minires.device import Array
from minires.testing.differences.noise import (
    EPS,
    TINY,
    Sample,
    bends,
    largest,
    noise_of,
    rounding_of,
    sample_at,
    stands_apart,
)
from minires.testing.report import CAUSES

Line = Callable[[float], Array]  # step -> outputs; NaN where the function cannot be evaluated

FINEST, COARSEST = -30, -3  # powers of two: a little over eight decades
WINDOW = 2.0**-21  # noise is measured at steps up to here
ULTRAFINE = -38
ROUGH = 2.0**-20  # outputs with more relative noise than this are looked at again at the ultrafine step
GRAINY = 64 * EPS  # more relative noise than this is more than the rounding of a result
FEW_STEPS = 2.0**-7  # a jump above this fraction of all variation is not a rounding
VANISHING = 2.0**-36  # outputs this many times larger than a slope hide 1e-4 of it by their rounding
BLUNT = 1e-5  # an output is used if its bar is at most this fraction of the largest variation
LADDERS = (
    (2.0, tuple(2.0**k for k in range(FINEST, COARSEST + 1))),
    # 23/32: if f is rounded to a grid that one ladder happens to hit, the other misses it.
    (4.0, tuple(23 / 32 * 2.0**k for k in range(FINEST + 1, COARSEST + 1, 2))),
)
_BLOCK = 1 << 14  # outputs


class Cause(enum.IntEnum):
    """Why a derivative is blunt, as an array element: the index of the cause in `CAUSES`."""

    RESOLUTION = 0
    KINK = 1
    DISAGREEMENT = 2
    NOT_FINITE = 3


@dataclass
class Derivatives:
    """The derivatives of all outputs along a line, each with an error bar. Every attribute has one element per output.

    Attributes
    ----------
    value, bar, step : the derivative, how far it may be off, and the step at which it was measured
    noise, variation : the rounding noise of the output, and the largest change that was seen
    cause : why the derivative is not sharp, where it is not; see `Cause`
    still : the output does not move at all at fine steps
    stairs : the output stands still at fine steps and moves to both sides at coarse ones
    bent : the output has a kink at the point itself
    usable : nothing speaks against value and bar
    flat : the output does not vary by more than its noise
    sharp : the bar is narrow enough to compare with
    grainy : the noise exceeds the rounding of a result, so the output may stand still although it has a slope
    doubted : the bars hold what a second look could not rule out
    """

    value: Array
    bar: Array
    step: Array
    noise: Array
    variation: Array
    cause: Array
    still: Array
    stairs: Array
    bent: Array
    usable: Array
    flat: Array
    sharp: Array
    grainy: Array
    doubted: bool


def count_causes(cause: Array) -> dict[str, int]:
    """Return how often each cause occurs in ``cause``; causes that do not occur are left out."""
    counts = np.bincount(cause, minlength=len(CAUSES)).tolist()
    return {name: count for name, count in zip(CAUSES, counts, strict=True) if count}


def differentiate(
    line: Line, base: Array, floor: Array | float = 0.0, unit: float = 0.0, blunt: float = BLUNT
) -> Derivatives:
    """Return the derivative of every output of ``line`` at 0.

    Parameters
    ----------
    line : step -> outputs, a vector; not called at 0
    base : the outputs at 0
    floor : noise that is already known, from calls that did not repeat or from the user
    unit : the size of the inputs, to which outputs may be rounded on the way; 0 if it is unknown
    blunt : an output is used if its bar is at most this fraction of the largest variation
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
        samples = [
            [sample_at(h, plus[block], minus[block], base[block]) for h, plus, minus in start] for start in starts
        ]
        noise = np.maximum(floors[block], rounding_of(base[block]))
        for (ratio, _), start in zip(LADDERS, samples, strict=True):
            noise = np.maximum(noise, noise_of(start, ratio))
        walks.append(
            [Walk(noise, ratio, start[:-2], scale) for (ratio, _), start in zip(LADDERS, samples, strict=True)]
        )
        for walk, start in zip(walks[-1], samples, strict=True):
            for sample in start[-2:]:
                walk.advance(sample)
    del starts
    for index, (_, steps) in enumerate(LADDERS):
        for h in steps[counts[index] :]:
            plus, minus = line(h), line(-h)
            for block, pair in zip(blocks, walks, strict=True):
                pair[index].advance(sample_at(h, plus[block], minus[block], base[block]))
    parts = [_combine(first, second, base[block]) for block, (first, second) in zip(blocks, walks, strict=True)]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    found = Derivatives(**columns, doubted=False)
    doubtful = found.usable & (found.noise > ROUGH * np.fmax(np.abs(base), found.variation))
    if doubtful.any():
        _tell_structure_from_noise(line, base, found, doubtful)
        # Where only noise is seen, a slope may be hidden behind it.
        found.flat[doubtful & ~found.still & (found.noise > GRAINY * scale)] = False
    _doubt_stillness(found, np.abs(base), reach)
    _judge(found, np.fmax(reach, found.variation), blunt)
    return found


def _doubt_stillness(found: Derivatives, size: Array, reach: float) -> None:
    """Give outputs that stand still at least the relative noise of those that move: they may be rounded alike."""
    moving = found.usable & ~found.still & (found.cause != Cause.KINK) & (size > ROUGH * reach)
    if moving.any() and found.still.any():
        noise = float(np.median(found.noise[moving] / size[moving])) * size
        found.bar[:] = np.where(found.still, np.maximum(found.bar, 8 * noise), found.bar)


def _tell_structure_from_noise(line: Line, base: Array, found: Derivatives, doubtful: Array) -> None:
    """Widen the bars of outputs that oscillate between the steps: what looks like noise there is their structure.

    Noise is as large at every step, however fine; structure vanishes at the ultrafine step. Steps that cannot follow it
    are no evidence against the slope that the ultrafine step shows.
    """
    h = 2.0**ULTRAFINE
    plus, minus = line(h), line(-h)
    moves = np.maximum(np.abs(plus - base), np.abs(minus - base))
    distance = np.abs((plus - minus) / (2 * h) - found.value)
    structure = doubtful & (moves < found.noise / 16) & (distance > found.bar)
    found.bar[structure] = 2 * distance[structure]
    found.flat[structure] = False
    found.cause[structure] = Cause.RESOLUTION


class Walk:
    """One ladder, walked from fine to coarse by the outputs of a block together.

    Parameters
    ----------
    noise : of each output
    ratio : of neighbouring steps
    start : the samples at the steps of the window
    reach : the size of the largest output or input

    Attributes
    ----------
    value, bar, step : of each output: the best derivative so far, how far it may be off, and where it was found
    """

    def __init__(self, noise: Array, ratio: float, start: Sequence[Sample], reach: float = 0.0) -> None:
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
        self._samples: list[Sample] = []
        self._extrapolated: Array | None = None
        for sample in start:
            self.advance(sample)
        self.still = ~(self.moved[0] | self.moved[1])  # did not move at all up to the end of the window

    def advance(self, sample: Sample) -> None:
        """Go on to the next coarser step."""
        self._look_for_a_jump(sample)
        (fresh,) = np.nonzero((sample.moves[0] | sample.moves[1]) & ~(self.moved[0] | self.moved[1]))
        self.first_move[fresh] = np.maximum(np.abs(sample.odd[fresh]), np.abs(sample.even[fresh]))
        for side, moves in zip(self.moved, sample.moves, strict=True):
            side |= moves
        self.variation = np.fmax(self.variation, (np.abs(sample.odd) + np.abs(sample.even)) / 2)
        self._samples.append(sample)
        if len(self._samples) > 1:
            fine, coarse = (s.odd / (2 * s.h) for s in self._samples[-2:])
            before, self._extrapolated = self._extrapolated, fine + (fine - coarse) / (self.ratio**2 - 1)
            if before is not None and self.active.any():
                best = before + (before - self._extrapolated) / (self.ratio**4 - 1)
                self._accept(best, self._extrapolated, self._samples)
        self._samples = self._samples[-2:]

    def _look_for_a_jump(self, sample: Sample) -> None:
        """Find outputs that jump by a few roundings of the largest output, after being smooth up to here.

        A value on the way to such an output was rounded. Its slope between two jumps is not all of its slope.
        """
        before, self.error = self.error, np.abs(sample.odd - 2 * sample.h * self.value)
        (where,) = np.nonzero((self.error < GRAINY * self.reach) & (self.error > 16 * self.noise))
        error = self.error[where]
        expected = 16 * (2 * sample.h * self.bar[where] + self.noise[where]) + 2 * self.ratio**3 * before[where]
        jumps = where[(error > expected) & (self.jump[where] == 0)]
        self.jump[jumps] = 4 * self.error[jumps] / sample.h

    def _accept(self, best: Array, rough: Array, samples: Sequence[Sample]) -> None:
        """Take over ``best`` where it is sharper than the estimate so far and lies inside its bar."""
        finest, middle, coarsest = samples
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


def _combine(a: Walk, b: Walk, base: Array) -> dict[str, Array]:
    """Return the fields of `Derivatives` for one block, with the sharper value of each output and a bar for both."""
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
    # An output that is flat at fine steps and moves to both sides at coarse ones, or moves by little, may be coarsely
    # rounded as well as truly flat. Two exceptions: an output that moves by its last digits only is rounded like any
    # result, and stairs with few steps belong to the function itself.
    jump = np.minimum(a.first_move, b.first_move)
    little = (moved[0] | moved[1]) & (jump < np.maximum(ROUGH * np.abs(base), GRAINY * a.reach))
    climbs = moved[0] & moved[1] & (jump < FEW_STEPS * variation)
    stairs = still & (climbs | little) & (jump > 16 * EPS * np.abs(base))
    cause = np.full(value.shape, Cause.RESOLUTION, np.int8)
    cause[a.kinked | b.kinked] = Cause.KINK
    cause[stairs] = Cause.RESOLUTION
    cause[~agree] = Cause.DISAGREEMENT
    cause[~finite] = Cause.NOT_FINITE
    return {
        "value": value,
        "bar": bar,
        "step": np.where(a_wins, a.step, b.step),
        "noise": a.noise,
        "variation": variation,
        "cause": cause,
        "still": still,
        "stairs": stairs,
        "bent": a.bent,
        "usable": finite & agree & ~stairs & ~(a.apart & b.apart) & ~a.bent,
        "flat": (variation <= 8 * a.noise) | still,
        "sharp": np.zeros_like(still),  # for `_judge`, which sees all blocks
        "grainy": np.zeros_like(still),
    }


def _judge(found: Derivatives, reach: Array, blunt: float) -> None:
    """Set ``sharp`` and ``grainy``: sharp is a bar that is narrow beside the largest variation of all outputs."""
    finite = (found.cause != Cause.NOT_FINITE) & (found.cause != Cause.DISAGREEMENT)
    widest = float(np.max(np.fmax(np.abs(found.value), found.variation)[finite], initial=0.0))
    sharp = found.usable & ((found.bar <= blunt * widest) | found.flat)
    if widest <= VANISHING * np.max(reach, initial=0.0):  # sharp beside the outputs themselves
        sharp |= found.usable & (found.bar <= 128 * EPS * reach)
    if not (sharp & ~found.flat).any():  # the best there is; its bar says what it can tell
        sharp |= found.usable & (found.bar <= 10 * blunt * widest)
    found.sharp = sharp
    found.grainy = found.stairs | (found.noise > GRAINY * reach + TINY) & (found.cause != Cause.KINK)
