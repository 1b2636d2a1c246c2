"""A few lines of Python that show a wrong derivative in a fresh interpreter.

The user's functions come first, at the top level, where they find each other; the arrays and the comparison stand in
a function of their own, so that no name of the one is overwritten by the other.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence

from minires.device import Array
from minires.testing.calling.pair import Pair
from minires.testing.report import Finding
from minires.testing.reproduce.literals import compiles, literal
from minires.testing.reproduce.source import definitions

_OUTPUTS = """\
def outputs(t):
    y = function(*[{moved} if n == {number} else {kept} for n, x in enumerate(arrays)]){first}
    return y if isinstance(y, (tuple, list)) else [y]"""

_CLAIMED = """\
outputs(0)  # a layer may remember its last inputs
g = {call}
g = g[{number}] if isinstance(g, (tuple, list)) else g"""

_DIFFERENCES = """\
def slope(h):
    return sum(np.sum(v * (p - m)) for v, p, m in zip(gy, outputs(h), outputs(-h)) if v is not None) / (2 * h)

h = {step!r}  # Richardson's extrapolation, twice
fine, middle, coarse = slope(h), slope(2 * h), slope(4 * h)
fine, middle = fine + (fine - middle) / 3, middle + (middle - coarse) / 3
numerical = fine + (fine - middle) / 15
claimed = 0.0 if g is None else np.sum(g * d)
print('claimed', claimed, 'numerical', numerical)
assert abs(claimed - numerical) <= {allowed:.3g}{doubt}"""

_COMPLEX = """\
h = {step!r}
numerical = sum(np.sum(v * np.imag(y)) for v, y in zip(gy, outputs(1j * h)) if v is not None) / h
claimed = 0.0 if g is None else np.sum(g * d)
print('claimed', claimed, 'numerical', numerical)
assert abs(claimed - numerical) <= {allowed:.3g}"""

_EXACT = """\
def dot(a, b):
    return sum(Fraction(p) * Fraction(q) for p, q in zip(np.ravel(a).tolist(), np.ravel(b).tolist()))

h = {step!r}
numerical = sum(dot(v, p) - dot(v, m) for v, p, m in zip(gy, outputs(h), outputs(-h)) if v is not None)
numerical /= Fraction(2 * h)
claimed = 0 if g is None else dot(g, d)
print('claimed', float(claimed), 'numerical', float(numerical))
assert claimed == numerical"""


def of_differences(
    pair: Pair, finding: Finding, d: Array, gy: Array, slope: Callable[[float], float], steps: Sequence[float]
) -> str:
    """The snippet for ``finding`` with extrapolated differences; half of the difference found is allowed.

    Parameters
    ----------
    d : the direction along which ``finding`` gives the derivatives
    gy : the gradient of the outputs, flat
    slope : step -> (⟨gy, f(x + h d)⟩ − ⟨gy, f(x − h d)⟩) / 2h
    steps : those that may be used; the one whose result comes closest to that of ``finding`` is
    """
    found = {step: extrapolated(slope, step) for step in steps}
    step = min(found, key=lambda step: abs(found[step] - finding.numerical))
    allowed = abs(finding.claimed - finding.numerical) / 2
    doubt = "" if abs(found[step] - finding.claimed) > allowed else "  # so small an error may be lost in rounding here"
    return _snippet(pair, finding, d, gy, _DIFFERENCES.format(step=step, allowed=allowed, doubt=doubt))


def of_complex_step(pair: Pair, finding: Finding, d: Array, gy: Array) -> str:
    """The snippet for ``finding`` with a complex step; half of the difference found is allowed."""
    allowed = abs(finding.claimed - finding.numerical) / 2
    text = _COMPLEX.format(step=finding.step, allowed=allowed)
    return _snippet(pair, finding, d, gy, text, moved="x + t * d", kept="x + 0j if x.dtype.kind == 'f' else x")


def of_integers(pair: Pair, finding: Finding, d: Array, gy: Array) -> str:
    """The snippet for ``finding`` in exact arithmetic."""
    moved = "(x + t * d).astype(x.dtype)"
    return _snippet(pair, finding, d, gy, _EXACT.format(step=finding.step), "from fractions import Fraction", moved)


def extrapolated(slope: Callable[[float], float], h: float) -> float:
    """Richardson's extrapolation, twice, of central differences with steps h, 2h and 4h: wrong by O(h⁶)."""
    return extrapolate(slope(h), slope(2 * h), slope(4 * h))


def extrapolate(fine: float, middle: float, coarse: float) -> float:
    """`extrapolated`, of the three differences."""
    fine, middle = fine + (fine - middle) / 3, middle + (middle - coarse) / 3
    return fine + (fine - middle) / 15


def _snippet(
    pair: Pair,
    finding: Finding,
    d: Array,
    gy: Array,
    comparison: str,
    imports: str = "",
    moved: str = "x + t * d",
    kept: str = "x",
) -> str:
    """The program, if it compiles; with ``...`` for the functions if they are what cannot be written down."""
    for functions in (_functions, lambda pair: _LEFT_OUT):
        try:
            text = _program(pair, functions(pair), finding, d, gy, comparison, imports, moved, kept)
        except Exception:  # whatever somebody's objects do when they are looked at; the verdict must not be lost
            continue
        if compiles(text):
            return text
    return ""


_LEFT_OUT = ["function = ...  # put here what was checked", "vjp = ...  # and its gradient"]


def _program(
    pair: Pair,
    functions: Sequence[str],
    finding: Finding,
    d: Array,
    gy: Array,
    comparison: str,
    imports: str,
    moved: str,
    kept: str,
) -> str:
    number = finding.argument
    hand = "tuple(gy)" if pair.is_tuple else "gy[0]"
    call = f"vjp({hand}, function(*arrays)[1])" if pair.has_cache else f"vjp({hand}, *arrays)"
    parts = pair.split(gy)
    body = [
        f"gy = [None] * {len(parts)}",
        *(f"gy[{place}] = {literal(part)}" for place, part in enumerate(parts) if part is not None),
        *_direction(d, finding),
        "",
        *_OUTPUTS.format(moved=moved, kept=kept, number=number, first="[0]" if pair.has_cache else "").splitlines(),
        "",
        *_CLAIMED.format(call=call, number=number).splitlines(),
        *comparison.splitlines(),
    ]
    text = "\n".join(
        [
            "import numpy as np",
            *([imports] if imports else []),
            "",
            f"arrays = [None] * {len(pair.arrays)}",
            *(f"arrays[{place}] = {literal(x)}" for place, x in enumerate(pair.arrays)),
            "",
            *functions,
            "",
            "def reproduce(arrays, function, vjp):",
            *(f"    {line}".rstrip() for line in body),
            "",
            "reproduce(arrays, function, vjp)",
        ]
    )
    return f"from __future__ import annotations\n\n{text}" if _is_annotated(text) else text


def _functions(pair: Pair) -> list[str]:
    """Lines that define ``function`` and ``vjp``; an adapter of ours knows best how to make itself again."""
    reproduction = getattr(getattr(pair.function, "__self__", None), "reproduction", None)
    return list(reproduction()) if reproduction else definitions(function=pair.function, vjp=pair.vjp)


def _direction(d: Array, finding: Finding) -> list[str]:
    if finding.index is None:
        return [f"d = {literal(d)}"]
    return [f"d = np.zeros_like(arrays[{finding.argument}])", f"d[{finding.index}] = {float(d[finding.index])!r}"]


def _is_annotated(text: str) -> bool:
    """Whether a function names types, which the snippet does not import."""
    arguments = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.arg | ast.FunctionDef)]
    return any(getattr(node, "annotation", None) or getattr(node, "returns", None) for node in arguments)
