"""A second look at outputs whose derivative seems not to be the claimed one: two ways for a bar to be too narrow.

*Plateaus.* 1 − cos x stands still near 0: cos x is 1 to the last digit, all differences are 0, and so is the noise that
they show. Farther away the output moves, in steps g of that rounding. To stand still up to a step h then proves no more
than a slope below g / h, and of a sum of such terms, below g / h for each. How large g is shows where the plateau ends.
A plateau need not be level: exp(x) − 1 − x falls by x alone until exp(x) takes its next step. A g of a billionth is a
rounding; a larger one is a step of the function itself, unless there are stairs of such steps farther away, as where a
difference is divided, (exp(x) − 1) / x, or float16 computes.

*A second derivative that jumps.* Between two jumps a function is smooth, but over many of them (in a mean of Huber
losses) C(h) converges with h, not h², and extrapolation does not help. The differences between extrapolated quotients
of a smooth function grow 16-fold when the steps double; these grow twofold or irregularly, right from where they emerge
from the noise. The error at a step h is then taken to be up to 2 L h, with L from all coarser steps, and the step is
chosen for which that and the noise are least. Where the third derivative jumps, they grow eightfold in the end and
irregularly before; then the first bar is kept, and doubled.

Both cost evaluations, and only a disagreement is worth them.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minires.device import Array
from minires.testing.differences.ladder import LADDERS, Derivatives, Line
from minires.testing.differences.noise import EPS

_COARSE = 2.0**-30  # steps of an output above this part of 1, and of the output itself, are no rounding
_STAIRS = 2.0**-10  # nor are steps above this part, with others behind them: float16's are the coarsest
_FLIGHTS, _FOUND = 12, 4  # places, four times farther each, where stairs are looked for; and how many must have them
_FAR = 2.0**30  # how far to go, in units of 1 or of the direction, for an output to move
_MEASURED = 8  # outputs whose plateaus are measured; the others' are taken to be alike
_HALVINGS = 40  # from a plateau to its end: what leaves it gradually, as a rectifier does, has hardly moved there
_AFTER = 3  # levels at which differences must grow, from where they emerge


class _Steps(NamedTuple):
    """The change of some outputs at steps to both sides; axis 0 runs over the steps ``h``."""

    h: Array
    right: Array
    left: Array
    base: Array
    noise: Array


def look_again(line: Line, base: Array, slopes: Derivatives, gy: Array, d: Array, unit: float = 0.0) -> Derivatives:
    """``slopes`` with other values and bars for the outputs of which gy tells, where the first look was too sure.

    Parameters
    ----------
    line : step -> outputs
    base, slopes : the outputs at 0, and their derivatives so far
    gy : not 0 for the outputs that matter
    d : the direction of ``line``
    unit : the size of the inputs, which are rounded when they are moved
    """
    used = np.flatnonzero(gy)

    def change(t: float) -> Array:
        return line(t)[used] - base[used]

    with np.errstate(all="ignore"):
        h = np.array(LADDERS[0][1])
        right, left = (np.array([change(side * step) for step in h]) for side in (1.0, -1.0))
        steps = _Steps(h, right, left, base[used], slopes.noise[used])
        value, bar = slopes.value.copy(), slopes.bar.copy()
        value[used], bar[used] = _slow(steps, value[used], bar[used])
        reach = float(np.max(np.abs(d)))
        blur = 64 * EPS * np.abs(slopes.value[used]) * unit / reach
        terms = max(1.0, np.count_nonzero(d) / base.size)
        bar[used] = np.fmax(
            bar[used],
            terms * _hidden(change, steps, slopes.value[used], slopes.bar[used], blur, _FAR * max(1.0, 1 / reach)),
        )
    return dataclasses.replace(slopes, value=value, bar=bar)


def _slow(steps: _Steps, value: Array, bar: Array) -> tuple[Array, Array]:
    """Value and bar of each output; others where differences converge slowly."""
    h = steps.h[:, None]
    quotient = (steps.right - steps.left) / (2 * h)
    fine = quotient[:-1] + (quotient[:-1] - quotient[1:]) / 3
    rounding = 1.7 * np.maximum(steps.noise, EPS * np.abs(steps.base)) / h
    change = np.abs(fine[:-1] - fine[1:])
    change[~_smooth(steps)] = np.nan
    emerged = np.logical_or.accumulate(change > 3 * rounding[:-2], axis=0)
    judged = emerged[:-1] & (np.cumsum(emerged[:-1], axis=0) <= _AFTER) & np.isfinite(change[1:])
    slow, uneven = (np.any(judged & (change[1:] < growth * change[:-1]), axis=0) for growth in (4, 11))
    bar = np.where(uneven, 2 * bar, bar)
    steepest = np.max(np.where(emerged & np.isfinite(change), change / h[:-2], 0.0), axis=0)
    bars = 2 * rounding[:-1] + 4 * steepest * h[:-1]
    best = np.argmin(bars, axis=0), np.arange(value.size)
    return np.where(slow, fine[best], value), np.where(slow, np.maximum(bars[best], bar), bar)


def _smooth(steps: _Steps) -> Array:
    """Up to which of the steps no slope jumps: the second difference quadruples from each step to the next."""
    even = steps.right + steps.left
    kinked = np.abs(even[1:] - 4 * even[:-1]) > 0.25 * np.abs(even[1:]) + 32 * steps.noise
    return ~np.logical_or.accumulate(kinked | ~np.isfinite(even[1:]), axis=0)[1:]


def _hidden(
    change: Callable[[float], Array], steps: _Steps, value: Array, bar: Array, blur: Array, farthest: float
) -> Array:
    """How large a slope each output may hide on a plateau; 0 for those that are on none.

    A plateau is straight: on it, an output changes by t (value ± bar) ± blur.
    """

    def leaves(t: float, right: Array, left: Array) -> Array:
        off = np.maximum(np.abs(right - t * value), np.abs(left + t * value))
        return ~(off <= 8 * steps.noise + 4 * t * bar + blur)

    left_at = np.array([leaves(*step) for step in zip(steps.h, steps.right, steps.left, strict=True)])
    still = ~np.logical_or.accumulate(left_at, axis=0)
    flat, found = still[1], np.zeros(value.size)
    if not flat.any():
        return found
    # Up to which step it goes straight on, and from which on it does not.
    until = steps.h[np.maximum(np.sum(still, axis=0) - 1, 0)]
    moved = np.where(still[-1], np.inf, 2 * until)
    size = np.abs(steps.base)
    t = float(steps.h[-1])
    while np.isinf(moved[flat]).any() and t < farthest:
        t *= 4
        right, left = change(t), change(-t)
        ends, waits = leaves(t, right, left), np.isinf(moved)
        size = np.where(waits & ends, np.fmax(size, np.fmax(np.abs(right), np.abs(left))), size)
        until[waits & ~ends] = t
        moved[waits & ends] = t
    step = np.full(found.size, np.nan)
    (ending,) = np.nonzero(flat & np.isfinite(moved))
    for place in ending[np.argsort(until[ending])][:_MEASURED]:
        noise = float((8 * steps.noise + blur)[place])
        off = functools.partial(_off, change, value, int(place))
        step[place] = _first_step(off, float(until[place]), float(moved[place]), noise, float(4 * bar[place]))
    step[flat & np.isnan(step)] = np.max(step, where=np.isfinite(step), initial=0.0)
    rounded = flat & (step <= _COARSE * np.fmax(1.0, size))
    larger = flat & ~rounded & (step > 0)
    if larger.any():
        for t in (1.0, farthest / _FAR):  # what is small beside all that the output does is small
            size = np.fmax(size, np.fmax(np.abs(change(t)), np.abs(change(-t))))
        larger &= step <= _STAIRS * np.fmax(1.0, size)
    if larger.any():
        first = int(np.argmax(larger))  # the others are taken to be alike
        noise = float((8 * steps.noise + blur)[first])
        off = functools.partial(_off, change, value, first)
        if _on_stairs(off, float(until[first]), float(step[first]), noise, float(4 * bar[first])):
            rounded |= larger
    return np.where(rounded, step / until, found)


def _off(change: Callable[[float], Array], value: Array, place: int, t: float) -> float:
    return float((change(t) - t * value)[place])


def _on_stairs(off: Callable[[float], float], plateau: float, step: float, noise: float, bar: float) -> bool:
    """Whether there are steps like that at the end of the plateau in many places behind it."""
    found = 0
    for flight in range(1, _FLIGHTS + 1):
        start = 4.0**flight * plateau
        foot = off(start), off(-start)

        def climbed(t: float, start: float = start, foot: tuple[float, float] = foot) -> float:
            return off(start + t) - foot[0] if t >= 0 else off(t - start) - foot[1]

        found += step / 4 <= _first_step(climbed, 0.0, start, noise, bar) <= 4 * step
    return found >= _FOUND


def _first_step(off: Callable[[float], float], still: float, moved: float, noise: float, bar: float) -> float:
    """By how much an output steps off its plateau, somewhere between two steps; 0 if it leaves gradually.

    A step within twice the noise is one that the bar holds.
    """

    def sides(t: float) -> Array:
        return np.array([off(t), off(-t)])

    inside, outside = sides(still), sides(moved)
    for _ in range(_HALVINGS):
        if not np.max(np.abs(outside - inside)) > 2 * noise:
            return 0.0
        middle = (still + moved) / 2
        found = sides(middle)
        if np.max(np.abs(found)) <= noise + middle * bar:
            still, inside = middle, found
        else:
            moved, outside = middle, found
    return float(np.max(np.abs(outside - inside)))
