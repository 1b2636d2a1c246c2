"""Where to move the inputs, and how far: directions whose steps are exact in floating point.

A direction's elements are ± m · 2^e with m of five bits, steps are powers of two (or three quarters of one),
and the point itself has its two lowest bits cleared: x ± h d then carries no rounding error where h d is
smaller than x, and one of relative size 2⁻⁵³ in h d where it is larger.
"""

from __future__ import annotations

import numpy as np

from minires.device import Array

# Tried for every input; the others only if these leave a doubt.
USUAL = ("array", "element", "small")
PARTIAL = ("small",)  # these move some elements only
FURTHER = ("finer", "spread", "coarser")
_SMALL = 2.0**-16


def snap(array: Array) -> Array:
    """``array`` with the two lowest bits of each mantissa cleared, in place where it is float64; returned."""
    if array.dtype == np.float64:
        bits = array.view(np.int64)
        bits &= ~np.int64(3)
    return array


def signed(size: int | tuple[int, ...], rng: np.random.Generator) -> Array:
    """Random numbers of either sign with magnitudes in [½, 1), of five bits."""
    return np.asarray(rng.integers(16, 32, size) / 32 * rng.choice([-1.0, 1.0], size))


def power_of_two(value: Array | float) -> Array:
    """The largest power of two that is at most ``|value|``; 1 for zero and what is not finite."""
    mantissa, exponent = np.frexp(np.abs(value))
    usable = (mantissa > 0) & np.isfinite(mantissa)
    return np.where(usable, np.ldexp(0.5, np.where(usable, exponent, 1)), 1.0)


def direction(kind: str, x: Array, rng: np.random.Generator) -> Array | None:
    """A random direction in the space of ``x``; None where this kind of direction does not exist.

    Parameters
    ----------
    kind : "array" (every element moves by the rms of x), "element" (every element moves by its own size, zeros
        by the rms), "small" (as "element", but only the elements that "array" and "element" drown),
        "finer" and "coarser" (a thousandth, and a thousand times, of "array"), "spread" (by the standard
        deviation of x)
    x : the point
    """
    scale = _scale(kind, x)
    return None if scale is None else np.asarray(signed(x.shape, rng) * scale)


def _scale(kind: str, x: Array) -> Array | None:
    finite = np.abs(x[np.isfinite(x)])
    largest = float(np.max(finite, initial=0.0))
    rms = largest * float(np.sqrt(np.mean((finite / largest) ** 2))) if largest else 1.0
    usual = power_of_two(rms)
    if kind == "array":
        return usual
    if kind == "element":
        return np.where(x == 0, usual, power_of_two(x)) if x.size > 1 else None
    if kind == "small":
        small = (np.abs(x) < _SMALL * rms) & (x != 0)
        return np.where(small, power_of_two(x), 0) if small.any() else None
    if kind == "finer":
        return usual * 2.0**-10
    if kind == "coarser":
        return usual * 2.0**10
    spread = float(np.std(x)) if x.size > 1 else 0.0
    return power_of_two(spread) if 0 < spread < 0.25 * rms else None


def move_by_ulps(x: Array, rng: np.random.Generator) -> Array:
    """``x`` with every element moved by up to two units in the last place; zeros stay zeros."""
    return np.asarray(x * (1 + rng.integers(-2, 3, x.shape) * 2.0**-52))
