"""Write a few lines of Python that show a wrong derivative in a fresh interpreter.

The user's functions come first, at the top level. The comparison stands in a function, so that its names and the
user's names are kept apart.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence

from minires.device import Array
from minires.testing.calling.pair import Pair
from minires.testing.report import Finding
from minires.testing.reproduce.definitions import definitions
from minires.testing.reproduce.literals import compiles, literal

_PROGRAM = """\
from __future__ import annotations

import numpy as np
{imports}
arrays = [None] * {inputs}
{arrays}

{functions}

def reproduce(arrays, function, vjp):
{body}

reproduce(arrays, function, vjp)"""

_BODY = """\
gy = [None] * {outputs}
{gy}
{direction}

def outputs(t):
    y = function(*[{moved} if n == {argument} else {kept} for n, x in enumerate(arrays)]){first}
    return y if isinstance(y, (tuple, list)) else [y]

outputs(0)  # a layer may remember its last inputs
g = {call}
g = g[{argument}] if isinstance(g, (tuple, list)) else g
{comparison}"""

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
    """Return the snippet for a finding with extrapolated differences; it allows half of the difference found.

    Parameters
    ----------
    d : the direction along which ``finding`` gives the derivatives
    gy : the gradient of the outputs, flat
    slope : step -> (⟨gy, f(x + h d)⟩ − ⟨gy, f(x − h d)⟩) / 2h
    steps : candidates; the snippet takes the step whose result comes closest to that of ``finding``
    """
    found = {h: extrapolate(slope(h), slope(2 * h), slope(4 * h)) for h in steps}
    step = min(found, key=lambda h: abs(found[h] - finding.numerical))
    allowed = abs(finding.claimed - finding.numerical) / 2
    doubt = "" if abs(found[step] - finding.claimed) > allowed else "  # so small an error may be lost in rounding here"
    return _snippet(pair, finding, d, gy, _DIFFERENCES.format(step=step, allowed=allowed, doubt=doubt))


def of_complex_step(pair: Pair, finding: Finding, d: Array, gy: Array) -> str:
    """Return the snippet for a finding with a complex step; it allows half of the difference found."""
    allowed = abs(finding.claimed - finding.numerical) / 2
    comparison = _COMPLEX.format(step=finding.step, allowed=allowed)
    return _snippet(pair, finding, d, gy, comparison, kept="x + 0j if x.dtype.kind == 'f' else x")


def of_integers(pair: Pair, finding: Finding, d: Array, gy: Array) -> str:
    """Return the snippet for a finding in exact arithmetic."""
    comparison = _EXACT.format(step=finding.step)
    return _snippet(pair, finding, d, gy, comparison, moved="(x + t * d).astype(x.dtype)")


def extrapolate(fine: float, middle: float, coarse: float) -> float:
    """Return Richardson's extrapolation, twice, of central differences with steps h, 2h and 4h: wrong by O(h⁶)."""
    fine, middle = fine + (fine - middle) / 3, middle + (middle - coarse) / 3
    return fine + (fine - middle) / 15


def _snippet(
    pair: Pair,
    finding: Finding,
    d: Array,
    gy: Array,
    comparison: str,
    *,
    moved: str = "x + t * d",
    kept: str = "x",
) -> str:
    """Return the program, or nothing if there is none that compiles: the verdict matters more."""
    try:
        text = _program(pair, finding, d, gy, comparison, moved, kept)
    except Exception:  # whatever somebody's objects raise when they are looked at
        return ""
    return text if compiles(text) else ""


def _program(pair: Pair, finding: Finding, d: Array, gy: Array, comparison: str, moved: str, kept: str) -> str:
    argument, index = finding.argument, finding.index
    hand = "tuple(gy)" if pair.is_tuple else "gy[0]"
    parts = pair.split(gy)
    body = _BODY.format(
        outputs=len(parts),
        gy=_assignments("gy", parts),
        direction=f"d = {literal(d)}"
        if index is None
        else f"d = np.zeros_like(arrays[{argument}])\nd[{index}] = {float(d[index])!r}",
        moved=moved,
        kept=kept,
        argument=argument,
        first="[0]" if pair.has_cache else "",
        call=f"vjp({hand}, function(*arrays)[1])" if pair.has_cache else f"vjp({hand}, *arrays)",
        comparison=comparison,
    )
    return _PROGRAM.format(
        imports="from fractions import Fraction\n" if "Fraction" in comparison else "",
        inputs=len(pair.arrays),
        arrays=_assignments("arrays", pair.arrays),
        functions="\n".join(_functions(pair)),
        body=textwrap.indent(body, "    "),
    )


def _assignments(name: str, arrays: Sequence[Array | None]) -> str:
    """Return a line for each array of a list."""
    return "\n".join(f"{name}[{n}] = {literal(array)}" for n, array in enumerate(arrays) if array is not None)


def _functions(pair: Pair) -> list[str]:
    """Return lines that define ``function`` and ``vjp``; a `TensorPair` or `FixedArguments` writes itself down."""
    reproduction = getattr(getattr(pair.function, "__self__", None), "reproduction", None)
    return list(reproduction()) if reproduction else definitions(function=pair.function, vjp=pair.vjp)
