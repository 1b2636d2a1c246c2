"""Give `check_vjp` right gradients where differences mislead, and the same gradients with an error of 0.1 %.

    python benchmarks/bench_gradcheck_stress.py [--seeds 100] [--cases NAME …] [--json FILE]

The functions are those of tests/testing/gradient_cases/stress.py, the values all kinds of `testing.strategies`. A right
gradient that is called wrong is an error of the checker. Inconclusive results are counted by cause. Then the largest
element of the first input's gradient is changed by 0.1 %, and the results are counted again: a wrong gradient that
passes is missed.
"""

from __future__ import annotations

import argparse
import collections
import pathlib
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from harness import at_least, machine, write_to

from minires import testing
from minires.testing.strategies.value import KINDS

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests" / "testing"))


def verdict(function: Callable[..., Any], vjp: Callable[..., Any], arrays: list[np.ndarray], seed: int) -> str:
    """Return the result of `check_vjp`: "passed", "called wrong", or why it is inconclusive."""
    try:
        testing.check_vjp(function, vjp, *arrays, rng=seed)
    except testing.Inconclusive as error:
        return f"not told: {error.cause}"
    except testing.GradientError:
        return "called wrong"
    return "passed"


def off_by_a_thousandth(function: Callable[..., Any], vjp: Callable[..., Any], arrays: list[np.ndarray]) -> Any:
    """Return the vjp with the largest element of the first gradient 0.1 % too large; None if all elements are 0."""
    g = vjp(np.ones_like(function(*arrays)), *arrays)[0]
    place = np.argmax(np.abs(g))
    if not np.abs(g).flat[place]:
        return None
    factors = np.where(np.arange(g.size) == place, 1.001, 1.0).reshape(g.shape)

    def wrong(gy: np.ndarray, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        first, *others = vjp(gy, *arrays)
        return first * factors, *others

    return wrong


def main() -> None:
    from gradient_cases.stress import STRESS, drawn

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=at_least(1), default=100)
    parser.add_argument("--wrong-seeds", type=at_least(0), default=10, help="seeds that also check an error of 0.1 %%")
    parser.add_argument("--cases", nargs="+", metavar="NAME")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE")
    options = parser.parse_args()
    results, summed = {}, {"right": collections.Counter(), "wrong": collections.Counter()}
    for name in options.cases or STRESS:
        start = time.perf_counter()
        found: dict[str, collections.Counter[str]] = {kind: collections.Counter() for kind in summed}
        for kind in KINDS:
            for seed in range(options.seeds):
                function, vjp, *arrays = drawn(name, kind, seed)
                found["right"][verdict(function, vjp, arrays, seed)] += 1
                wrong = off_by_a_thousandth(function, vjp, arrays) if seed < options.wrong_seeds else None
                if wrong is not None:
                    found["wrong"][verdict(function, wrong, arrays, seed)] += 1
        for kind, counts in found.items():
            summed[kind].update(counts)
        results[name] = {kind: dict(counts) for kind, counts in found.items()}
        seconds = time.perf_counter() - start
        print(f"{name:36}{seconds:7.1f} s  {results[name]['right']}  0.1 % off: {results[name]['wrong']}", flush=True)
    print(f"right: {dict(summed['right'])}\n0.1 % off: {dict(summed['wrong'])}")
    if options.json:
        seeds = {"seeds": options.seeds, "wrong seeds": options.wrong_seeds}
        write_to(options.json, machine(threads=1), results, kinds=KINDS, summary=summed, **seeds)


if __name__ == "__main__":
    main()
