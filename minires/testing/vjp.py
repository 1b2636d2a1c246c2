"""`check_vjp`: a hand-written gradient against finite differences with measured error bars.

For one input at a time the function is moved along random directions d, which gives the derivative D_j of
every output with a bar (see ladder.py). Only then is gy chosen: zero where the bar is too wide to be of use,
random elsewhere. The gradient is right if

    | ⟨vjp(gy), d⟩ − Σ gy_j D_j |  ≤  Σ |gy_j| bar_j + the rounding of the left side,

where the rounding is measured by running vjp again with all its inputs moved by an ulp or two. Nothing in
this bound is chosen by hand to make tests pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minires.testing.differences.compare import Probe
from minires.testing.differences.contract import check_contract
from minires.testing.differences.directions import snap
from minires.testing.differences.inputs import check_inputs
from minires.testing.report import GradientReport, errors_end_here
from minires.testing.subject.arguments import accuracy_of, as_arrays, seed_of
from minires.testing.subject.pair import Pair, need_float64

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

    Beside the numbers, ``vjp`` must be linear in gy and repeatable, leave inputs and gy untouched, return finite
    gradients of the inputs' shapes and dtypes, in any memory order, and None only where the derivative is zero.

    Parameters
    ----------
    function : function(*arrays) -> y, a float64 array or a tuple of arrays
    vjp : vjp(gy, *arrays) -> tuple with one gradient (or None, which claims zero) per array; gy is a tuple where
        y is one. Inputs of integer dtype have no gradient: None.
    arrays : the point, any shapes and strides; float64 where a gradient is checked
    rng : seed or generator for directions and gy; None is seed 0, so that a check repeats
    has_cache : function returns (y, cache), and the gradient is vjp(gy, cache)
    argnums : the inputs whose gradients are checked (default: all)
    at_kinks : "skip" leaves out what lies on a kink, and the report counts it; "raise" is Inconclusive then
    deterministic : equal calls must give equal bits (else their difference is measured and allowed for)
    accuracy : how far off the function may be beyond rounding, relative to its largest output, as of an iteration that
        stops at 1e-8; or a pair (relative, absolute). Gradients may be off by as much, relative to their size. What
        is then left to see is in the report's ``resolution``.

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
    need_float64(pair)
    for array in pair.arrays:
        snap(array)
    contract = check_contract(pair, generator, deterministic, tolerated)
    probe = Probe(pair, contract, generator, seed)
    inputs = check_inputs(probe, at_kinks)
    return GradientReport(inputs, pair.evaluations, pair.gradients, seed, contract.nonrepeatability)
