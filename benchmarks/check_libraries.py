"""Check the hand-written gradients of other libraries with `minires.testing.check_vjp`.

    python benchmarks/check_libraries.py [--library dezero mygrad] [--operation pooling …] [--examples 40]
        [--json FILE]

It needs a separate environment, since minires does not need these libraries:

    python -m venv libraries && libraries/bin/pip install -e '.[testing]' dezero matplotlib mygrad

(DeZero imports matplotlib without declaring it; MyGrad needs Python 3.11.) Hypothesis draws shapes, windows, axes,
indices and memory orders for each operation, the same ones in each run. A failing case shrinks to the smallest
geometry that still fails. An operation that fails in several ways is listed once for each way. DeZero's operations
are checked twice: first the gradient, then the gradient of the gradient, which ``create_graph`` computes.

Verdicts:

- ``wrong``: the gradient is not the function's derivative
- ``contract``: the gradient has another shape or dtype, is not finite or changes with the memory order, or an argument
  was modified in place
- ``crash``: the library raised an exception
- ``open``: Inconclusive

Elements on kinks are left out and counted. ``float32`` says whether float32 inputs give float32 results (kept).
``examples`` includes those that shrinking tried.
"""

from __future__ import annotations

import argparse
import importlib
import json
import pathlib
import platform
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import hypothesis
import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from libraries.cases import Build, Case

from minires.errors import DtypeError
from minires.testing import GradientError, Inconclusive, check_vjp, lay_out, strategies

LIBRARIES = {"dezero": "libraries.dezero_operations", "mygrad": "libraries.mygrad_operations"}
LINES = 5  # of an error's text


@dataclass
class Finding:
    """One way in which an operation fails: the smallest case and the first lines of the error."""

    verdict: str
    case: str
    error: list[str]


@dataclass
class Row:
    """The result of checking one operation."""

    library: str
    operation: str
    examples: int = 0
    on_kinks: int = 0
    float32: str = "kept"
    findings: list[Finding] = field(default_factory=list)

    def __str__(self) -> str:
        verdict = ", ".join(sorted({finding.verdict for finding in self.findings})) or "fine"
        text = f"{self.operation:32} {self.examples:8} {self.on_kinks:6}  {self.float32:8} {verdict}"
        for finding in self.findings:
            text += f"\n    {finding.verdict}: {finding.case}\n" + "".join(
                f"        {line}\n" for line in finding.error
            )
        return text.rstrip()


@st.composite
def examples(draw: Any, build: Build) -> tuple[Case, list[np.ndarray], str]:
    """Draw a case and its arrays; also return both as text."""
    case = build(draw)
    kind, order = draw(st.sampled_from(case.kinds)), draw(strategies.memory_orders())
    seed = draw(strategies.seeds())
    values = [strategies.array(shape, seed, kind, stream=number) for number, shape in enumerate(case.shapes)]
    text = f"{case}" + (f", {kind} values" if kind != "smooth" else "")
    text += f", {order} order" if order != "C" else ""
    return case, [lay_out(case.domain(x), order) for x in values], text


def verdict_of(error: Exception) -> str:
    if isinstance(error, Inconclusive):
        return "open"
    if isinstance(error, GradientError):
        return "wrong" if error.finding else "contract"
    return "contract" if isinstance(error, DtypeError) else "crash"


def check(row: Row, build: Build, pair_of: Callable[[Any], Any], number: int) -> None:
    """Check ``number`` examples, shrink those that fail, and enter the results in ``row``."""

    @settings(
        max_examples=number,
        derandomize=True,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(examples(build))
    def run(example: tuple[Case, list[np.ndarray], str]) -> None:
        case, arrays, text = example
        pair = pair_of(lambda *variables: case.function(*variables, **case.options))
        if hasattr(pair, "complete"):
            arrays = pair.complete(arrays)
        row.examples += 1
        try:
            report = check_vjp(pair.forward, pair.vjp, *arrays)
            look_at_float32(row, pair, arrays)
        except Exception as error:
            if isinstance(error, Inconclusive) and error.cause == "kink":
                row.on_kinks += 1
                return
            error.case = text  # type: ignore[attr-defined]
            raise
        row.on_kinks += report.left_out > 0

    try:
        run()
    except Exception as error:  # one error, or a group with one for each way to fail
        for single in getattr(error, "exceptions", (error,)):
            lines = (str(single) or repr(single)).splitlines()[:LINES]
            if not isinstance(single, GradientError | DtypeError):
                lines[0] = f"{type(single).__name__}: {lines[0]}"
            row.findings.append(Finding(verdict_of(single), getattr(single, "case", "?"), lines))


def look_at_float32(row: Row, pair: Any, arrays: list[np.ndarray]) -> None:
    """Enter in ``row`` whether float32 inputs give float32 results; finite differences only see float64."""
    single = [x.astype(np.float32) for x in arrays]
    y = pair.forward(*single)
    outputs = y if isinstance(y, tuple) else (y,)
    if any(output.dtype != np.float32 for output in outputs):
        row.float32 = "y wider"
        return
    gy = tuple(np.ones_like(output) for output in outputs)
    gradients = pair.vjp(gy if isinstance(y, tuple) else gy[0], *single)
    if any(g is not None and g.dtype != np.float32 for g in gradients):
        row.float32 = "gx wider"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--library", nargs="+", choices=LIBRARIES, default=list(LIBRARIES))
    parser.add_argument("--operation", nargs="+", help="names; default: all")
    parser.add_argument("--examples", type=int, default=40, help="of each operation, before shrinking")
    parser.add_argument("--json", type=pathlib.Path, help="where to write the record")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # libraries divide by zero at points that we chose
    np.seterr(all="ignore")
    rows, versions = [], {}
    began = time.perf_counter()
    for library in options.library:
        module = importlib.import_module(LIBRARIES[library])
        versions[library] = module.VERSION
        print(f"\n{library} {module.VERSION}\n{'operation':32} {'examples':>8} {'kinks':>6}  {'float32':8} verdict")
        for name, (build, pair_of) in module.operations().items():
            if options.operation and name not in options.operation:
                continue
            rows.append(row := Row(library, name))
            check(row, build, pair_of, options.examples)
            print(row, flush=True)
    seconds = time.perf_counter() - began
    failing = sum(bool(row.findings) for row in rows)
    print(f"\n{len(rows)} operations, {failing} with findings, {seconds:.0f} s")
    if options.json:
        record = {
            "versions": {**versions, "numpy": np.__version__, "hypothesis": hypothesis.__version__},
            "python": platform.python_version(),
            "examples": options.examples,
            "seconds": round(seconds),
            "rows": [asdict(row) for row in rows],
        }
        options.json.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
