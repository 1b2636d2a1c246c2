"""Measure the rounding inside a vjp that moving its inputs by an ulp or two does not show.

gy · (1 − s) with s near 1 carries the rounding of s, eps · |gy|, however small the product itself is. The gradient of
many losses has this form far from the threshold. s does not move when x moves by an ulp. Some of this rounding shows
at larger steps, when the vjp is walked along a line as the function is (see noise.py): the values do not fit a smooth
curve. Some never shows, where s is 1 for long and the other terms of a sum are smooth.

A gradient that is computed in float32, or cut off where it is small, does not fit a smooth curve either. So the
rounding that is allowed is limited to some units in the last place of gy, times the slope that the outputs suggest.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minires.device import Array
from minires.testing.differences.contract import inner_slope
from minires.testing.differences.directions import usual_size
from minires.testing.differences.noise import EPS, largest, noise_of, sample_at

_RATIO = 4.0
_STEPS = tuple(2.0**k for k in range(-30, 3, 2))
_WINDOW = 15  # steps that show smooth curves; later steps only show which products stood still up to there
_SEEN, _UNSEEN = 2.0**8, 1.0  # units in the last place of gy; an error of float32 has 2²⁹ of them
_STEEPEST = 2.0**26  # how much the slope inside a function may exceed |y| / |x|


def cancelled(
    gradient: Callable[[Array], Array], x: Array, d: Array, gy: Array, base: Array, missing: float = 0.0
) -> float:
    """Return the rounding of ⟨gradient, d⟩, summed over the elements of d, that shows when the point moves.

    Parameters
    ----------
    gradient : move -> what vjp returns for gy at x + move, in the shape of x; NaN where it cannot be computed
    x, d : input and direction; each element is moved by no more than its own size
    gy : the gradient of the outputs; its nonzero elements are of similar size
    base : the outputs
    missing : the rounding that would be enough; 0 is returned at once if it cannot be reached
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
    samples = [sample_at(h, products(h), products(-h), here) for h in _STEPS]
    noise = noise_of(samples[:_WINDOW], _RATIO)
    still = np.ones(here.shape, bool)
    for index, sample in enumerate(samples):
        fresh = still & (sample.moves[0] | sample.moves[1])
        if index >= _WINDOW // 2:
            noise[fresh] = np.maximum(np.abs(sample.odd), np.abs(sample.even))[fresh]
        still &= ~fresh
    unseen = _UNSEEN * inner_slope(base, x, _STEEPEST) * np.fmin(1.0, np.abs(x[used]) / usual) * units
    unseen[still] = 0  # a rounded product moves, sooner or later
    return float(np.sum(np.fmax(np.fmin(4 * noise, most), unseen)))
