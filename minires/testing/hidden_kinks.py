"""Kinks that no line through the point shows.

The median of three equal numbers and the middle eigenvalue of a multiple of the identity are smooth along every line
through the point, and have no derivative there: right beside the point the slope along one and the same direction is
another from place to place.
"""

from __future__ import annotations

import numpy as np

from minires.device import Array
from minires.testing.compare import Probe
from minires.testing.ladder import Derivatives
from minires.testing.noise import EPS

_BESIDE, _FARTHER = 2.0**-32, 2.0**-20  # nearer than the finest step; and where to look whether slopes just curve
_DRAWS = 8


def torn(probe: Probe, number: int, d: Array, slopes: Derivatives) -> Array:
    """The outputs whose slope along ``d`` right beside the point depends on where.

    The slope of a smooth function does so the less the nearer; and that of the maximum of equal numbers, along a
    direction in which they move equally, does not at all.
    """
    noise = np.maximum(slopes.noise, EPS * np.abs(probe.contract.base)) / _step(_BESIDE)
    near = _spread(probe, number, d, _BESIDE)
    found = near > 64 * noise
    return np.asarray(found & (near > _spread(probe, number, d, _FARTHER) / 16)) if found.any() else found


def _spread(probe: Probe, number: int, d: Array, distance: float) -> Array:
    found, h = [], _step(distance)
    for _ in range(_DRAWS):
        offset = distance * np.max(np.abs(d)) * (2 * probe.rng.random(d.shape) - 1)
        line = probe.line(number, d, np.where(d != 0, offset, 0.0))
        found.append((line(h) - line(-h)) / (2 * h))
    return np.asarray(np.ptp(found, axis=0))


def _step(distance: float) -> float:
    return distance / 8
