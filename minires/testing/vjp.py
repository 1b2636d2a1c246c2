"""`check_vjp`: compare a hand-written gradient with finite differences that have measured error bars.

One input at a time is moved along random directions d, which gives the derivative D_j of every output with a bar
(see differences/ladder.py). Only then is gy chosen: zero where the bar is too wide to be of use, random elsewhere. The
gradient is right if

    | ⟨vjp(gy), d⟩ − Σ gy_j D_j |  ≤  Σ |gy_j| bar_j + the rounding of the left side,

where the rounding is measured by calling vjp again with all its inputs moved by an ulp or two. No part of this bound is
chosen by hand to make tests pass. `minires.testing.differences` lists the files of the method in reading order.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

from minires.testing.calling.arguments import accuracy_of, as_arrays, seed_of
from minires.testing.calling.names import listed
from minires.testing.calling.pair import Pair
from minires.testing.differences.compare import Probe
from minires.testing.differences.contract import Contract, check_contract
from minires.testing.differences.directions import snap
from minires.testing.differences.verdict import check_input
from minires.testing.report import GradientError, GradientReport, Inconclusive, InputReport, errors_end_here

__tracebackhide__ = True  # pytest goes from the caller's line to the caller's function


@errors_end_here
def check_vjp(
    function: Callable[..., Any],
    vjp: Callable[..., Any],
    *arrays: Any,
    rng: int | np.random.Generator | None = None,
    has_cache: bool = False,
    argnums: int | Sequence[int] | None = None,
    at_kinks: str = "skip",
    deterministic: bool = False,
    accuracy: float | Sequence[float] = 0.0,
) -> GradientReport:
    """Prove a hand-written gradient, or find the element where it is wrong.

        | ⟨vjp(gy, x), d⟩ − d/dt ⟨gy, function(x + t d)⟩ |  ≤  a bound that is computed, not chosen

    Beside the numbers, ``vjp`` must be linear in gy and repeatable, and leave inputs and gy untouched. It must return
    finite gradients of the inputs' shapes and dtypes, in any memory order, and None only where the derivative is zero.

    Parameters
    ----------
    function : function(*arrays) -> y, a float64 array or a tuple of arrays
    vjp : vjp(gy, *arrays) -> tuple with one gradient (or None, which claims zero) per array; gy is a tuple where
        y is one. Inputs of integer dtype have no gradient: None.
    arrays : the point, any shapes and strides; float64 where a gradient is checked
    rng : seed or generator for directions and gy; None is seed 0, so that a check repeats
    has_cache : function returns (y, cache), and the gradient is vjp(gy, cache)
    argnums : the inputs whose gradients are checked (default: all)
    at_kinks : "skip" leaves out what lies on a kink, and the report counts it; "raise" raises Inconclusive instead
    deterministic : equal calls must give equal bits (else their difference is measured and allowed for)
    accuracy : how far off the function may be beyond rounding, relative to its largest output; 1e-8, say, for an
        iteration that stops at 1e-8. Or a pair (relative, absolute). Gradients may be off by as much, relative to
        their size. The report's ``resolution`` shows which errors can then still be seen.

    Returns
    -------
    GradientReport

    Raises
    ------
    GradientError : the gradient is wrong; the text says where, by how much, and how to reproduce it.
    Inconclusive : the gradient can be neither confirmed nor refuted here.
    DtypeError : an input or output is not float64 (finite differences in float32 prove nothing).

    Cost: about 95 evaluations of ``function`` per input and direction, two directions per input as a rule.
    """
    if at_kinks not in ("skip", "raise"):
        raise ValueError(f"at_kinks must be 'skip' or 'raise', got {at_kinks!r}")
    tolerated = accuracy_of(accuracy)
    seed = seed_of(rng)
    generator = np.random.default_rng(seed)
    pair = Pair(function, vjp, as_arrays(arrays, function), has_cache=has_cache, argnums=argnums)
    pair.need_float64()
    for array in pair.arrays:
        snap(array)
    contract = check_contract(pair, generator, deterministic, tolerated)
    inputs = _check_inputs(pair, contract, generator, at_kinks)
    return GradientReport(inputs, pair.evaluations, pair.gradients, seed, contract.nonrepeatability)


def _check_inputs(pair: Pair, contract: Contract, rng: np.random.Generator, at_kinks: str) -> tuple[InputReport, ...]:
    """Check the gradients of all inputs. An error at one input comes with what is known of the others.

    Raises
    ------
    GradientError : for the first input whose gradient is wrong, even if earlier ones are inconclusive.
    Inconclusive : for the first input that is inconclusive, if none is wrong.
    """
    passed: dict[int, InputReport] = {}
    wrong: dict[int, GradientError] = {}
    unknown: dict[int, GradientError] = {}
    for argument in pair.varied:
        try:
            passed[argument] = check_input(Probe(pair, contract, rng, argument), at_kinks, locate=not wrong)
        except Inconclusive as error:
            unknown[argument] = error
        except GradientError as error:
            wrong[argument] = error
        except Exception:  # of the function; a gradient that was found wrong is more important
            if not wrong and not unknown:
                raise
    if not wrong and not unknown:
        return tuple(passed.values())
    first = min(wrong or unknown)
    others = []
    groups: dict[str, Collection[int]] = {"passed": passed, "wrong as well": wrong, "inconclusive": unknown}
    for what, found in groups.items():
        labels = [pair.labels[argument] for argument in found if argument != first]
        others += [f"{listed(labels)} {what}"] if labels else []
    raise _with_others((wrong or unknown)[first], "; ".join(others))


def _with_others(error: GradientError, others: str) -> GradientError:
    if not others:
        return error
    if error.finding is not None:
        finding = dataclasses.replace(error.finding, others=others)
        return GradientError(str(finding), finding)
    error.args = (f"{error} Other inputs: {others}.",)
    return error
