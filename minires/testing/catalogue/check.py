"""One check of one case: which tiers it allows, and how each of them is run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    """What computes, and in which numbers; ``kernels`` is "-" for functions of arrays, which know none."""

    dtype: str
    device: str
    kernels: str

    def __str__(self) -> str:
        return f"{self.dtype}, {self.device}" + ("" if self.kernels == "-" else f", {self.kernels} kernels")


class Step(NamedTuple):
    """What is checked: the gradient, or the gradient of the gradient, in which way."""

    tier: str
    derivative: int

    def __str__(self) -> str:
        return f"{self.tier}, {('first', 'second')[self.derivative - 1]} derivatives"


@dataclass(frozen=True, repr=False)
class Point:
    """A case at a point given by a seed, in a setting and a memory order, and the step to check there.

    ``only`` is the one input whose gradient is checked, gy being the last for second derivatives; None stands for all.
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
    """The steps that a case allows, cheap ones first.

    In float64 these are exact differences of integers, a complex step, and finite differences; in float32 integers
    again, and a bound for what rounding makes of the float64 reference's results.
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


def check(point: Point) -> GradientReport | RoundingReport:
    """Check one point.

    Raises
    ------
    GradientError, Inconclusive, RoundingError : with a first line that describes the point.
    """
    try:
        with kernels.using(point.setting.kernels):
            return _check(point)
    except (GradientError, RoundingError) as error:
        error.args = (f"{point}\n{error}",)
        raise


def _check(point: Point) -> GradientReport | RoundingReport:
    case, tier = point.case, point.step.tier
    kinds = case.exact if tier == EXACT else case.smooth
    assert kinds is not None, f"{tier} is no step of this case"
    arrays = case.values(kinds, point.seed, point.setting.dtype)
    first = _first(in_order(case.function, point.order, point.setting.kernels), point)
    if point.step.derivative == 2:
        arrays += _output_gradients(first, arrays, point)
    pair = _derivative(first, arrays, point)
    options: dict[str, Any] = {"rng": point.seed, "argnums": point.only}
    if tier == EXACT:
        return check_exact(pair.forward, pair.vjp, *arrays, draws=1, **options)
    if tier == COMPLEX_STEP:
        return check_complex_step(pair.forward, pair.vjp, *arrays, **options)
    if tier == DIFFERENCES:
        return check_vjp(pair.forward, pair.vjp, *arrays, deterministic=True, **options)
    own = point.setting.kernels if case.own_formula and point.setting.kernels != "reference" else None
    function, plain = in_order(case.function, point.order, point.setting.kernels), case.function
    if point.step.derivative == 2:
        function, plain = gradients_of(function), gradients_of(plain)
    gys = _output_gradients(pair, arrays, point)
    return check_derivatives(function, plain, arrays, gys, point.setting.device, own)


def _first(function: Callable[..., Any], point: Point) -> TensorPair:
    inputs = len(point.case.shapes)
    return TensorPair(function, range(inputs), [point.setting.device] * inputs)


def _derivative(first: TensorPair, arrays: Sequence[Array], point: Point) -> TensorPair | SecondOrder:
    return SecondOrder(first, arrays) if point.step.derivative == 2 else first


def _output_gradients(pair: TensorPair | SecondOrder, arrays: Sequence[Array], point: Point) -> list[Array]:
    """A gradient for each output, of integers where the check is exact."""
    kind = "integers" if point.step.tier == EXACT else "smooth"
    outputs = enumerate(pair.forward(*arrays), len(arrays))
    return [strategies.array(y.shape, point.seed, kind, y.dtype, stream=stream) for stream, y in outputs]


def points(entry: Entry, settings: Sequence[Setting]) -> st.SearchStrategy[Point]:
    """Points of an operation: any case, any of the settings, any memory order, one input at a time.

    One in sixteen is checked by finite differences, which cost as much as the other tiers together; where a case
    allows no step in the setting drawn, another is drawn.
    """
    return _point(entry, settings)


def _draw_point(draw: st.DrawFn, entry: Entry, settings: Sequence[Setting]) -> Point:
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
    return Point(case, setting, draw(strategies.memory_orders()), step, draw(strategies.seeds()), only)


# Made once: Hypothesis reads the source of a function that it makes a strategy of, which takes a millisecond.
_point = st.composite(_draw_point)
