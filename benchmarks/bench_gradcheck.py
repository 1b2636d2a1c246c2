"""Give wrong gradients, and right ones that are hard to check, to `check_vjp` and to PyTorch's `gradcheck`.

    python benchmarks/bench_gradcheck.py [--seeds 100] [--torch-seeds 10] [--cases NAME …] [--json FILE [--resume]]
        [--markdown]

The cases are those of tests/testing/gradient_cases. A wrong gradient that passes is missed. A right gradient that does
not pass is a false alarm. For `check_vjp`, Inconclusive counts as missed if the gradient is wrong, and as a false alarm
if it is right.

PyTorch checks each case as a torch.autograd.Function whose forward and backward call the same NumPy code. It uses its
default tolerances, once with its default method, which builds whole Jacobian matrices, and once in its fast mode. Each
seed draws the numbers of the case and of the checker. Without PyTorch, minires runs alone.

The whole benchmark takes about half an hour of one core. FILE is written after each case; with --resume, the cases in
FILE are kept.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import pathlib
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from harness import at_least, keep_in, machine, record_to_resume, write_to

from minires import testing

try:
    import torch
except ImportError:
    torch = None

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests" / "testing"))

# The elements of a Jacobian matrix of half a GiB. PyTorch's default method builds two such matrices. Cases with larger
# ones are not run.
LARGEST_JACOBIAN = 1 << 26

Case = Callable[[np.random.Generator], tuple[Any, ...]]
Check = Callable[[Case, int, bool], bool | None]


def with_minires(case: Case, seed: int, wrong: bool) -> bool:
    """Return whether `check_vjp` judges rightly: it rejects a wrong gradient and passes a right one."""
    function, vjp, *arrays = draw(case, seed)
    options = case.options if wrong else {"deterministic": True, **case.options}
    try:
        report = testing.check_vjp(function, vjp, *arrays, rng=seed, **options)
    except testing.Inconclusive:
        return False
    except testing.GradientError:
        return wrong
    return not wrong and report.resolution <= 1e-4


def with_torch(case: Case, seed: int, wrong: bool, fast: bool = False) -> bool | None:
    """Return whether `torch.autograd.gradcheck` judges rightly; None if the Jacobian matrix would be too large."""
    function, vjp, *arrays = draw(case, seed)
    pair = as_torch_function(function, vjp, case.options.get("has_cache", False))
    inputs = [torch.tensor(np.array(array)) for array in arrays]
    for number in inputs:
        number.requires_grad_(number.is_floating_point())
    torch.manual_seed(seed)
    if not fast and jacobian_size(pair, inputs) > LARGEST_JACOBIAN:
        return None
    try:
        accepted = torch.autograd.gradcheck(pair.apply, inputs, fast_mode=fast)
    except Exception:  # any exception means that the check does not accept this gradient
        accepted = False
    return accepted != wrong


def with_torch_fast(case: Case, seed: int, wrong: bool) -> bool | None:
    return with_torch(case, seed, wrong, fast=True)


def draw(case: Case, seed: int) -> tuple[Any, ...]:
    return case(np.random.default_rng([seed, len(case.__name__)]))


def jacobian_size(pair: Any, inputs: Sequence[Any]) -> int:
    """Return the number of elements of the Jacobian matrix, from all inputs to all outputs; 0 if the function fails."""
    with contextlib.suppress(Exception):
        outputs = pair.apply(*(number.detach().clone() for number in inputs))
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        return sum(number.numel() for number in inputs) * sum(number.numel() for number in outputs)
    return 0


def as_torch_function(function: Callable[..., Any], vjp: Callable[..., Any], has_cache: bool) -> Any:
    """Return a torch.autograd.Function that calls a NumPy function and its vjp."""

    class Pair(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, *inputs: Any) -> Any:
            context.arrays = [number.numpy() for number in inputs]
            returned = function(*context.arrays)
            if has_cache:
                returned, context.cache = returned
            context.is_tuple = isinstance(returned, tuple)
            outputs = tuple(torch.tensor(np.array(y)) for y in (returned if context.is_tuple else (returned,)))
            context.floats = [output.is_floating_point() for output in outputs]
            context.mark_non_differentiable(*(output for output in outputs if not output.is_floating_point()))
            return outputs if context.is_tuple else outputs[0]

        @staticmethod
        def backward(context: Any, *gradients: Any) -> Any:
            parts = zip(gradients, context.floats, strict=True)
            gy = tuple(gradient.numpy() if is_float else None for gradient, is_float in parts)
            hand = gy if context.is_tuple else gy[0]
            returned = vjp(hand, context.cache) if has_cache else vjp(hand, *context.arrays)
            returned = returned if isinstance(returned, tuple) else (returned,)
            return tuple(None if g is None else as_tensor(np.asarray(g)) for g in returned)

    return Pair


def as_tensor(array: np.ndarray) -> Any:
    """Return a tensor that shares the array's memory, if PyTorch supports its strides."""
    shareable = array.flags.writeable and all(stride >= 0 for stride in array.strides)
    return torch.from_numpy(array if shareable else array.copy())


CHECKERS: dict[str, Check] = {"minires": with_minires}
if torch is not None:
    CHECKERS |= {"torch": with_torch, "torch fast": with_torch_fast}


def run(case: Case, wrong: bool, seeds: dict[str, int]) -> dict[str, dict[str, Any]]:
    """Return for each checker the number of draws, the seeds it judged wrongly, and the median time in milliseconds."""
    found = {}
    for name, check in CHECKERS.items():
        failed, times = [], []
        for seed in range(seeds[name]):
            start = time.perf_counter()
            right = check(case, seed, wrong)
            if right is None:
                break
            times.append((time.perf_counter() - start) * 1e3)
            if not right:
                failed.append(seed)
        milliseconds = round(statistics.median(times), 2) if times else None
        found[name] = {"draws": len(times), "failed": failed, "milliseconds": milliseconds}
    return found


def summary(results: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the failures of each checker, in cases and draws, and its time for the cases that all checkers ran."""
    both = [case for case in results.values() if all(found["draws"] for found in case["checkers"].values())]
    summed = {}
    for name in CHECKERS:
        row: dict[str, Any] = {}
        for kind in ("wrong", "right"):
            found = [case["checkers"][name] for case in results.values() if case["kind"] == kind]
            row[kind] = {
                "cases": sum(bool(case["draws"]) for case in found),
                "not run": sum(not case["draws"] for case in found),
                "failed": sum(bool(case["failed"]) for case in found),
                "draws": sum(case["draws"] for case in found),
                "failed draws": sum(len(case["failed"]) for case in found),
            }
        row["seconds"] = round(sum(case["checkers"][name]["milliseconds"] for case in both) / 1e3, 2)
        summed[name] = row
    return summed


def markdown(results: dict[str, dict[str, Any]], summed: dict[str, dict[str, Any]]) -> str:
    """Return the tables for the docs: the sums, then every case that some checker judged wrongly."""

    def cell(counts: dict[str, int]) -> str:
        return f"{counts['failed']} of {counts['cases']} ({counts['failed draws']} of {counts['draws']})"

    lines = ["| checker | wrong ones missed, cases (draws) | right ones rejected, cases (draws) | seconds |"]
    lines.append("| :-- | --: | --: | --: |")
    for name, row in summed.items():
        lines.append(f"| {name} | {cell(row['wrong'])} | {cell(row['right'])} | {row['seconds']} |")
    for kind, verb in (("wrong", "missed"), ("right", "rejected")):
        lines += ["", f"| {kind} gradients that a checker {verb} | " + " | ".join(CHECKERS) + " |"]
        lines.append("| :-- |" + " --: |" * len(CHECKERS))
        for name, case in results.items():
            if case["kind"] == kind and any(found["failed"] for found in case["checkers"].values()):
                lines.append(f"| {name.replace('_', ' ')} | {' | '.join(map(shown, case['checkers'].values()))} |")
    return "\n".join(lines)


def shown(found: dict[str, Any]) -> str:
    if not found["draws"]:
        return "not run"
    return f"{len(found['failed'])} of {found['draws']}" if found["failed"] else "·"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=at_least(1), default=100)
    parser.add_argument("--torch-seeds", type=at_least(1), default=10)
    parser.add_argument("--cases", nargs="+", metavar="NAME")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE")
    parser.add_argument("--resume", action="store_true", help="keep the cases that FILE has, and run the others")
    parser.add_argument("--markdown", action="store_true", help="print the table for the docs")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # PyTorch warns about some of the inputs
    kinds = {
        kind: getattr(importlib.import_module(f"gradient_cases.{kind}"), kind.upper()) for kind in ("wrong", "right")
    }
    if torch is not None:
        torch.set_num_threads(1)
    seeds = {name: options.seeds if name == "minires" else options.torch_seeds for name in CHECKERS}
    record = record_to_resume(parser, options)
    if record.get("seeds", seeds) != seeds:
        parser.error(f"{options.json} has other seeds: {record['seeds']}")
    results: dict[str, dict[str, Any]] = record.get("results", {})
    print(f"{'':62}" + "".join(f"{name + ', ms':>24}" for name in CHECKERS))
    for kind, cases in kinds.items():
        for name, case in cases.items():
            if name in results or (options.cases and name not in options.cases):
                continue
            found = run(case, kind == "wrong", seeds)
            results[name] = {"kind": kind, "checkers": found}
            columns = "".join(f"{shown(one):>14}{one['milliseconds'] or '':>10}" for one in found.values())
            print(f"{kind} {name:56}{columns}", flush=True)
            if options.json:
                keep_in(options.json, machine(threads=1), results, seeds=seeds, summary=summary(results))
    summed = summary(results)
    for name, row in summed.items():
        wrong, right = row["wrong"], row["right"]
        print(
            f"{name}: missed {wrong['failed']} of {wrong['cases']} wrong gradients ({wrong['failed draws']} of "
            f"{wrong['draws']} draws), rejected {right['failed']} of {right['cases']} right ones "
            f"({right['failed draws']} of {right['draws']} draws), {wrong['not run'] + right['not run']} not run, "
            f"{row['seconds']} s for one draw of each"
        )
    if options.markdown:
        print(markdown(results, summed))
    if options.json:
        write_to(options.json, machine(threads=1), results, seeds=seeds, summary=summed)


if __name__ == "__main__":
    main()
