"""Find where a function has no derivative: on kinks, at infinite slopes, and at the end of its domain.

Most kinks show along a line, where the left and right slopes differ. Some do not. The median of three equal numbers
and the middle eigenvalue of a multiple of the identity are smooth along every line through the point, but have no
derivative there. Beside the point, the slope along one direction changes from point to point.
"""

from __future__ import annotations

import numpy as np

from minires.device import Array
from minires.testing.differences.bisection import elements_that, part_of
from minires.testing.differences.compare import Probe
from minires.testing.differences.directions import power_of_two, signed
from minires.testing.differences.ladder import FINEST, Derivatives
from minires.testing.differences.noise import EPS

_BESIDE, _FARTHER = 2.0**-32, 2.0**-20  # nearer than the finest step; and where to see whether slopes just curve
_DRAWS = 8  # points at which slopes are compared
_PART = 2.0**-10  # of a slope: less is rounding
_NEAR = 2.0**-22  # a kink is looked for at this step
_ROOM = 2.0**-18  # a direction should stay in the function's domain up to this step
_CLOSEST = 2.0**-40  # but not for elements that are closer to its end than this
_CLOSE = 2.0**-16  # where a slope is compared with that at the closest step
_PATIENCE = 512  # parts of a direction that are tried


def hidden_kinks(probe: Probe, d: Array, slopes: Derivatives) -> Array:
    """Return the mask of outputs whose slope along ``d`` changes between points right beside the point.

    Between nearer points, the slope of a smooth function changes less. For the maximum of equal numbers, and a
    direction in which they move equally, the slope does not change at all.
    """
    noise = np.maximum(slopes.noise, EPS * np.abs(probe.contract.base)) / (_BESIDE / 8)
    near = _slopes_beside(probe, d, _BESIDE)
    spread = np.ptp(near, axis=0)
    found = np.asarray((spread > 64 * noise) & (spread > _PART * np.max(np.abs(near), axis=0)))
    if found.any():
        found &= spread > np.ptp(_slopes_beside(probe, d, _FARTHER), axis=0) / 16
    return found


def _slopes_beside(probe: Probe, d: Array, distance: float) -> Array:
    """Return slopes along ``d`` at points where each element moved by at most ``distance`` times its step in ``d``."""
    found, h = [], distance / 8
    for _ in range(_DRAWS):
        offset = np.where(d != 0, distance * signed(d.shape, probe.rng) * power_of_two(d), 0.0)  # exact, as d is
        line = probe.line(d, offset)
        found.append((line(h) - line(-h)) / (2 * h))
    return np.array(found)


def find_kinks(probe: Probe, d: Array) -> Array | None:
    """Return the mask of elements that are on a kink; None if there are too many.

    At a kink f(h) + f(−h) − 2 f(0) is of the size of h, elsewhere of h². The direction is cut in two, and each
    part that shows a kink is cut again. If that takes too long, all elements that are zero or equal to another are
    taken, provided that the others show no kink.
    """
    base = probe.contract.base

    def is_bent(part: Array) -> bool:
        line = probe.line(part)
        plus, minus = line(_NEAR) - base, line(-_NEAR) - base
        slope = float(np.max(np.abs(plus - minus), initial=0.0))
        bend = float(np.max(np.abs(plus + minus), initial=0.0))
        return not bend <= 1e-4 * slope

    indices = elements_that(is_bent, d, _PATIENCE)
    if indices is None:
        _, index, counts = np.unique(probe.x, return_inverse=True, return_counts=True)
        likely = np.asarray((counts[index.reshape(d.shape)] > 1) | (probe.x == 0))
        return None if is_bent(np.where(likely, 0.0, d)) else likely
    found = np.zeros(d.shape, bool)
    found.flat[indices] = True
    return found


def is_steep(probe: Probe, d: Array) -> bool:
    """Return whether an output's slope grows without end towards the point, as that of a root or of x·log x at 0.

    The test finds even |t|^0.99: its slope grows by a sixth from the far step to the near one.
    """
    line, base = probe.line(d), probe.contract.base
    for side in (1.0, -1.0):
        near, far = (np.abs(line(side * t) - base) / t for t in (_CLOSEST, _CLOSE))
        if (near > 1.1 * far).any():
            return True
    return False


def find_room(probe: Probe, d: Array) -> Array | None:
    """Return by how much each element may move along ``d`` within the domain: a power of two, at most 1.

    None if nothing is gained, if the finest steps would move nothing, or if it would take too many evaluations.
    """
    expected = np.isfinite(probe.contract.base)

    def leaves_domain(part: Array) -> bool:
        line = probe.line(part)
        return not all(np.isfinite(line(t)[expected]).all() for t in (_ROOM, -_ROOM))

    indices = elements_that(leaves_domain, d, _PATIENCE)
    if indices is None or not indices.size:
        return None
    room = np.ones(d.shape)
    for flat in indices:
        alone = part_of(d, np.array([flat]))
        while leaves_domain(room.flat[flat] * alone):
            room.flat[flat] /= 16
            finest = 2.0**FINEST * room.flat[flat] * d.flat[flat]
            if room.flat[flat] < _CLOSEST or probe.x.flat[flat] + finest == probe.x.flat[flat]:
                return None
    return room
