"""Look again at outputs whose derivative seems wrong, since their bars may be too narrow for one of two reasons.

*Plateaus.* 1 − cos x stands still near 0: cos x is 1 to the last digit, so all differences are 0, and the measured
noise is 0 as well. Farther away the output moves, in steps of size g, the rounding of cos x. An output that stands
still up to a step h only proves that its slope is below g / h; for a sum of such terms, below g / h for each term. The
end of the plateau shows g. A plateau need not be level: exp(x) − 1 − x falls by x alone until exp(x) takes its next
step. A g of a billionth is a rounding. A larger g is a step of the function itself, unless there are stairs of such
steps farther away. That is so where a difference is divided, as in (exp(x) − 1) / x, and where float16 computes.

*A second derivative that jumps.* Between two jumps a function is smooth. Over many jumps, as in a mean of Huber losses,
C(h) converges with h instead of h², and extrapolation does not help. The differences between extrapolated quotients
of a smooth function grow 16-fold when the steps double. With jumps they grow twofold or irregularly, from where they
emerge from the noise. The error at a step h is then taken to be at most 2 L h, with L from all coarser steps, and the
step with the least sum of this error and the noise is chosen. Where the third derivative jumps, the differences grow
eightfold in the end and irregularly before; then the first bar is kept, and doubled.

Both cost evaluations, so they are done only where claimed and numerical derivative disagree.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minires.device import Array
from minires.testing.differences.ladder import LADDERS, Derivatives, Line
from minires.testing.differences.noise import EPS

_COARSE = 2.0**-30  # steps of an output above this fraction of 1, and of the output itself, are not rounding
_STAIRS = 2.0**-10  # with stairs behind them, steps are rounding up to this fraction: float16's are the coarsest
_FLIGHTS, _FOUND = 12, 4  # where stairs are looked for, each time four times farther; and where they must be found
_FAR = 2.0**30  # how far to go, in units of 1 or of the direction, for an output to move
_MEASURED = 8  # outputs whose plateaus are measured; the others are taken to be alike
_HALVINGS = 40  # from a plateau to its end: an output that leaves it gradually, like a ReLU, has hardly moved there
_AFTER = 3  # levels at which differences must grow, from where they emerge


class _Steps(NamedTuple):
    """The change of some outputs at steps to both sides; axis 0 runs over the steps ``h``."""

    h: Array
    right: Array
    left: Array
    base: Array
    noise: Array


def look_again(line: Line, base: Array, slopes: Derivatives, gy: Array, d: Array, unit: float = 0.0) -> Derivatives:
    """Return ``slopes`` with other values and bars where the first look was too sure.

    Parameters
    ----------
    line : step -> outputs
    base, slopes : the outputs at 0, and their derivatives so far
    gy : nonzero for the outputs to look at
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
        first_value, first_bar = slopes.value[used], slopes.bar[used]
        value, bar = slopes.value.copy(), slopes.bar.copy()
        value[used], bar[used] = _allow_slow_convergence(steps, first_value, first_bar)
        reach = float(np.max(np.abs(d)))
        blur = 64 * EPS * np.abs(first_value) * unit / reach
        plateaus = _Plateaus(change, steps, first_value, first_bar, blur, _FAR * max(1.0, 1 / reach))
        terms = max(1.0, np.count_nonzero(d) / base.size)
        bar[used] = np.fmax(bar[used], terms * plateaus.hidden_slopes())
    return dataclasses.replace(slopes, value=value, bar=bar, doubted=True)


def _allow_slow_convergence(steps: _Steps, value: Array, bar: Array) -> tuple[Array, Array]:
    """Return value and bar of each output, changed where differences converge slowly."""
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
    """Return up to which steps no slope jumps: the second difference quadruples from each step to the next."""
    even = steps.right + steps.left
    kinked = np.abs(even[1:] - 4 * even[:-1]) > 0.25 * np.abs(even[1:]) + 32 * steps.noise
    return ~np.logical_or.accumulate(kinked | ~np.isfinite(even[1:]), axis=0)[1:]


class _Plateaus:
    """The plateaus of some outputs. A plateau is straight: on it, an output changes by t (value ± bar) ± blur.

    Parameters
    ----------
    change : step -> how far each output is from its value at 0
    steps : what ``change`` returned at the steps of a ladder
    value, bar, blur : of each output
    farthest : how far to go for an output to move
    """

    def __init__(
        self,
        change: Callable[[float], Array],
        steps: _Steps,
        value: Array,
        bar: Array,
        blur: Array,
        farthest: float,
    ) -> None:
        self.change, self.steps, self.value, self.bar, self.blur = change, steps, value, bar, blur
        self.farthest = farthest
        left_at = np.array([self._leaves(*step) for step in zip(steps.h, steps.right, steps.left, strict=True)])
        self.still = ~np.logical_or.accumulate(left_at, axis=0)
        self.flat = self.still[1]

    def hidden_slopes(self) -> Array:
        """Return how large a slope each output may hide on a plateau; 0 for an output that is on no plateau."""
        if not self.flat.any():
            return np.zeros(self.value.size)
        until, moved, size = self._follow()
        step = self._measure_steps(until, moved)
        rounded = self.flat & (step <= _COARSE * np.fmax(1.0, size))
        larger = self.flat & ~rounded & (step > 0)
        if larger.any():
            rounded |= self._with_stairs(larger, until, step, size)
        return np.where(rounded, step / until, 0.0)

    def _leaves(self, t: float, right: Array, left: Array) -> Array:
        """Return which outputs are off their plateau at step ``t``."""
        off = np.maximum(np.abs(right - t * self.value), np.abs(left + t * self.value))
        return ~(off <= 8 * self.steps.noise + 4 * t * self.bar + self.blur)

    def _follow(self) -> tuple[Array, Array, Array]:
        """Return up to which step each output is on its plateau, from which step on it is not, and its size there."""
        until = self.steps.h[np.maximum(np.sum(self.still, axis=0) - 1, 0)]
        moved = np.where(self.still[-1], np.inf, 2 * until)
        size = np.abs(self.steps.base)
        t = float(self.steps.h[-1])
        while np.isinf(moved[self.flat]).any() and t < self.farthest:
            t *= 4
            right, left = self.change(t), self.change(-t)
            ends, waits = self._leaves(t, right, left), np.isinf(moved)
            size = np.where(waits & ends, np.fmax(size, np.fmax(np.abs(right), np.abs(left))), size)
            until[waits & ~ends] = t
            moved[waits & ends] = t
        return until, moved, size

    def _measure_steps(self, until: Array, moved: Array) -> Array:
        """Return the size of the step at the end of each plateau."""
        step = np.full(self.value.size, np.nan)
        (ending,) = np.nonzero(self.flat & np.isfinite(moved))
        for index in ending[np.argsort(until[ending])][:_MEASURED]:
            step[index] = self._output(int(index)).first_step(float(until[index]), float(moved[index]))
        step[self.flat & np.isnan(step)] = np.max(step, where=np.isfinite(step), initial=0.0)
        return step

    def _with_stairs(self, larger: Array, until: Array, step: Array, size: Array) -> Array:
        """Return which of the ``larger`` steps are rounding, with stairs of such steps behind them."""
        for t in (1.0, self.farthest / _FAR):  # the step must be small beside the largest value that is seen
            size = np.fmax(size, np.fmax(np.abs(self.change(t)), np.abs(self.change(-t))))
        larger &= step <= _STAIRS * np.fmax(1.0, size)
        if larger.any():
            first = int(np.argmax(larger))  # the others are taken to be alike
            larger &= self._output(first).has_stairs(float(until[first]), float(step[first]))
        return larger

    def _output(self, index: int) -> _Output:
        def off(t: float) -> float:
            return float((self.change(t) - t * self.value)[index])

        return _Output(off, float((8 * self.steps.noise + self.blur)[index]), float(4 * self.bar[index]))


class _Output(NamedTuple):
    """One output: ``off(t)`` is its distance from the straight line; on the plateau at most noise + |t| · bar."""

    off: Callable[[float], float]
    noise: float
    bar: float

    def first_step(self, still: float, moved: float) -> float:
        """Return the size of the step off the plateau, between t = still and t = moved; 0 if it leaves gradually.

        A step within twice the noise counts as gradual, since the bar holds it already.
        """

        def sides(t: float) -> Array:
            return np.array([self.off(t), self.off(-t)])

        inside, outside = sides(still), sides(moved)
        for _ in range(_HALVINGS):
            if not np.max(np.abs(outside - inside)) > 2 * self.noise:
                return 0.0
            middle = (still + moved) / 2
            found = sides(middle)
            if np.max(np.abs(found)) <= self.noise + middle * self.bar:
                still, inside = middle, found
            else:
                moved, outside = middle, found
        return float(np.max(np.abs(outside - inside)))

    def has_stairs(self, plateau: float, step: float) -> bool:
        """Return whether, behind the end of the plateau, there are similar steps at many points."""
        starts = [4.0**flight * plateau for flight in range(1, _FLIGHTS + 1)]
        found = sum(step / 4 <= self._behind(start).first_step(0.0, start) <= 4 * step for start in starts)
        return found >= _FOUND

    def _behind(self, start: float) -> _Output:
        """Return the output as seen from ``start`` to the right and from −start to the left."""
        foot = self.off(start), self.off(-start)

        def climbed(t: float) -> float:
            return self.off(start + t) - foot[0] if t >= 0 else self.off(t - start) - foot[1]

        return self._replace(off=climbed)
