"""Gradients in float32 and masters of float16 parameters on a GPU: one launch for eighty parameters each."""

from __future__ import annotations

from collections.abc import Sequence

from minires.device import Array, wide_dtype, xp_of
from minires.kernels.checks import check_lists
from minires.kernels.cuda.lists import for_each
from minires.kernels.cuda.raw import TYPES, wide


def unscale(gs: Sequence[Array], factor: float) -> tuple[Array, ...]:
    """Multiples of gradients, those in float16 as float32: `minires.kernels.reference.unscale`.

    Parameters
    ----------
    gs, factor : as the reference's

    Returns
    -------
    f, …, finite : as the reference's

    Raises
    ------
    ShapeError, DtypeError : as the reference does.

    Identity that tests it: equal to the reference, within rounding.
    """
    check_lists("unscale", gs)
    xp, number = xp_of(gs[0]), wide(gs[0].dtype)
    found = [xp.empty_like(g, dtype=wide_dtype(g.dtype)) for g in gs]
    overflow = xp.zeros((), "int32")
    code = "const Wide f = factor * gs[i]; fs[i] = f; if (!isfinite(f)) atomicExch(overflow, 1);"
    parameters, numbers = ("Wide factor", "int *overflow"), (number(factor), overflow)
    for_each("unscale", code, ("const T *gs", "Wide *fs"), (gs, found), parameters, numbers)
    return *found, overflow == 0


def narrow_(ps: Sequence[Array], masters: Sequence[Array]) -> None:
    """p ← master, rounded to the dtype of p: `minires.kernels.reference.narrow_`.

    Parameters
    ----------
    ps, masters : as the reference's

    Raises
    ------
    ShapeError, DtypeError : as the reference does.

    Identity that tests it: equal to the reference.
    """
    check_lists("narrow_", ps, masters)
    for_each("narrow", "ps[i] = masters[i];", ("T *ps", f"const {_type(masters)} *masters"), (ps, masters))


def follow_(masters: Sequence[Array], ps: Sequence[Array]) -> None:
    """master ← p, where p is not the master, rounded: `minires.kernels.reference.follow_`.

    Parameters
    ----------
    masters, ps : as the reference's

    Raises
    ------
    ShapeError, DtypeError : as the reference does.

    Identity that tests it: equal to the reference.
    """
    check_lists("follow_", masters, ps)
    code = f"const {_type(ps)} p = ps[i]; if (!(({_type(ps)})masters[i] == p)) masters[i] = p;"
    for_each("follow", code, ("T *masters", f"const {_type(ps)} *ps"), (masters, ps))


def _type(arrays: Sequence[Array]) -> str:
    """The type of the arrays' numbers in CUDA."""
    return TYPES[arrays[0].dtype.name]
