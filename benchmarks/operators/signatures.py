"""Find arguments for functions whose parameters are not known.

`cases_of` tries lists of arrays, of several lengths, shapes and domains, simple ones first. It keeps those that a
function accepts: outputs and gradient must be finite, and the gradient must not be zero everywhere. Arguments without
a gradient are fixed.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from operators.case import Case

Arrays = tuple[np.ndarray, ...]
GradientsOf = Callable[[Callable[..., Any], Arrays], tuple[Sequence[np.ndarray], Sequence[np.ndarray]]]

_DOMAINS: dict[str, Callable[[np.ndarray], np.ndarray]] = {  # functions of numbers in (0, 1)
    "any": lambda u: 4 * u - 2,
    "positive": lambda u: 0.5 + 2 * u,
    "between 0 and 1": lambda u: 0.1 + 0.8 * u,
    "above 1": lambda u: 1.2 + 2 * u,
}
_SHAPES: tuple[tuple[tuple[int, ...], ...], ...] = (
    ((3, 4),),
    ((3, 3),),
    ((5,),),
    ((2, 3, 3),),
    ((3, 4), (3, 4)),
    ((3, 4), (4,)),
    ((3, 4), (4, 2)),
    ((3, 3), (3,)),
    ((4,), (4,)),
    ((7,), (3,)),
    ((2, 6, 5), (3, 4)),
    ((3, 4), (3, 4), (3, 4)),
    ((4,), (4,), (4, 4)),
    ((4,), (4,), ()),
    ((3, 4), (), ()),
    ((3, 4), (3, 4), (3, 4), (3, 4)),
    ((3, 4), (), (), ()),
)
_FLAT = 3  # after so many signatures with a gradient of zero, a function is left out


def signatures() -> Iterator[Arrays]:
    """Yield the lists of arrays to try, in this order."""
    for shapes in _SHAPES:
        for domain in _DOMAINS.values():
            rng = np.random.default_rng(0)
            yield tuple(domain(rng.random(shape)) for shape in shapes)
        if all(len(shape) == 2 and shape[0] == shape[1] for shape in shapes):
            yield tuple(x @ x.T + np.eye(len(x)) for x in _plain(shapes))
    for shapes in (((5,), (5,)), ((5,), (5,), (5,))):  # sorted, and the first before or between the others
        yield tuple(np.sort(x) + 3 * n for n, x in enumerate(_plain(shapes)))
        first, *others = _plain(shapes)
        yield (first, *(2.5 * (-1) ** n + x / 8 for n, x in enumerate(others, 1)))


class Fit(NamedTuple):
    """A function of the arguments that have a gradient, and these arguments; the others are fixed."""

    function: Callable[..., Any]
    arrays: Arrays


def cases_of(
    function: Callable[..., Any],
    arguments: Arrays | None,
    gradients_of: GradientsOf,
    number: int,
    case: Callable[[int, Callable[..., Any], Arrays], Case],
) -> Iterator[Case | str]:
    """Yield up to ``number`` cases for a function, or the reason why there is none.

    Parameters
    ----------
    arguments : the arguments of the function; None to search for some
    gradients_of : gradients_of(function, arrays) -> outputs and gradients at the arrays; it may raise any exception
    case : case(index, function, arguments) -> a case
    """
    if arguments is not None:
        gradients_of(function, arguments)  # raises where there is no derivative
        found = [Fit(function, arguments)]
    else:
        found = _fitting(function, gradients_of, number)
    if not found:
        yield "takes none of the arguments tried, or has no derivative there"
    for index, fit in enumerate(found):
        yield case(index, *fit)


def _fitting(function: Callable[..., Any], gradients_of: GradientsOf, number: int) -> list[Fit]:
    """Return up to ``number`` ways to call a function, with arguments of different shapes."""
    found: dict[tuple[tuple[int, ...], ...], Fit] = {}
    least, most = _arity(function)
    flat = 0
    for arrays in signatures():
        shapes = tuple(x.shape for x in arrays)
        if not least <= len(arrays) <= most or shapes in found:
            continue
        slope = _slope(function, gradients_of, arrays)
        if slope > 0:
            found[shapes] = Fit(function, arrays)
        elif slope == 0:  # as for rounding and comparisons, everywhere
            flat += 1
        elif len(arrays) > 1:
            some = [n for n, x in enumerate(arrays) if _slope(_fixed(function, arrays, [n]), gradients_of, (x,)) > 0]
            if some:
                found[shapes] = Fit(_fixed(function, arrays, some), tuple(arrays[n] for n in some))
        if len(found) == number or (flat == _FLAT and not found):
            break
    return list(found.values())


def _fixed(function: Callable[..., Any], arrays: Arrays, places: list[int]) -> Callable[..., Any]:
    def of_some(*some: Any) -> Any:
        full: list[Any] = [x.copy() for x in arrays]
        for place, x in zip(places, some, strict=True):
            full[place] = x
        return function(*full)

    return of_some


def _slope(function: Callable[..., Any], gradients_of: GradientsOf, arrays: Arrays) -> float:
    """Return the gradients' largest element; NaN if the call fails or anything is not finite float64."""
    try:
        outputs, gradients = gradients_of(function, arrays)
    except Exception:  # a library may raise anything for arguments that its function does not take
        return np.nan
    if not outputs or any(y.dtype != np.float64 or not y.size for y in outputs):
        return np.nan
    if not all(np.isfinite(x).all() for x in (*outputs, *gradients)):
        return np.nan
    return max(float(np.max(np.abs(g))) for g in gradients)


def _plain(shapes: tuple[tuple[int, ...], ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [4 * rng.random(shape) - 2 for shape in shapes]


def _arity(function: Callable[..., Any]) -> tuple[int, float]:
    """Return the least and the largest number of positional arguments that a function takes."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 0, np.inf
    if any(p.kind == p.VAR_POSITIONAL for p in parameters):
        return 0, np.inf
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return sum(p.default is p.empty for p in positional), len(positional)
