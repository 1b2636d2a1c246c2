"""Guess what kind of mistake a wrong gradient is; a guess is made only if it fits every wrong element."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from minires.device import Array
from minires.testing.differences.bisection import Elements

_TRANSFORMS: tuple[tuple[str, Callable[[Array], Array]], ...] = (
    ("right, but mirrored: the last two axes are reversed", lambda g: g[..., ::-1, ::-1]),
    ("right, but the last two axes are swapped", lambda g: g.swapaxes(-1, -2)),
)
_DIGITS = 9  # of a ratio, at most


def hint(found: Elements, g: Array, holds_everywhere: Callable[[Array], bool]) -> str:
    """Return a hint for the error message, or "".

    Parameters
    ----------
    found : the elements that were looked at
    g : the claimed gradient
    holds_everywhere : another gradient -> whether it has the measured derivatives along random directions
    """
    if not g.any():
        return "the claimed gradient is zero (or None: does vjp lack a return?), the function does depend on this input"
    if not found.wrong.any():
        return "the error is spread over many elements"
    return _transform(found, g, holds_everywhere) or _ratio(found, g, holds_everywhere) or _border(found)


def _transform(found: Elements, g: Array, holds_everywhere: Callable[[Array], bool]) -> str:
    for text, transform in _TRANSFORMS if g.ndim > 1 and g.size > 1 else ():
        other = transform(g)
        if other.shape == g.shape:
            claimed = other.flat[found.indices] * found.d.flat[found.indices]
            if (np.abs(claimed - found.numerical) <= found.allowed).all() and holds_everywhere(other):
                return text
    return ""


def _ratio(found: Elements, g: Array, holds_everywhere: Callable[[Array], bool]) -> str:
    wrong = found.wrong
    claimed, numerical, allowed = (part[wrong] for part in (found.claimed, found.numerical, found.allowed))
    size = float(np.dot(numerical, numerical))
    ratio = float(np.dot(claimed, numerical)) / size if size else 0.0
    if not ratio or not (np.abs(claimed - ratio * numerical) <= (1 + abs(ratio)) * allowed).all():
        return ""
    some_are_right = found.are_all_wrong_ones and not found.are_all
    everywhere = (wrong | (np.abs(found.numerical) <= found.allowed)).all() and not some_are_right
    if everywhere and (found.are_all or holds_everywhere(g / ratio)):
        where = "everywhere"
    elif wrong.sum() > 1 and found.complete:
        where = "at every wrong element"
    else:
        return ""
    blur = float(np.linalg.norm(allowed)) / math.sqrt(size)
    digits = min(_DIGITS, max(2, int(-math.log10(blur)))) if blur else _DIGITS
    if abs(ratio + 1) <= 2 * blur:
        return f"the sign is flipped {where}"
    factor = f"{ratio:.{digits}g}"
    return f"claimed = {factor} × numerical {where}: a constant factor is wrong" if float(factor) != 1 else ""


def _border(found: Elements) -> str:
    """Return a hint if all wrong elements are at the border of the last two axes, and fill at least half of a side."""
    shape = found.d.shape
    if len(shape) < 2 or min(shape[-2:]) < 3 or not found.complete:
        return ""
    wrong = np.zeros(shape, bool)
    wrong.flat[found.indices] = found.wrong
    if wrong[..., 1:-1, 1:-1].any():
        return ""
    sides = (wrong[..., 0, :], wrong[..., -1, :], wrong[..., 0], wrong[..., -1])
    if max(float(side.mean()) for side in sides) < 0.5:
        return ""
    return "only elements at the border (of the last two axes) are wrong: look at the padding"
