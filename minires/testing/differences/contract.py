"""Check what a vjp promises beside the right derivative: linear in gy, repeatable, the same in every memory order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minires.device import Array
from minires.errors import DtypeError, MiniresError
from minires.testing.calling.arguments import for_64_bits
from minires.testing.calling.pair import Gradients, Pair
from minires.testing.differences.directions import move_by_ulps, signed, usual_size
from minires.testing.differences.noise import EPS, TINY, largest
from minires.testing.layouts import lay_out
from minires.testing.report import NOT_REPEATABLE, GradientError, Inconclusive

__tracebackhide__ = True  # pytest goes from the caller's line to the caller's function
_UNREPEATABLE = 1e-6  # of the largest element; sums in changing order differ by far less
_STEEPEST = 2.0**10  # how much the slope inside a function may exceed |y| / |x|
_SCALES = (-1.0, 1 + 2.0**-30, 2.0**60, 2.0**-60)  # the second has digits that float32 lacks
_ORDERS = {"C": "in C order", "F": "in Fortran order", "sliced": "not contiguous"}  # of `lay_out`


def check_contract(
    pair: Pair, rng: np.random.Generator, deterministic: bool, accuracy: tuple[float, float]
) -> Contract:
    """Check everything that a vjp must keep at one point, except the derivative itself.

    Gradients that must be equal may differ by the sum of:

    - 8 times the change when the inputs and gy move by an ulp or two
    - eps · (64 + √(elements in and out)) of the largest element, the error of a sum in any order
    - 64 units in the last place of gy, since gy itself may cancel on the way, as in a saturated softmax. They are taken
      in proportion to |y| / |x| where that is large, or where it is small and 64 units would be most of the gradient.
    - the function's ``accuracy``, (relative, absolute)

    Raises
    ------
    GradientError : if ``vjp`` breaks the contract.
    Inconclusive : if the function itself is not repeatable.
    DtypeError : if the outputs are not float64.
    """
    with np.errstate(all="ignore"):
        _call_elsewhere(pair, rng)
    base = pair.evaluate()
    if pair.output_dtypes != {np.dtype("float64")}:
        names = ", ".join(sorted(map(str, pair.output_dtypes)))
        raise DtypeError(
            f"function returns {names} for float64 inputs: finite differences need float64, cast to it"
            f"{for_64_bits(pair.library)}"
        )
    with np.errstate(all="ignore"):
        contract = Contract(pair, base, rng, accuracy)
        contract.check(deterministic)
        return contract


class Contract:
    """The contract of a vjp at one point, and what checking it measured.

    Attributes
    ----------
    base : the outputs at the point
    branches : the choices that the function made there; None if it does not tell them
    floor : how far each output may be off, from equal calls that differ and from the user's ``accuracy``
    nonrepeatability : the largest difference between equal calls
    gradients, others : the gradients for two random gy
    accuracy : how far function and gradient may be off according to the user, relative to their largest elements
    """

    floor: Array
    nonrepeatability: float
    others: Gradients

    def __init__(self, pair: Pair, base: Array, rng: np.random.Generator, accuracy: tuple[float, float]) -> None:
        self.pair, self.base, self.branches, self.rng = pair, base, pair.branches, rng
        reach = largest(base)
        self.error = accuracy[0] * reach + accuracy[1]
        self.accuracy = self.error / reach if reach else accuracy[0]
        self.gy = signed(base.size, rng)
        self.gradients = pair.gradient(self.gy)
        self.noise = [0.0] * len(pair.arrays)

    def check(self, deterministic: bool) -> None:
        """Raise as `check_contract` says."""
        floor, self.nonrepeatability = self._repeat(deterministic)
        self.floor = np.maximum(floor, self.error)
        self._measure_noise(3, self.gy, self.gradients)
        self.others = self._check_linear()
        self._check_memory_orders()
        if self.pair.has_cache:
            self._check_cache()

    def _repeat(self, deterministic: bool) -> tuple[Array, float]:
        """Return how far equal calls of the function differ in each output, and the largest difference of all."""
        floor = np.nan_to_num(np.abs(self.pair.evaluate() - self.base), nan=0.0)
        worst = float(np.max(floor, initial=0.0))
        if deterministic and worst:
            raise GradientError(f"function is not repeatable: two equal calls differ by {worst:.3g}")
        if worst > _UNREPEATABLE * largest(self.base):
            raise Inconclusive(
                f"function is not repeatable: two equal calls differ by {worst:.3g}, so it has no derivative to "
                "compare with; fix its random numbers",
                NOT_REPEATABLE,
            )
        # Twice more, after an even and after an odd number of calls: a vjp may alternate.
        for again in (self.pair.gradient_twice(self.gy), self.pair.gradient(self.gy)):
            for argument, difference in enumerate(self._differences(again, self.gradients)):
                if difference and (deterministic or difference > _UNREPEATABLE * largest(self.gradients[argument])):
                    raise GradientError(
                        "vjp is not repeatable: called again with the same arguments, the gradient of "
                        f"{self.pair.labels[argument]} differs by {difference:.3g}; does it change its cache in place?"
                    )
                self.noise[argument] = max(self.noise[argument], difference)
                worst = max(worst, difference)
        return floor, worst

    def _measure_noise(self, times: int, gy: Array, g: Gradients) -> None:
        """Record how far a gradient moves when the point and gy move by an ulp or two."""
        for _ in range(times):
            moved = self.pair.gradient_beside(gy, lambda x: move_by_ulps(x, self.rng))
            noises = self._differences(moved, g)
            self.noise = [max(a, b) for a, b in zip(self.noise, noises, strict=True)]

    def _check_linear(self) -> Gradients:
        """Return the gradients for a second gy."""
        other = signed(self.base.size, self.rng)
        second, both = self.pair.gradient(other), self.pair.gradient(self.gy + 2 * other)
        what = "vjp is not linear in gy: vjp(a + 2 b) ≠ vjp(a) + 2 vjp(b)"
        again = self.gy + 2 * other, both
        self._must_agree(both, _sum(self.gradients, second, 2.0), what, 3.0, measure_again=again)
        self._check_short_cuts(other, second)
        for scale in _SCALES:
            scaled = self.pair.gradient(scale * self.gy)
            expected = [None if g is None else scale * g for g in self.gradients]
            what = f"vjp is not linear in gy: vjp({scale:.3g} gy) ≠ {scale:.3g} vjp(gy)"
            self._must_agree(scaled, expected, what, scale)
        for argument, g in enumerate(self.pair.gradient(0 * self.gy)):
            rest = largest(g)
            if rest:
                raise GradientError(
                    f"vjp is not linear in gy: for gy = 0 the gradient of {self.pair.labels[argument]} has {rest:.3g}"
                )
        return second

    def _check_short_cuts(self, gy: Array, expected: Gradients) -> None:
        """Try ones, one output alone, and all outputs but that one: a vjp may take a short cut for each."""
        ones = np.ones_like(gy)
        alike, shifted = self.pair.gradient(ones), self.pair.gradient(gy + ones)
        what = "vjp is not linear in gy: vjp(a) + vjp(1) ≠ vjp(a + 1)"
        self._must_agree(_sum(expected, alike), shifted, what, 2.0, parts=(expected, alike))
        if gy.size > 1:
            chosen = np.arange(gy.size) == self.rng.integers(gy.size)
            one, rest = (self.pair.gradient(np.where(mask, gy, 0.0)) for mask in (chosen, ~chosen))
            what = "vjp is not linear in gy: vjp(a) + vjp(b) ≠ vjp(a + b), where a has one element that is not zero"
            self._must_agree(_sum(one, rest), expected, what, 2.0, parts=(one, rest))

    def _check_cache(self) -> None:
        try:
            late = self.pair.gradient_late(self.gy, between=[_elsewhere(x, self.rng) for x in self.pair.arrays])
        except MiniresError:
            raise
        except Exception:  # the function refuses the other inputs
            return
        self._must_agree(late, self.gradients, "a cache does not outlive the next call of function")

    def _check_memory_orders(self) -> None:
        pair = self.pair
        for order, text in _ORDERS.items():
            twin = pair.at([lay_out(x, order) for x in pair.arrays])
            inputs, gy = f"for inputs that are {text}", f"for a gy that is {text}"
            self._must_agree(self._gradient_of(twin, inputs), self.gradients, f"vjp gives another gradient {inputs}")
            self._must_agree(self._gradient_of(pair, gy, order), self.gradients, f"vjp gives another gradient {gy}")

    def _gradient_of(self, pair: Pair, what: str, order: str = "C") -> Gradients:
        try:
            return pair.gradient(self.gy, order=order)
        except GradientError:
            raise
        except Exception as error:
            raise GradientError(f"function or vjp fails {what}: {error!r}") from error

    def _must_agree(
        self,
        got: Gradients,
        expected: Gradients,
        what: str,
        scale: float = 1.0,
        measure_again: tuple[Array, Gradients] | None = None,
        parts: Sequence[Gradients] = (),
    ) -> None:
        """Raise GradientError if two gradients differ by more than rounding allows.

        Parameters
        ----------
        what : what is broken then
        scale : how much larger than ``self.gradients`` the gradients are
        measure_again : another gy with its gradient, to measure the noise at in case of doubt
        parts : what ``got`` was computed from; they may be larger than their sum
        """
        for argument, difference in enumerate(self._differences(got, expected)):
            if abs(scale) <= 1 and not _as_finite(got[argument], expected[argument]):
                raise GradientError(f"{what}: the gradient of {self.pair.labels[argument]} is not finite")
            bound = self._bound(argument, [expected, *parts], scale, difference)
            if difference > bound:  # three samples of the noise may have missed it
                self._measure_noise(9, self.gy, self.gradients)
                if measure_again is not None:
                    self._measure_noise(9, *measure_again)
                bound = self._bound(argument, [expected, *parts], scale, difference)
            if difference > bound:
                raise GradientError(
                    f"{what}: the gradient of {self.pair.labels[argument]} differs by {difference:.3g}, "
                    f"rounding allows {bound:.3g}"
                )

    def _bound(self, argument: int, terms_of: Sequence[Gradients], scale: float, difference: float) -> float:
        """Return what rounding allows for a difference between sums of gradients."""
        x, size = self.pair.arrays[argument], max(1.0, abs(scale))
        reach = max(largest(g[argument]) for g in terms_of)
        rounding = EPS * reach + size * TINY  # TINY for each value that underflows
        inaccuracy = 8 * size * self.accuracy * reach
        # Where the gradients mostly agree, the function may be steep inside however small |y| / |x| is.
        steepest = np.inf if difference < reach / 8 else _STEEPEST
        slope = inner_slope(self.base, x, steepest)
        # Outputs and gradients are zero here, apart from what cancellation leaves of gy.
        if max(reach, largest(self.base)) <= 64 * EPS * float(usual_size(x)):
            slope = 1.0
        cancelled = 64 * EPS * max(abs(scale), min(3.0, 3 * abs(scale))) * slope
        terms = 64 + np.sqrt(x.size + self.base.size)
        return float(8 * abs(scale) * self.noise[argument] + terms * rounding + cancelled + inaccuracy)

    def _differences(self, a: Gradients, b: Gradients) -> list[float]:
        """Return the largest difference for each argument."""
        worst = []
        for argument, (left, right) in enumerate(zip(a, b, strict=True)):
            if (left is None) != (right is None):
                raise GradientError(
                    f"vjp returns None for {self.pair.labels[argument]} in one call and an array in another"
                )
            worst.append(0.0 if left is None or right is None else largest(left - right))
        return worst


def inner_slope(base: Array, x: Array, steepest: float) -> float:
    """Return how steep a function that maps ``x`` to ``base`` may be inside.

    That is |y| / |x|, or 1 where 1 is at most ``steepest`` times larger.
    """
    secant = largest(base) / float(usual_size(x))
    return max(secant, min(1.0, steepest * secant)) if secant else 0.0


def _call_elsewhere(pair: Pair, rng: np.random.Generator) -> None:
    """Call function and vjp at another point first: a result that they keep from their first call then shows."""
    twin = pair.at([_elsewhere(x, rng) for x in pair.arrays])
    try:
        twin.gradient(signed(twin.evaluate().size, rng))
    except Exception:  # outside its domain, say; an error in the function will show at the point itself
        return


def _elsewhere(x: Array, rng: np.random.Generator) -> Array:
    """Return another point not far from x; arrays other than floats stay."""
    return x * (1 + signed(x.shape, rng) / 8) + signed(x.shape, rng) / 1024 if x.dtype.kind == "f" else x


def _as_finite(got: Array | None, expected: Array | None) -> bool:
    return got is None or expected is None or bool(np.isfinite(got[np.isfinite(expected)]).all())


def _sum(a: Gradients, b: Gradients, factor: float = 1.0) -> Gradients:
    """Return a + factor · b."""
    return [None if x is None or y is None else x + factor * y for x, y in zip(a, b, strict=True)]
