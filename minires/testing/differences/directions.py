"""Choose directions in which to move an input, such that the steps are exact in floating point.

An element of a direction is ± m · 2^e, where m has few bits. Steps are powers of two, or 23/32 of one. The two lowest
bits of the point itself are cleared. Then x ± h d is not rounded where h d is smaller than x, unless x is hundreds of
times larger than d. Where h d is larger than x, its relative rounding error is 2⁻⁵³.

The lowest bit of m is always set. Some functions round to a grid, as exp(x) − 1 does near 0. At steps that are
multiples of the grid's spacing they would always make the same error, which differences would not show.
"""

from __future__ import annotations

import numpy as np

from minires.device import Array

# Tried for every input; the others only if these leave a doubt.
USUAL = ("array", "element", "small")
PARTIAL = ("small", "gentle", "tied", "edge")  # these move some elements only, or not independently
FURTHER = ("finer", "spread", "coarser", "finest", "coarsest")
SMALL = 2.0**-16
_FACTORS = {"finer": 2.0**-10, "finest": 2.0**-20, "coarser": 2.0**10, "coarsest": 2.0**20}
_FACTORS |= dict.fromkeys(("array", "gentle", "edge"), 1.0)
_BITS = 12  # of an element of a direction: two elements have the same bits in one draw of 2¹⁰
_FEW_BITS = 5  # the same, where steps are so fine that more bits would be rounded away


def snap(array: Array) -> None:
    """Clear the two lowest bits of each mantissa of a float64 array, in place."""
    if array.dtype == np.float64:
        bits = array.view(np.int64)
        bits &= ~np.int64(3)


def signed(size: int | tuple[int, ...], rng: np.random.Generator, bits: int = _BITS) -> Array:
    """Return random numbers of both signs with magnitudes in [½, 1), of ``bits`` bits each; the lowest is set."""
    odd = 2 * rng.integers(2 ** (bits - 2), 2 ** (bits - 1), size) + 1
    return np.asarray(odd / 2.0**bits * rng.choice([-1.0, 1.0], size))


def power_of_two(value: Array | float) -> Array:
    """Return the largest power of two that is at most ``|value|``; 1 for zero, infinity and NaN."""
    mantissa, exponent = np.frexp(np.abs(value))
    usable = (mantissa > 0) & np.isfinite(mantissa)
    return np.where(usable, np.ldexp(0.5, np.where(usable, exponent, 1)), 1.0)


def direction(kind: str, x: Array, rng: np.random.Generator) -> Array | None:
    """Return a random direction in the space of ``x``; None where this kind of direction does not exist.

    Parameters
    ----------
    kind :
        "array" : every element moves by the rms of x
        "element" : every element moves by its own size, zeros by the rms
        "small" : like "element", but only the elements that "array" and "element" drown
        "finer", "coarser" : a thousandth, or a thousand times, of "array"
        "finest", "coarsest" : a millionth, or a million times, of "array"
        "spread" : by the standard deviation of x
        "tied" : like "array", but elements that are equal move equally
        "gentle", "edge" : like "array"; the verdict moves only some of the elements
    x : the point
    """
    if kind == "tied":
        values, index = np.unique(x, return_inverse=True)
        return usual_size(x) * signed(values.size, rng)[index.reshape(x.shape)] if values.size < x.size else None
    scale = _scale(kind, x)
    bits = _FEW_BITS if kind in ("finer", "finest") else _BITS
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
    """Return the mask of elements, other than zeros, that moves of the usual size drown."""
    return np.asarray((np.abs(x) < SMALL * usual_size(x)) & (x != 0))


def usual_size(x: Array) -> Array:
    """Return the rms of x as a power of two; 1 if the rms is zero."""
    finite = np.abs(x[np.isfinite(x)])
    largest = float(np.max(finite, initial=0.0))
    return power_of_two(largest * float(np.sqrt(np.mean((finite / largest) ** 2))) if largest else 0.0)


def move_by_ulps(x: Array, rng: np.random.Generator, keep_ties: bool = False) -> Array:
    """Return ``x`` with every element moved by up to two units in the last place; zeros stay zeros.

    With ``keep_ties``, equal elements move equally.
    """
    if keep_ties:
        values, index = np.unique(x, return_inverse=True)
        return np.asarray(move_by_ulps(values, rng)[index.reshape(x.shape)])
    return np.asarray(x * (1 + rng.integers(-2, 3, x.shape) * 2.0**-52))


def move_by_part(x: Array, part: float, rng: np.random.Generator, keep_ties: bool = False) -> Array:
    """Return ``x`` with every element moved by ½ to 1 times ``part`` of its size; zeros stay zeros.

    With ``keep_ties``, equal elements move equally.
    """
    if keep_ties:
        values, index = np.unique(x, return_inverse=True)
        return np.asarray(move_by_part(values, part, rng)[index.reshape(x.shape)])
    return np.asarray(x * (1 + part * signed(x.shape, rng)))
