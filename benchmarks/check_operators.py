"""Check the derivatives of PyTorch's, JAX's and autograd's operators with `minires.testing.check_vjp`.

    python benchmarks/check_operators.py [--library torch jax autograd] [--operator 'nn.functional.*' …]
        [--samples 2] [--jobs 2] [--limit 60] [--json FILE [--resume]]

It needs a separate environment, since minires does not need these libraries:

    python -m venv operators && operators/bin/pip install -e '.[testing,operators]'

PyTorch contains inputs for all its operators, for its own tests. For JAX and autograd, `operators/signatures.py` finds
inputs. Each case is checked twice: unchanged, and with a planted error of 0.1 % in one element of one gradient. The
library's own checker checks both as well, with its defaults (`torch.autograd.gradcheck`, `jax.test_util.check_grads`,
`autograd.test_util.check_grads`).

Verdicts on the unchanged case:

- ``accepted``
- ``wrong``: the gradient is not the function's derivative
- ``contract``: the gradient breaks another rule, such as its shape or dtype
- ``open``: Inconclusive
- ``crash``: an exception from elsewhere
- ``slow``: the check took longer than the limit

With the planted error: ``found`` at its element; ``seen`` in its input, but only along a direction; ``elsewhere`` if
something else is rejected; ``missed``, ``open``, ``crash``, ``slow``; or the reason why no error can be planted.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import fnmatch
import importlib
import importlib.metadata
import json
import multiprocessing
import os
import pathlib
import platform
import signal
import time
import warnings
import zlib
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

import numpy as np
from harness import record_to_resume

from minires.testing import GradientError, Inconclusive, check_vjp

LIBRARIES = {name: f"operators.{name}_operators" for name in ("torch", "jax", "autograd")}
LINES = 5  # of an error's text, at most
Row = dict[str, Any]


class TooSlow(BaseException):
    """A check took longer than its limit. It is no Exception, since libraries and checkers catch these."""


@contextmanager
def limit(seconds: int) -> Iterator[None]:
    """Raise TooSlow in the ``with`` block after ``seconds`` of this process's CPU time."""

    def stop(*_: Any) -> None:
        raise TooSlow

    previous = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, previous)


def text_of(error: BaseException) -> list[str]:
    lines = (str(error) or repr(error)).splitlines()[:LINES]
    if not isinstance(error, GradientError):
        lines[0] = f"{type(error).__name__}: {lines[0]}"
    return [line[:300] for line in lines]


def judge(case: Any, vjp: Any, seconds: int) -> Row:
    """Return the verdict of `check_vjp` on a case with this vjp."""
    try:
        with limit(seconds):
            report = check_vjp(case.function, vjp, *case.arrays)
    except TooSlow:
        return {"verdict": "slow"}
    except Inconclusive as error:
        return {"verdict": "open", "cause": error.cause, "error": text_of(error)}
    except GradientError as error:
        if error.finding is None:
            return {"verdict": "contract", "error": text_of(error)}
        place = [error.finding.argument, error.finding.index]
        return {"verdict": "wrong", "place": place, "error": text_of(error)}
    except Exception as error:
        return {"verdict": "crash", "error": text_of(error)}
    return {"verdict": "accepted", "resolution": float(f"{report.resolution:.2g}"), "left_out": report.left_out}


def judge_by_library(case: Any, plant: Any, seconds: int) -> tuple[str, list[str]]:
    """Return the verdict of the library's own checker on a case, and the first lines of its error."""
    try:
        with limit(seconds):
            case.own_check(plant)
    except TooSlow:
        return "slow", []
    except Exception as error:
        return "rejected", text_of(error)[:2]
    return "accepted", []


def check(case: Any, seconds: int) -> Row:
    """Check one case unchanged and with a planted error."""
    module = importlib.import_module("operators.case")
    began = time.process_time()
    shapes = [list(x.shape) for x in case.arrays]
    row: Row = {"library": case.library, "name": case.name, "sample": case.sample, "shapes": shapes}
    row |= judge(case, case.vjp, seconds)
    row["own"], error = judge_by_library(case, None, seconds)
    if error:
        row["own_error"] = error
    row["planted"] = planted = {}
    if row["verdict"] != "accepted":
        planted["result"] = f"not applicable: {row['verdict']} as it is"
    else:
        plant = module.choose_plant(case, np.random.default_rng(zlib.crc32(case.name.encode()) + case.sample))
        if isinstance(plant, str):
            planted["result"] = f"not applicable: {plant}"
        else:
            seen = judge(case, case.planted_vjp(plant), seconds)
            place = [plant.argument, plant.index]
            planted |= {"place": place, "result": _named(seen, place)}
            if planted["result"] != "found":
                planted |= {key: seen[key] for key in ("resolution", "left_out", "error") if key in seen}
            planted["own"], _ = judge_by_library(case, plant, seconds)
    row["seconds"] = round(time.process_time() - began, 2)
    return row


def _named(seen: Row, place: list[Any]) -> str:
    """Return the result for an error that was planted at ``place``."""
    if seen["verdict"] == "wrong" and seen["place"] == place:
        return "found"
    if seen["verdict"] == "wrong" and seen["place"] == [place[0], None]:
        return "seen"
    return {"accepted": "missed", "wrong": "elsewhere", "contract": "elsewhere"}.get(seen["verdict"], seen["verdict"])


def check_operator(library: str, name: str, samples: int, seconds: int) -> list[Row]:
    """Check all cases of one operator."""
    warnings.simplefilter("ignore")  # libraries divide by zero at some of the points
    np.seterr(all="ignore")
    module = importlib.import_module(LIBRARIES[library])
    rows: list[Row] = []
    try:
        with limit(5 * seconds):
            found = list(module.cases(name, samples))
    except (Exception, TooSlow) as error:
        return [{"library": library, "name": name, "verdict": "skipped", "reason": text_of(error)[0]}]
    for case in found:
        if isinstance(case, str):
            rows.append({"library": library, "name": name, "verdict": "skipped", "reason": case})
        else:
            rows.append(check(case, seconds))
    return rows


def run(library: str, names: list[str], options: argparse.Namespace, rows: list[Row]) -> None:
    """Check operators in worker processes; write the record every 20 seconds."""
    began = time.perf_counter()
    fresh = multiprocessing.get_context("spawn")  # JAX starts threads, which a fork would lose
    with concurrent.futures.ProcessPoolExecutor(options.jobs, fresh) as pool:
        tasks = {pool.submit(check_operator, library, name, options.samples, options.limit): name for name in names}
        for task in concurrent.futures.as_completed(tasks):
            try:
                found = task.result()
            except BrokenProcessPool:
                found = [{"library": library, "name": tasks[task], "verdict": "killed"}]
            rows += found
            for row in found:
                show(row)
            if options.json and time.perf_counter() - began > 20:
                began = time.perf_counter()
                write(options.json, rows, options)


def show(row: Row) -> None:
    """Print one row and, below it, its error."""
    name, verdict = row["name"], row["verdict"]
    if verdict == "skipped":
        return
    planted = row.get("planted", {})
    text = f"{name:45} {row.get('sample', ''):>3}  {verdict:9} {row.get('resolution', ''):>8}  "
    text += f"{planted.get('result', ''):24} {row.get('own', ''):9} {planted.get('own', ''):9} {row.get('seconds', '')}"
    print(text.rstrip(), flush=True)
    for line in row.get("error", []) + planted.get("error", []):
        print(f"    {line}")


def write(path: pathlib.Path, rows: list[Row], options: argparse.Namespace) -> None:
    """Write the record, sorted by names."""
    versions = {"numpy": np.__version__}
    for library in {row["library"] for row in rows}:
        versions[library] = importlib.metadata.version(library)
    rows = sorted(rows, key=lambda row: (row["library"], row["name"], row.get("sample", -1)))
    record = {"versions": versions, "python": platform.python_version(), "samples": options.samples}
    lines = ",\n".join("  " + json.dumps(row, ensure_ascii=False) for row in rows)
    head = json.dumps(record, ensure_ascii=False)[:-1]
    path.write_text(f'{head},\n "rows": [\n{lines}\n]}}\n', encoding="utf-8")


def summarize(rows: list[Row]) -> str:
    """Return a summary for each library: the verdicts, the planted errors, and the verdicts of its own checker."""
    lines = []
    for library in LIBRARIES:
        own = [row for row in rows if row["library"] == library]
        cases = [row for row in own if row["verdict"] != "skipped"]
        if not own:
            continue
        operators = len({row["name"] for row in cases})
        verdicts = collections.Counter(row["verdict"] for row in cases)
        lines.append(f"{library}: {len(cases)} cases of {operators} operators, {_counted(verdicts)}")
        resolutions = [row["resolution"] for row in cases if "resolution" in row]
        if resolutions:
            lines.append(f"  resolution: median {np.median(resolutions):.1e}, worst {max(resolutions):.1e}")
        planted = [row["planted"] for row in cases if "place" in row.get("planted", {})]
        lines.append(f"  planted: {len(planted)}, {_counted(collections.Counter(p['result'] for p in planted))}")
        judged = collections.Counter(row["own"] for row in cases if "own" in row)
        seen = collections.Counter(p["own"] for p in planted)
        lines.append(f"  its own checker: {_counted(judged)}; with the errors planted: {_counted(seen)}")
        reasons = collections.Counter(row["reason"] for row in own if row["verdict"] == "skipped")
        lines += [f"  skipped: {count} × {reason}" for reason, count in reasons.most_common(8)]
    return "\n".join(lines)


def _counted(counter: collections.Counter[str]) -> str:
    return ", ".join(f"{count} {word}" for word, count in counter.most_common())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--library", nargs="+", choices=LIBRARIES, default=list(LIBRARIES))
    parser.add_argument("--operator", nargs="+", help="names, with * and ?; default: all")
    parser.add_argument("--samples", type=int, default=2, help="the largest number of inputs for each operator")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--limit", type=int, default=60, help="seconds for each check")
    parser.add_argument("--json", type=pathlib.Path, help="where to write the record")
    parser.add_argument("--resume", action="store_true", help="keep the rows of the record, check only the others")
    options = parser.parse_args()
    rows: list[Row] = record_to_resume(parser, options).get("rows", [])
    done = {(row["library"], row["name"]) for row in rows}
    for library in options.library:
        module = importlib.import_module(LIBRARIES[library])
        names = [name for name in module.names() if (library, name) not in done]
        if options.operator:
            names = [name for name in names if any(fnmatch.fnmatchcase(name, p) for p in options.operator)]
        print(f"\n{library} {module.VERSION}: {len(names)} operators", flush=True)
        run(library, names, options, rows)
    if options.json:
        write(options.json, rows, options)
    print("\n" + summarize(rows))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
