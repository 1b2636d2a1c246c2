"""Float32 gradients and float32 masters of float16 parameters on a GPU: one launch for up to eighty parameters."""

from __future__ import annotations

from collections.abc import Sequence

from minires.device import Array, wide_dtype, xp_of
from minires.kernels.checks import check_lists
from minires.kernels.cuda.many_arrays import for_each_element
from minires.kernels.cuda.raw import TYPES, wide


def unscale(gs: Sequence[Array], factor: float) -> tuple[Array, ...]:
    """Return factor · g in float32 or wider for each g, and whether all are finite, as `reference.masters.unscale`."""
    check_lists("unscale", gs)
    xp, scalar = xp_of(gs[0]), wide(gs[0].dtype)
    found = [xp.empty_like(g, dtype=wide_dtype(g.dtype)) for g in gs]
    overflow = xp.zeros((), "int32")
    code = "const Wide f = factor * gs[i]; fs[i] = f; if (!isfinite(f)) atomicExch(overflow, 1);"
    parameters, scalars = ("Wide factor", "int *overflow"), (scalar(factor), overflow)
    for_each_element("unscale", code, ("const T *gs", "Wide *fs"), (gs, found), parameters, scalars)
    return *found, overflow == 0


def narrow_(ps: Sequence[Array], masters: Sequence[Array]) -> None:
    """Set p ← master, rounded to the dtype of p, as `reference.masters.narrow_`; equal to it in every bit."""
    check_lists("narrow_", ps, masters)
    for_each_element("narrow", "ps[i] = masters[i];", ("T *ps", f"const {_type(masters)} *masters"), (ps, masters))


def follow_(masters: Sequence[Array], ps: Sequence[Array]) -> None:
    """Set master ← p where p is not the rounded master, as `reference.masters.follow_`; equal to it in every bit."""
    check_lists("follow_", masters, ps)
    code = f"const {_type(ps)} p = ps[i]; if (!(({_type(ps)})masters[i] == p)) masters[i] = p;"
    for_each_element("follow", code, ("T *masters", f"const {_type(ps)} *ps"), (masters, ps))


def _type(arrays: Sequence[Array]) -> str:
    """Return the CUDA type of the arrays' elements."""
    return TYPES[arrays[0].dtype.name]
