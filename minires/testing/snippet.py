"""A few lines of Python that show a wrong derivative in a fresh interpreter."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import numpy as np

from minires.device import Array
from minires.testing.report import Finding
from minires.testing.source import definitions, literal

if TYPE_CHECKING:
    from minires.testing.compare import Probe


def snippet(probe: Probe, number: int, d: Array | None, gy: Array, finding: Finding) -> str:
    """Plain NumPy that computes the two derivatives of ``finding`` and asserts that they agree.

    One central difference has no error bar of its own, so the step is the one at which it comes closest to
    the measured derivative, and half of the difference found is allowed.
    """
    pair = probe.pair
    names = [f"x{index}" for index in range(len(pair.arrays))]
    lines = ["import numpy as np", ""]
    lines += [f"{name} = {literal(x)}" for name, x in zip(names, pair.arrays, strict=True)]
    lines += [f"arrays = [{', '.join(names)}]", ""]
    reproduction = getattr(getattr(pair.function, "__self__", None), "reproduction", None)
    lines += [*(reproduction() if reproduction else definitions(function=pair.function, vjp=pair.vjp)), ""]
    parts = pair.split(gy)
    lines += [f"gy{place} = {literal(part)}" for place, part in enumerate(parts) if part is not None]
    lines.append(f"gy = [{', '.join('None' if part is None else f'gy{place}' for place, part in enumerate(parts))}]")
    if d is None:
        lines += [f"d = np.zeros_like(x{number})", f"d[{finding.index}] = 1.0"]
        d = np.zeros_like(pair.arrays[number])
        d[finding.index] = 1.0
    else:
        lines.append(f"d = {literal(d)}")
    step = _best_step(probe, number, d, gy, finding)
    shift = f"[x + t * d if i == {number} else x for i, x in enumerate(arrays)]"
    lines += ["", "def loss(t):", f"    y = function(*{shift})"]
    lines += ["    y = y[0]"] if pair.has_cache else []
    lines += [
        f"    parts = {'y' if pair.is_tuple else '[y]'}",
        "    return sum(np.sum(g * part) for g, part in zip(gy, parts) if g is not None)",
        "",
        f"hand = {'tuple(gy)' if pair.is_tuple else 'gy[0]'}",
        "g = vjp(hand, function(*arrays)[1])" if pair.has_cache else "g = vjp(hand, *arrays)",
        f"g = g[{number}] if isinstance(g, (tuple, list)) else g",
        "claimed = 0.0 if g is None else np.sum(g * d)",
        f"h = {step!r}",
        "numerical = (loss(h) - loss(-h)) / (2 * h)",
        "print('claimed', claimed, 'numerical', numerical)",
        f"assert abs(claimed - numerical) <= {abs(finding.claimed - finding.numerical) / 2:.3g}",
    ]
    text = "\n".join(lines)
    return f"from __future__ import annotations\n\n{text}" if _is_annotated(text) else text


def _is_annotated(text: str) -> bool:
    """Whether a function names types, which the snippet does not import."""
    arguments = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.arg | ast.FunctionDef)]
    return any(getattr(node, "annotation", None) or getattr(node, "returns", None) for node in arguments)


def _best_step(probe: Probe, number: int, d: Array, gy: Array, finding: Finding) -> float:
    line, used = probe.line(number, d), gy != 0
    start = float(2.0 ** np.round(np.log2(finding.step)))
    errors = {}
    with np.errstate(all="ignore"):
        for step in (start * 2.0**k for k in range(-12, 13, 3)):
            difference = float(np.dot(gy[used], line(step)[used] - line(-step)[used])) / (2 * step)
            errors[step] = abs(difference - finding.numerical)
    return min(errors, key=lambda step: errors[step] if np.isfinite(errors[step]) else np.inf)
