"""What cancels inside a vjp: rounding that moving its inputs by an ulp or two does not show.

gy · (1 − s) with s near 1, the gradient of many a loss far from its threshold, carries the rounding of s, that is
eps · |gy|, however small it is itself. Nor does s move when x moves by an ulp. Some of this rounding shows at
larger steps, when the vjp is walked along the line as the function is (see noise.py): it does not fit a smooth
curve. Some never shows, where s is 1 for long and the rest of a sum is smooth.

A gradient that was computed in float32, or cut off where it is small, does not fit a smooth curve either. So no
more than some units in the last place of gy are allowed, times the slope that the outputs themselves suggest.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minires.device import Array
from minires.testing.differences.directions import usual_size
from minires.testing.differences.noise import EPS, largest, noise_of, point_at

_RATIO = 4.0
_STEPS = tuple(2.0**k for k in range(-30, 3, 2))
_WINDOW = 15  # of the steps, for smooth curves; beyond they tell only of what stood still till there
_SEEN, _UNSEEN = 2.0**8, 1.0  # units in the last place of gy; float32 has 2²⁹ of them
_STEEPEST = 2.0**26  # how much the slope inside of a function may exceed |y| / |x|


def inner_slope(base: Array, x: Array, steepest: float) -> float:
    """How steep a function that takes ``x`` to ``base`` may be inside: |y| / |x|; 1 where that is up to ``steepest``
    times as much."""
    secant = largest(base) / float(usual_size(x))
    return max(secant, min(1.0, steepest * secant)) if secant else 0.0


def cancelled(
    gradient: Callable[[Array], Array], x: Array, d: Array, gy: Array, base: Array, missing: float = 0.0
) -> float:
    """The rounding of ⟨gradient, d⟩ that is believed: what shows when the point moves, within limits.

    Parameters
    ----------
    gradient : move -> what vjp gives for gy at x + move, of the shape of x; NaN where it gives nothing
    x, d : input and direction; each element is moved by no more than its own size
    gy : the gradient of the outputs, of like size where it is not 0
    base : the outputs
    missing : what the rounding must reach to be of use; the result is 0 if it cannot

    Returns
    -------
    a sum over the elements of d
    """
    used = d != 0
    units, usual = EPS * largest(gy) * np.abs(d[used]), float(usual_size(x))
    most = _SEEN * max(1.0, largest(base) / usual) * units
    if not np.sum(most) >= missing:
        return 0.0
    walk = np.sign(d) * np.fmin(np.abs(d), np.abs(x))

    def products(t: float) -> Array:
        return np.asarray(gradient(t * walk)[used] * d[used])

    here = products(0.0)
    points = [point_at(h, products(h), products(-h), here) for h in _STEPS]
    noise = noise_of(points[:_WINDOW], _RATIO)
    still = np.ones(here.shape, bool)
    for number, point in enumerate(points):
        fresh = still & (point.moves[0] | point.moves[1])
        if number >= _WINDOW // 2:
            noise[fresh] = np.maximum(np.abs(point.odd), np.abs(point.even))[fresh]
        still &= ~fresh
    unseen = _UNSEEN * inner_slope(base, x, _STEEPEST) * np.fmin(1.0, np.abs(x[used]) / usual) * units
    unseen[still] = 0  # what has been rounded moves, sooner or later
    return float(np.sum(np.fmax(np.fmin(4 * noise, most), unseen)))
