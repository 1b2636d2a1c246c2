"""Gradients in float32 and masters, for optimizers of float16 parameters.

A master is a parameter's copy in float32, which an optimizer updates instead. A float16 has 11 binary digits, so an
update of less than a 4096th of a parameter would not change it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minires.device import Array, wide_dtype, xp_of
from minires.kernels.checks import check_lists


def unscale(gs: Sequence[Array], factor: float) -> tuple[Array, ...]:
    """Return gradients times a factor, in float32 if they are in float16, and whether all are finite.

        f = factor · g                                                            (1)
        finite = whether every element of every f is finite                       (2)

    Parameters
    ----------
    gs : the gradients g, at least one, all of one dtype
    factor : a scalar

    Returns
    -------
    f, …, finite : an f for each g, in float32 if g is in float16; and a boolean array without axes

    Raises
    ------
    ShapeError : if there are no gradients.
    DtypeError : if the dtypes differ.

    Identity that tests it: with the factor 1, equal to the gradients.
    """
    check_lists("unscale", gs)
    found: list[Array] = [xp_of(g).empty_like(g, dtype=wide_dtype(g.dtype)) for g in gs]
    finite: Array = xp_of(gs[0]).ones_like(gs[0], dtype=bool, shape=(1,))
    for f, g in zip(found, gs, strict=True):
        f[...] = g
        with np.errstate(over="ignore"):
            f *= float(factor)  # (1)
        finite &= xp_of(f).isfinite(f).all()  # (2)
    return *found, finite.reshape(())


def narrow_(ps: Sequence[Array], masters: Sequence[Array]) -> None:
    """Set each p to its master, rounded to the dtype of p.

    Parameters
    ----------
    ps : arrays p, at least one, which are changed; all of one dtype
    masters : an array for each p, all of one dtype

    Raises
    ------
    ShapeError : if there are no arrays, or the lists differ in length or shapes.
    DtypeError : if the dtypes within a list differ.

    Identity that tests it: |p − master| ≤ 2⁻¹¹ · |master| for normal numbers in float16; a second call changes nothing.
    """
    check_lists("narrow_", ps, masters)
    for p, master in zip(ps, masters, strict=True):
        with np.errstate(over="ignore"):
            p[...] = master


def follow_(masters: Sequence[Array], ps: Sequence[Array]) -> None:
    """Set each master to p where p is not the rounded master: there p was changed, by a checkpoint or by hand.

    Parameters
    ----------
    masters : arrays, at least one, which are changed; all of one dtype
    ps : an array p for each master, all of one dtype

    Raises
    ------
    ShapeError : if there are no arrays, or the lists differ in length or shapes.
    DtypeError : if the dtypes within a list differ.

    Identity that tests it: after `narrow_`, it changes nothing; afterwards, `narrow_` changes nothing.
    """
    check_lists("follow_", masters, ps)
    for master, p in zip(masters, ps, strict=True):
        xp = xp_of(p)
        rounded = xp.empty_like(p)
        with np.errstate(over="ignore"):
            rounded[...] = master
        xp.copyto(master, p, where=rounded != p)
