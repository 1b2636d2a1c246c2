"""Find the element at which a gradient is wrong, and say what the error looks like."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from minires.device import Array
from minires.testing.differences.bisection import Elements, index_of, look_at, most_wrong, part_of
from minires.testing.differences.compare import Comparison, Probe, exact_dot
from minires.testing.differences.hints import hint
from minires.testing.differences.ladder import Derivatives
from minires.testing.report import Finding
from minires.testing.reproduce.snippet import extrapolate, of_differences


def localise(probe: Probe, d: Array, slopes: Derivatives, wrong: Comparison) -> Finding:
    """Return a finding for one element of a direction along which claimed ≠ numerical, if one shows the error alone.

    If the search fails for whatever reason, return one for the direction itself: the verdict must not be lost.
    """
    try:
        return _localise(probe, d, slopes, wrong)
    except Exception:  # of user code at other points, or of the search: the gradient is wrong in any case
        return wrong.as_finding(probe.pair, probe.argument, _usual_step(slopes, wrong.gy))


def _localise(probe: Probe, d: Array, slopes: Derivatives, wrong: Comparison) -> Finding:
    step = _usual_step(slopes, wrong.gy)
    estimates = _Estimates(probe, wrong, slopes, step)
    found = look_at(estimates.look, d, probe.rng)
    flat = found.most_wrong
    if flat is None:
        flat = most_wrong(d, estimates.error)
    single = np.abs(part_of(d, np.array([flat])))
    at_one = probe.derivatives(single)
    gy = np.where(at_one.sharp, wrong.gy, 0.0)
    comparison = probe.compare(single, at_one, gy)
    if not comparison.agrees:
        at_one = probe.look_again(single, at_one, gy)
        comparison = probe.compare(single, at_one, gy)
    wrong_ones, looks_like = found.described(probe.label), estimates.hint(found)
    if comparison.agrees:  # too small to see in one element, so the error is spread over many
        finding = wrong.as_finding(probe.pair, probe.argument, _usual_step(slopes, wrong.gy, step))
        along, gy = d, wrong.gy
    else:
        index, scale = index_of(flat, d), float(single.flat[flat])
        step = _usual_step(at_one, comparison.gy, step)
        finding = comparison.as_finding(probe.pair, probe.argument, step * scale, index, scale)
        along, gy = np.zeros_like(d), comparison.gy
        along[index] = 1.0
    start = float(2.0 ** np.round(np.log2(finding.step)))
    near = [start * 2.0**k for k in range(-12, 13, 3)]
    with np.errstate(all="ignore"):
        text = of_differences(probe.pair, finding, along, gy, _slope(probe, along, gy), near)
    return dataclasses.replace(finding, snippet=text, wrong=wrong_ones, hint=looks_like)


def _slope(probe: Probe, d: Array, gy: Array) -> Callable[[float], float]:
    """Return the function step -> the central difference of ⟨gy, f⟩ along ``d``."""
    line, used = probe.line(d), gy != 0
    return lambda h: exact_dot(gy[used], line(h)[used] - line(-h)[used]) / (2 * h)


def _usual_step(slopes: Derivatives, gy: Array, otherwise: float = 2.0**-10) -> float:
    """Return the median step at which the outputs with nonzero gy were measured; ``otherwise`` if none moves."""
    used = (gy != 0) & (slopes.variation > 0)
    return float(np.median(slopes.step[used])) if used.any() else otherwise


class _Estimates:
    """Cheap estimates of the derivative of ⟨gy, f⟩ along parts of a direction, six evaluations each."""

    def __init__(self, probe: Probe, wrong: Comparison, slopes: Derivatives, step: float) -> None:
        self.probe, self.gy, self.step = probe, wrong.gy, step
        g = probe.gradient(wrong.gy)
        self.g = np.zeros(probe.x.shape) if g is None else g
        used = wrong.gy != 0
        self.noise = exact_dot(np.abs(wrong.gy[used]), slopes.noise[used]) / step
        self.bound = wrong.bar + wrong.rounding

    def _measure(self, d: Array) -> tuple[float, float]:
        """Return the derivative along ``d``, and how far it may be off."""
        slope = _slope(self.probe, d, self.gy)
        slopes = [slope(self.step * 2.0**k) for k in range(3)]
        value = extrapolate(*slopes)
        once = slopes[0] + (slopes[0] - slopes[1]) / 3
        return value, 2 * (abs(value - once) + self.noise)

    def error(self, d: Array) -> float:
        """Return the claimed derivative minus the measured one."""
        return exact_dot(self.g, d) - self._measure(d)[0]

    def look(self, d: Array) -> tuple[float, float, float]:
        """Return the claimed derivative, the measured one, and by how much they may differ."""
        value, blur = self._measure(d)
        return exact_dot(self.g, d), value, blur + self.bound

    def hint(self, found: Elements) -> str:
        """Return what kind of mistake this looks like, or ""."""
        d, rng = found.d, self.probe.rng
        parts = [np.where(rng.random(d.shape) < 0.5, d, 0.0) for _ in range(5)] if d.size > 1 else []
        measured: list[float] = []

        def holds_everywhere(g: Array) -> bool:
            measured[:] = measured or [self._measure(part)[0] for part in (*parts, d)]
            claimed = [exact_dot(g, part) for part in (*parts, d)]
            scale = max(map(abs, measured))
            return all(abs(a - b) <= 1e-6 * scale for a, b in zip(claimed, measured, strict=True))

        return hint(found, self.g, holds_everywhere)
