"""Kinks that no line through the point shows.

The median of three equal numbers and the middle eigenvalue of a multiple of the identity are smooth along every line
through the point, and have no derivative there: right beside the point the slope along one and the same direction is
another from place to place.
"""

from __future__ import annotations

import numpy as np

from minires.device import Array
from minires.testing.differences.compare import Probe
from minires.testing.differences.directions import power_of_two, signed
from minires.testing.differences.ladder import Derivatives
from minires.testing.differences.noise import EPS

_BESIDE, _FARTHER = 2.0**-32, 2.0**-20  # nearer than the finest step; and where to look whether slopes just curve
_DRAWS = 8
_PART = 2.0**-10  # of a slope: less is rounding


def torn(probe: Probe, number: int, d: Array, slopes: Derivatives) -> Array:
    """The outputs whose slope along ``d`` right beside the point depends on where.

    The slope of a smooth function does so the less the nearer; and that of the maximum of equal numbers, along a
    direction in which they move equally, does not at all.
    """
    noise = np.maximum(slopes.noise, EPS * np.abs(probe.contract.base)) / _step(_BESIDE)
    near = _slopes(probe, number, d, _BESIDE)
    spread = np.ptp(near, axis=0)
    found = np.asarray((spread > 64 * noise) & (spread > _PART * np.max(np.abs(near), axis=0)))
    if found.any():
        found &= spread > np.ptp(_slopes(probe, number, d, _FARTHER), axis=0) / 16
    return found


def _slopes(probe: Probe, number: int, d: Array, distance: float) -> Array:
    """Slopes along ``d`` at places to which each element moves by no more than that part of its step in ``d``."""
    found, h = [], _step(distance)
    for _ in range(_DRAWS):
        offset = np.where(d != 0, distance * signed(d.shape, probe.rng) * power_of_two(d), 0.0)  # exact, as d is
        line = probe.line(number, d, offset)
        found.append((line(h) - line(-h)) / (2 * h))
    return np.array(found)


def _step(distance: float) -> float:
    return distance / 8
