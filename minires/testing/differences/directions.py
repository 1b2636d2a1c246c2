"""Where to move the inputs, and how far: directions whose steps are exact in floating point.

A direction's elements are ± m · 2^e with m of few bits, steps are powers of two (or 23/32 of one), and
the point itself has its two lowest bits cleared: x ± h d then carries no rounding error where h d is smaller than
x (unless x is hundreds of times d), and one of relative size 2⁻⁵³ in h d where it is larger.

The lowest bit of m is always set. A function that rounds to a grid, as exp(x) − 1 does near 0, would make the same
error at every step that is a multiple of the grid's, and would look as if it made none.
"""

from __future__ import annotations

import numpy as np

from minires.device import Array

# Tried for every input; the others only if these leave a doubt.
USUAL = ("array", "element", "small")
PARTIAL = ("small", "gentle", "tied", "edge")  # these move some elements only, or not independently
FURTHER = ("finer", "spread", "coarser", "finest", "coarsest")
SMALL = 2.0**-16
_FACTORS = {"array": 1.0, "edge": 1.0, "finer": 2.0**-10, "finest": 2.0**-20, "coarser": 2.0**10, "coarsest": 2.0**20}
_BITS = 12  # of a direction's elements: two are alike in one draw of 2¹⁰
_FEW = 5  # the same, where steps are so fine that more bits would be rounded away


def snap(array: Array) -> Array:
    """``array`` with the two lowest bits of each mantissa cleared, in place where it is float64; returned."""
    if array.dtype == np.float64:
        bits = array.view(np.int64)
        bits &= ~np.int64(3)
    return array


def signed(size: int | tuple[int, ...], rng: np.random.Generator, bits: int = _BITS) -> Array:
    """Random numbers of either sign with magnitudes in [½, 1), of so many bits, of which the lowest is set."""
    odd = 2 * rng.integers(2 ** (bits - 2), 2 ** (bits - 1), size) + 1
    return np.asarray(odd / 2.0**bits * rng.choice([-1.0, 1.0], size))


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
        "finer" and "coarser" (a thousandth, and a thousand times, of "array"), "finest" and "coarsest" (a
        millionth, and a million times), "spread" (by the standard deviation of x), "tied" (as "array", but
        elements that are equal move equally)
    x : the point
    """
    if kind == "tied":
        values, index = np.unique(x, return_inverse=True)
        return usual_size(x) * signed(values.size, rng)[index.reshape(x.shape)] if values.size < x.size else None
    scale = _scale(kind, x)
    bits = _FEW if kind in ("finer", "finest") else _BITS
    return None if scale is None else np.asarray(signed(x.shape, rng, bits) * scale)


def _scale(kind: str, x: Array) -> Array | None:
    usual = usual_size(x)
    if kind in _FACTORS:
        return usual * _FACTORS[kind]
    if kind == "element":
        return np.where(x == 0, usual, power_of_two(x)) if x.size > 1 else None
    if kind == "small":
        small = is_small(x)
        return np.where(small, power_of_two(x), 0) if small.any() else None
    spread = float(np.std(x)) if x.size > 1 else 0.0
    return power_of_two(spread) if 0 < spread < 0.25 * usual else None


def is_small(x: Array) -> Array:
    """The elements that are so small beside the others that moves as large as theirs drown them; not zeros."""
    return np.asarray((np.abs(x) < SMALL * usual_size(x)) & (x != 0))


def usual_size(x: Array) -> Array:
    """The rms of x as a power of two; 1 if that is zero."""
    finite = np.abs(x[np.isfinite(x)])
    largest = float(np.max(finite, initial=0.0))
    return power_of_two(largest * float(np.sqrt(np.mean((finite / largest) ** 2))) if largest else 0.0)


def move_by_ulps(x: Array, rng: np.random.Generator, tied: bool = False) -> Array:
    """``x`` with every element moved by up to two units in the last place, equal ones equally if ``tied``.

    Zeros stay zeros.
    """
    if tied:
        values, index = np.unique(x, return_inverse=True)
        return np.asarray(move_by_ulps(values, rng)[index.reshape(x.shape)])
    return np.asarray(x * (1 + rng.integers(-2, 3, x.shape) * 2.0**-52))


def move_by_part(x: Array, part: float, rng: np.random.Generator, tied: bool = False) -> Array:
    """Return ``x`` with every element moved by half of ``part`` of its size or more, equal ones equally if ``tied``.

    Zeros stay zeros.
    """
    if tied:
        values, index = np.unique(x, return_inverse=True)
        return np.asarray(move_by_part(values, part, rng)[index.reshape(x.shape)])
    return np.asarray(x * (1 + part * signed(x.shape, rng)))
