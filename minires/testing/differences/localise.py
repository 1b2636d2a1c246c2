"""Where a gradient is wrong: bisection of the direction down to one element, and what the error looks like."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from minires.device import Array
from minires.testing.differences.bisection import elements_that, index_of, most_wrong, part_of
from minires.testing.differences.compare import Comparison, Probe, exact_dot
from minires.testing.differences.elements import Elements, look_at
from minires.testing.differences.hints import hint
from minires.testing.differences.ladder import FINEST, Derivatives
from minires.testing.report import Finding
from minires.testing.reproduce.snippet import extrapolate, of_differences

_NEAR = 2.0**-22  # a kink is looked for at this step
_ROOM = 2.0**-18  # a direction should stay in the function's domain up to this step
_CLOSEST = 2.0**-40  # but not for elements that are closer to its end than this
_CLOSE = 2.0**-16  # where a slope is compared with that at the closest step
_PATIENCE = 512  # parts of a direction that are tried for kinks


def localise(probe: Probe, number: int, d: Array, slopes: Derivatives, wrong: Comparison) -> Finding:
    """The element (if one shows the error by itself) of a direction along which claimed ≠ numerical.

    Where that fails for whatever reason, the direction itself is told: an error in looking is no verdict.
    """
    try:
        return _localise(probe, number, d, slopes, wrong)
    except Exception:
        return _finding(probe, number, wrong, _usual_step(slopes, wrong.gy))


def _localise(probe: Probe, number: int, d: Array, slopes: Derivatives, wrong: Comparison) -> Finding:
    step = _usual_step(slopes, wrong.gy)
    bench = _Bench(probe, number, wrong, slopes, step)
    found = look_at(bench.look, d, probe.rng)
    place = found.most_wrong
    if place is None:
        place = most_wrong(d, bench.error)
    single = np.abs(part_of(d, np.array([place])))
    at_one = probe.derivatives(number, single)
    gy = np.where(at_one.sharp, wrong.gy, 0.0)
    comparison = probe.compare(number, single, at_one, gy)
    if not comparison.agrees:
        at_one = probe.closer(number, single, at_one, gy)
        comparison = probe.compare(number, single, at_one, gy)
    wrong_ones, looks_like = found.described(probe.pair.labels[number]), bench.hint(found)
    if comparison.agrees:  # too small to see in one element, so the error is spread over many
        finding = _finding(probe, number, wrong, _usual_step(slopes, wrong.gy, step))
        along, gy = d, wrong.gy
    else:
        index, scale = index_of(place, d), float(single.flat[place])
        step = _usual_step(at_one, comparison.gy, step)
        finding = _finding(probe, number, comparison, step * scale, index, scale)
        along, gy = np.zeros_like(d), comparison.gy
        along[index] = 1.0
    start = float(2.0 ** np.round(np.log2(finding.step)))
    near = [start * 2.0**k for k in range(-12, 13, 3)]
    with np.errstate(all="ignore"):
        text = of_differences(probe.pair, finding, along, gy, _slope(probe, number, along, gy), near)
    return dataclasses.replace(finding, snippet=text, wrong=wrong_ones, hint=looks_like)


def _finding(
    probe: Probe,
    number: int,
    shown: Comparison,
    step: float,
    index: tuple[int, ...] | None = None,
    scale: float = 1.0,
) -> Finding:
    return Finding(
        argument=number,
        index=index,
        claimed=shown.claimed / scale,
        numerical=shown.numerical / scale,
        bar=shown.bar / scale,
        rounding=shown.rounding / scale,
        step=step,
        label=probe.pair.labels[number],
    )


def _slope(probe: Probe, number: int, d: Array, gy: Array) -> Callable[[float], float]:
    """step -> the central difference of ⟨gy, f⟩ along ``d``."""
    line, used = probe.line(number, d), gy != 0
    return lambda h: exact_dot(gy[used], line(h)[used] - line(-h)[used]) / (2 * h)


def _usual_step(slopes: Derivatives, gy: Array, otherwise: float = 2.0**-10) -> float:
    """The step at which the outputs of which gy tells were measured best; those that never move are at any."""
    used = (gy != 0) & (slopes.variation > 0)
    return float(np.median(slopes.step[used])) if used.any() else otherwise


def is_steep(probe: Probe, number: int, d: Array) -> bool:
    """Whether an output's slope to one side of the point grows without end, as that of a root or x·log x at 0.

    A hundredth of a power is enough: from the far to the near step, |t|^0.99 gets steeper by a sixth.
    """
    line, base = probe.line(number, d), probe.contract.base
    for side in (1.0, -1.0):
        near, far = (np.abs(line(side * t) - base) / t for t in (_CLOSEST, _CLOSE))
        if (near > 1.1 * far).any():
            return True
    return False


def find_kinks(probe: Probe, number: int, d: Array) -> Array | None:
    """The elements of input ``number`` that sit on a kink, as a mask; None if they are too many.

    At a kink f(h) + f(−h) − 2 f(0) is of the size of h, elsewhere of h²: halves of the direction that show
    it are halved on. Should that take too long, all elements that are zero or equal to another are taken, if that
    leaves none on a kink.
    """
    base, line_of = probe.contract.base, probe.line

    def rough(part: Array) -> bool:
        line = line_of(number, part)
        plus, minus = line(_NEAR) - base, line(-_NEAR) - base
        slope = float(np.max(np.abs(plus - minus), initial=0.0))
        bend = float(np.max(np.abs(plus + minus), initial=0.0))
        return not bend <= 1e-4 * slope

    places = elements_that(rough, d, _PATIENCE)
    if places is None:
        likely = _tied(probe.pair.arrays[number])
        return None if rough(np.where(likely, 0.0, d)) else likely
    found = np.zeros(d.shape, bool)
    found.flat[places] = True
    return found


def _tied(x: Array) -> Array:
    _, index, counts = np.unique(x, return_inverse=True, return_counts=True)
    return np.asarray((counts[index.reshape(x.shape)] > 1) | (x == 0))


def find_room(probe: Probe, number: int, d: Array) -> Array | None:
    """For each element the largest power of two, at most 1, by which it may move along ``d`` and be computable.

    None if nothing is gained, if the finest steps would move nothing, or if it would take too many evaluations.
    """
    line_of, expected = probe.line, np.isfinite(probe.contract.base)
    x = probe.pair.arrays[number]

    def refused(part: Array) -> bool:
        line = line_of(number, part)
        return not all(np.isfinite(line(t)[expected]).all() for t in (_ROOM, -_ROOM))

    places = elements_that(refused, d, _PATIENCE)
    if places is None or not places.size:
        return None
    room = np.ones(d.shape)
    for place in places:
        alone = part_of(d, np.array([place]))
        while refused(room.flat[place] * alone):
            room.flat[place] /= 16
            finest = 2.0**FINEST * room.flat[place] * d.flat[place]
            if room.flat[place] < _CLOSEST or x.flat[place] + finest == x.flat[place]:
                return None
    return room


class _Bench:
    """Cheap estimates (six evaluations) of the derivative of ⟨gy, f⟩ along parts of a direction."""

    def __init__(self, probe: Probe, number: int, wrong: Comparison, slopes: Derivatives, step: float) -> None:
        self.probe, self.number, self.gy, self.step = probe, number, wrong.gy, step
        g = probe.pair.gradient(wrong.gy)[number]
        self.g = np.zeros(probe.pair.arrays[number].shape) if g is None else g
        used = wrong.gy != 0
        self.noise = exact_dot(np.abs(wrong.gy[used]), slopes.noise[used]) / step
        self.bound = wrong.bar + wrong.rounding

    def numerical(self, d: Array) -> float:
        return self._measure(d)[0]

    def _measure(self, d: Array) -> tuple[float, float]:
        """The derivative along ``d``, and how far it may be off."""
        slope = _slope(self.probe, self.number, d, self.gy)
        slopes = [slope(self.step * 2.0**k) for k in range(3)]
        value = extrapolate(*slopes)
        once = slopes[0] + (slopes[0] - slopes[1]) / 3
        return value, 2 * (abs(value - once) + self.noise)

    def error(self, d: Array) -> float:
        return exact_dot(self.g, d) - self.numerical(d)

    def look(self, d: Array) -> tuple[float, float, float]:
        """Claimed, numerical, and the difference that shows nothing."""
        value, blur = self._measure(d)
        return exact_dot(self.g, d), value, blur + self.bound

    def hint(self, found: Elements) -> str:
        """What kind of mistake this looks like, if it is a known one."""
        d, rng = found.d, self.probe.rng
        parts = [np.where(rng.random(d.shape) < 0.5, d, 0.0) for _ in range(5)] if d.size > 1 else []
        measured: list[float] = []

        def holds_everywhere(g: Array) -> bool:
            measured[:] = measured or [self.numerical(part) for part in (*parts, d)]
            claimed = [exact_dot(g, part) for part in (*parts, d)]
            scale = max(map(abs, measured))
            return all(abs(a - b) <= 1e-6 * scale for a, b in zip(claimed, measured, strict=True))

        return hint(found, self.g, holds_everywhere)
