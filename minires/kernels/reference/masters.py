"""What a step of parameters in float16 needs beside the optimizer's: gradients in float32, and masters.

A master is a parameter's copy in float32, which an optimizer updates in its place: a float16 has 11 digits, so
that what is less than a 4096th of a parameter would not change it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minires.device import Array, wide_dtype, xp_of
from minires.kernels.checks import check_beside


def unscale(gs: Sequence[Array], factor: float) -> tuple[Array, ...]:
    """Multiples of gradients, those in float16 as float32.

        f = factor · g                                                            (1)
        finite = whether no element of any f is infinite or NaN                   (2)

    Parameters
    ----------
    gs : the gradients g, at least one, all of one dtype
    factor : a number

    Returns
    -------
    f, …, finite : an f for each g, in float32 where that is float16; and a boolean array of no axes

    Raises
    ------
    ShapeError : if there are no gradients.
    DtypeError : if the dtypes differ.

    Identity that tests it: with the factor 1, equal to the gradients.
    """
    check_beside("unscale", gs)
    found: list[Array] = [xp_of(g).empty_like(g, dtype=wide_dtype(g.dtype)) for g in gs]
    finite: Array = xp_of(gs[0]).ones_like(gs[0], dtype=bool, shape=(1,))
    for f, g in zip(found, gs, strict=True):
        f[...] = g
        with np.errstate(over="ignore"):
            f *= float(factor)  # (1)
        finite &= xp_of(f).isfinite(f).all()  # (2)
    return *found, finite.reshape(())


def narrow_(ps: Sequence[Array], masters: Sequence[Array]) -> None:
    """p ← master, rounded to the dtype of p.

    Parameters
    ----------
    ps : arrays p, at least one, which are changed; all of one dtype
    masters : an array for each, all of one dtype

    Raises
    ------
    ShapeError : if there are no arrays, or their numbers or shapes differ.
    DtypeError : if the dtypes within a list differ.

    Identity that tests it: |p − master| ≤ 2⁻¹¹ · |master| for normal numbers in float16; once more changes nothing.
    """
    check_beside("narrow_", ps, masters)
    for p, master in zip(ps, masters, strict=True):
        with np.errstate(over="ignore"):
            p[...] = master


def follow_(masters: Sequence[Array], ps: Sequence[Array]) -> None:
    """master ← p, where p is not the master, rounded: where somebody has changed p, by a checkpoint or by hand.

    Parameters
    ----------
    masters : arrays, at least one, which are changed; all of one dtype
    ps : an array p for each, all of one dtype

    Raises
    ------
    ShapeError : if there are no arrays, or their numbers or shapes differ.
    DtypeError : if the dtypes within a list differ.

    Identity that tests it: after `narrow_`, it changes nothing; afterwards, `narrow_` changes nothing.
    """
    check_beside("follow_", masters, ps)
    for master, p in zip(masters, ps, strict=True):
        xp = xp_of(p)
        rounded = xp.empty_like(p)
        with np.errstate(over="ignore"):
            rounded[...] = master
        xp.copyto(master, p, where=rounded != p)
