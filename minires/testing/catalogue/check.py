"""One check of one case: the steps that a case allows, and how to run each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from hypothesis import reject
from hypothesis import strategies as st

from minires import kernels
from minires.device import Array
from minires.testing import strategies
from minires.testing.catalogue.entry import Case, Entry
from minires.testing.catalogue.laid_out import in_order
from minires.testing.catalogue.rounding import check_derivatives, gradients_of
from minires.testing.complex_step import check_complex_step
from minires.testing.exact import check_exact
from minires.testing.report import GradientError, GradientReport
from minires.testing.rounding import RoundingError, RoundingReport
from minires.testing.tensors import SecondOrder, TensorPair
from minires.testing.vjp import check_vjp

EXACT, COMPLEX_STEP, DIFFERENCES, ROUNDING = "exact", "complex step", "finite differences", "rounding bound"


class Setting(NamedTuple):
    """A dtype, a device and a kernel set; ``kernels`` is "-" for functions of arrays, which use none."""

    dtype: str
    device: str
    kernels: str

    def __str__(self) -> str:
        return f"{self.dtype}, {self.device}" + ("" if self.kernels == "-" else f", {self.kernels} kernels")


class Step(NamedTuple):
    """A way to check (the tier), and what it checks: the gradient (1), or the gradient of the gradient (2)."""

    tier: str
    derivative: int

    def __str__(self) -> str:
        return f"{self.tier}, {('first', 'second')[self.derivative - 1]} derivatives"


@dataclass(frozen=True, repr=False)
class Trial:
    """One check: a case, with values from a seed, in a setting and a memory order, and the step to check.

    ``only`` is the index of the one input whose gradient is checked, or None for all. For second derivatives the last
    input is gy.
    """

    case: Case
    setting: Setting
    order: str
    step: Step
    seed: int
    only: int | None = None

    def __str__(self) -> str:
        shapes = ", ".join(f"x{n} {shape}" for n, shape in enumerate(self.case.shapes))
        how = f"{self.step}, memory order {self.order}, seed {self.seed}"
        return f"{self.case.text} with {shapes}; {self.setting}; {how}"

    def __repr__(self) -> str:
        return str(self)


def steps(case: Case, setting: Setting) -> list[Step]:
    """Return the steps that a case allows, cheap ones first.

    In float64 these are exact differences of integers, a complex step, and finite differences. In float32 they are
    integers again, and a bound on the rounding of the float64 reference's results.
    """
    tiers = []
    rounds = case.own_formula and setting.dtype == "float32" and setting.kernels != "reference"
    if case.exact is not None and not rounds:
        tiers.append(EXACT)
    if case.smooth is not None and setting.dtype == "float32":
        tiers.append(ROUNDING)
    elif case.smooth is not None:
        tiers += [COMPLEX_STEP] * case.analytic + [DIFFERENCES]
    return [Step(tier, derivative) for tier in tiers for derivative in (1, 2)]


def check(trial: Trial) -> GradientReport | RoundingReport:
    """Run one trial.

    Raises
    ------
    GradientError, Inconclusive, RoundingError : whose first line describes the trial.
    """
    try:
        with kernels.using(trial.setting.kernels):
            return _check(trial)
    except (GradientError, RoundingError) as error:
        error.args = (f"{trial}\n{error}",)
        raise


def _check(trial: Trial) -> GradientReport | RoundingReport:
    case, setting, tier = trial.case, trial.setting, trial.step.tier
    kinds = case.exact if tier == EXACT else case.smooth
    assert kinds is not None, f"{tier} is no step of this case"
    arrays = case.values(kinds, trial.seed, setting.dtype)
    function, plain = in_order(case.function, trial.order, setting.kernels), case.function
    first = TensorPair(function, range(len(arrays)), [setting.device] * len(arrays))
    pair: TensorPair | SecondOrder = first
    if trial.step.derivative == 2:
        arrays += _output_gradients(first, arrays, trial)
        pair = SecondOrder(first, arrays)
        function, plain = gradients_of(function), gradients_of(plain)
    options: dict[str, Any] = {"rng": trial.seed, "argnums": trial.only}
    if tier == EXACT:
        return check_exact(pair.forward, pair.vjp, *arrays, draws=1, **options)
    if tier == COMPLEX_STEP:
        return check_complex_step(pair.forward, pair.vjp, *arrays, **options)
    if tier == DIFFERENCES:
        return check_vjp(pair.forward, pair.vjp, *arrays, deterministic=True, **options)
    own = setting.kernels if case.own_formula and setting.kernels != "reference" else None
    return check_derivatives(function, plain, arrays, _output_gradients(pair, arrays, trial), setting.device, own)


def _output_gradients(pair: TensorPair | SecondOrder, arrays: Sequence[Array], trial: Trial) -> list[Array]:
    """Return a gradient for each output, of integers if the check is exact."""
    kind = "integers" if trial.step.tier == EXACT else "smooth"
    outputs = enumerate(pair.forward(*arrays), len(arrays))
    return [strategies.array(y.shape, trial.seed, kind, y.dtype, stream=stream) for stream, y in outputs]


def trials(entry: Entry, settings: Sequence[Setting]) -> st.SearchStrategy[Trial]:
    """Return a strategy of trials of an operation: any case, setting and memory order, one input at a time.

    One trial in sixteen uses finite differences, which cost as much as the other tiers together. The setting is one
    in which the case allows a step.
    """
    return _trial(entry, settings)


def _draw_trial(draw: st.DrawFn, entry: Entry, settings: Sequence[Setting]) -> Trial:
    case = draw(entry.cases())
    possible = {setting: found for setting in settings if (found := steps(case, setting))}
    if not possible:
        reject()
    setting = draw(st.sampled_from(list(possible)))
    dear = [step for step in possible[setting] if step.tier == DIFFERENCES]
    cheap = [step for step in possible[setting] if step.tier != DIFFERENCES]
    pick_dear = dear and (not cheap or draw(st.integers(0, 15)) == 15)
    step = draw(st.sampled_from(dear if pick_dear else cheap))
    only = draw(st.integers(0, len(case.shapes) + step.derivative - 2))
    return Trial(case, setting, draw(strategies.memory_orders()), step, draw(strategies.seeds()), only)


# Made once: Hypothesis reads the source of a function that it makes a strategy of, which takes a millisecond.
_trial = st.composite(_draw_trial)
