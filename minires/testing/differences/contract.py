"""What a vjp promises beside the right number: linear in gy, repeatable, indifferent to memory order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from minires.device import Array
from minires.errors import DtypeError, MiniresError
from minires.testing.differences.cancellation import inner_slope
from minires.testing.differences.directions import move_by_ulps, signed, usual_size
from minires.testing.differences.noise import EPS, TINY, largest
from minires.testing.layouts import lay_out
from minires.testing.report import NOT_REPEATABLE, GradientError, Inconclusive
from minires.testing.subject.arguments import for_64_bits
from minires.testing.subject.pair import Gradients, Pair

__tracebackhide__ = True  # pytest goes from the caller's line to the caller's function
_UNREPEATABLE = 1e-6  # of the largest element; summation in changing order stays far below
_STEEPEST = 2.0**10  # how much the slope inside of a function may exceed |y| / |x|
_SCALES = (-1.0, 1 + 2.0**-30, 2.0**60, 2.0**-60)  # the second in digits that float32 has not
_ORDERS = {"C": "in C order", "F": "in Fortran order", "sliced": "not contiguous"}  # of `lay_out`


class Contract(NamedTuple):
    """What was measured on the way: the outputs, the branches that the function took (None if it does not tell),
    how far equal calls differ, the gradient for a random gy."""

    base: Array
    branches: Any
    floor: Array
    nonrepeatability: float
    gradients: Gradients
    others: Gradients  # for another gy
    accuracy: float  # of function and gradient, relative to their largest elements, as far as the user says


def check_contract(
    pair: Pair, rng: np.random.Generator, deterministic: bool, accuracy: tuple[float, float] = (0.0, 0.0)
) -> Contract:
    """Everything that a vjp must keep at one point, but the derivative itself.

    Gradients that must be equal may differ by 8 times what moving the inputs and gy by an ulp or two changes, plus
    eps · (64 + √(numbers in and out)) of the largest element, the error of a sum in any order. Where gy itself
    cancels on the way, as in a saturated softmax, 64 units in its last place may remain; in proportion to |y| / |x|
    where that is large, or where it is small and so much would be most of the gradient. To all of it comes the
    function's ``accuracy``, (relative, absolute).

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
        return _Contract(pair, base, pair.branches, rng, accuracy).check(deterministic)


class _Contract:
    def __init__(
        self, pair: Pair, base: Array, branches: Any, rng: np.random.Generator, accuracy: tuple[float, float]
    ) -> None:
        self.pair, self.base, self.branches, self.rng = pair, base, branches, rng
        reach = largest(base)
        self.error = accuracy[0] * reach + accuracy[1]
        self.accuracy = self.error / reach if reach else accuracy[0]
        self.gy = signed(base.size, rng)
        self.g = pair.gradient(self.gy)
        self.noise = [0.0] * len(pair.arrays)

    def check(self, deterministic: bool) -> Contract:
        floor, nonrepeatability = self._repeat(deterministic)
        self._measure_noise(3, self.gy, self.g)
        others = self._linear()
        self._orders()
        if self.pair.has_cache:
            self._caches()
        floor = np.maximum(floor, self.error)
        return Contract(self.base, self.branches, floor, nonrepeatability, self.g, others, self.accuracy)

    def _repeat(self, deterministic: bool) -> tuple[Array, float]:
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
        for again in (self.pair.gradient(self.gy, twice=True), self.pair.gradient(self.gy)):
            for number, difference in enumerate(self._differences(again, self.g)):
                if difference and (deterministic or difference > _UNREPEATABLE * largest(self.g[number])):
                    raise GradientError(
                        "vjp is not repeatable: called again with the same arguments, the gradient of "
                        f"{self.pair.labels[number]} differs by {difference:.3g}; does it change its cache in place?"
                    )
                self.noise[number] = max(self.noise[number], difference)
                worst = max(worst, difference)
        return floor, worst

    def _measure_noise(self, times: int, gy: Array, g: Gradients) -> None:
        """How far a gradient moves when all that it is made from moves by an ulp or two."""
        for _ in range(times):
            moved = self.pair.gradient_beside(gy, lambda x: move_by_ulps(x, self.rng))
            noises = self._differences(moved, g)
            self.noise = [max(a, b) for a, b in zip(self.noise, noises, strict=True)]

    def _linear(self) -> Gradients:
        other = signed(self.base.size, self.rng)
        second, both = self.pair.gradient(other), self.pair.gradient(self.gy + 2 * other)
        expected = _combine(self.g, 1.0, second, 2.0)
        what = "vjp is not linear in gy: vjp(a + 2 b) ≠ vjp(a) + 2 vjp(b)"
        self._must_agree(both, expected, what, 3.0, lambda: self._measure_noise(9, self.gy + 2 * other, both))
        self._alone(other, second)
        for scale in _SCALES:
            scaled = self.pair.gradient(scale * self.gy)
            expected = _combine(self.g, scale, None, 0.0)
            what = f"vjp is not linear in gy: vjp({scale:.3g} gy) ≠ {scale:.3g} vjp(gy)"
            self._must_agree(scaled, expected, what, scale)
        for number, g in enumerate(self.pair.gradient(0 * self.gy)):
            rest = largest(g)
            if rest:
                raise GradientError(
                    f"vjp is not linear in gy: for gy = 0 the gradient of {self.pair.labels[number]} has {rest:.3g}"
                )
        return second

    def _alone(self, gy: Array, expected: Gradients) -> None:
        """One output alone, all but that one, and ones: a vjp may take a short cut for each."""
        ones = np.ones_like(gy)
        alike, shifted = self.pair.gradient(ones), self.pair.gradient(gy + ones)
        what = "vjp is not linear in gy: vjp(a) + vjp(1) ≠ vjp(a + 1)"
        self._must_agree(_combine(expected, 1.0, alike, 1.0), shifted, what, 2.0, parts=(expected, alike))
        if gy.size > 1:
            chosen = np.arange(gy.size) == self.rng.integers(gy.size)
            one, rest = (self.pair.gradient(np.where(mask, gy, 0.0)) for mask in (chosen, ~chosen))
            what = "vjp is not linear in gy: vjp(a) + vjp(b) ≠ vjp(a + b), where a has one element that is not zero"
            self._must_agree(_combine(one, 1.0, rest, 1.0), expected, what, 2.0, parts=(one, rest))

    def _caches(self) -> None:
        try:
            late = self.pair.gradient(self.gy, between=[_elsewhere(x, self.rng) for x in self.pair.arrays])
        except MiniresError:
            raise
        except Exception:  # the function refuses the other inputs
            return
        self._must_agree(late, self.g, "a cache does not outlive the next call of function")

    def _orders(self) -> None:
        pair = self.pair
        for order, text in _ORDERS.items():
            twin = pair.at([lay_out(x, order) for x in pair.arrays])
            inputs, gy = f"for inputs that are {text}", f"for a gy that is {text}"
            self._must_agree(self._gradient_of(twin, inputs), self.g, f"vjp gives another gradient {inputs}")
            self._must_agree(self._gradient_of(pair, gy, order), self.g, f"vjp gives another gradient {gy}")

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
        measure_again: Callable[[], None] | None = None,
        parts: Sequence[Gradients] = (),
    ) -> None:
        """``got`` was computed from ``parts``, if given, which may be larger than what is left of them."""
        for number, difference in enumerate(self._differences(got, expected)):
            if abs(scale) <= 1 and not _as_finite(got[number], expected[number]):
                raise GradientError(f"{what}: the gradient of {self.pair.labels[number]} is not finite")
            bound = self._bound(number, [expected, *parts], scale, difference)
            if difference > bound:  # three samples of the noise may have missed it
                self._measure_noise(9, self.gy, self.g)
                if measure_again is not None:
                    measure_again()
                bound = self._bound(number, [expected, *parts], scale, difference)
            if difference > bound:
                raise GradientError(
                    f"{what}: the gradient of {self.pair.labels[number]} differs by {difference:.3g}, "
                    f"rounding allows {bound:.3g}"
                )

    def _bound(self, number: int, terms_of: Sequence[Gradients], scale: float, difference: float) -> float:
        """What rounding allows for a difference between sums of gradients."""
        x, size = self.pair.arrays[number], max(1.0, abs(scale))
        reach = max(largest(g[number]) for g in terms_of)
        rounding = EPS * reach + size * TINY  # TINY: what underflows on the way
        inaccuracy = 8 * size * self.accuracy * reach
        steepest = np.inf if difference < reach / 8 else _STEEPEST  # a rest that is mostly right may be tiny
        slope = inner_slope(self.base, x, steepest)
        if max(reach, largest(self.base)) <= 64 * EPS * float(usual_size(x)):  # zeros, but for what is left of gy
            slope = 1.0
        cancelled = 64 * EPS * max(abs(scale), min(3.0, 3 * abs(scale))) * slope
        terms = 64 + np.sqrt(x.size + self.base.size)
        return float(8 * abs(scale) * self.noise[number] + terms * rounding + cancelled + inaccuracy)

    def _differences(self, a: Gradients, b: Gradients) -> list[float]:
        worst = []
        for number, (left, right) in enumerate(zip(a, b, strict=True)):
            if (left is None) != (right is None):
                raise GradientError(
                    f"vjp returns None for {self.pair.labels[number]} in one call and an array in another"
                )
            if left is None or right is None:
                worst.append(0.0)
                continue
            worst.append(largest(left - right))
        return worst


def _call_elsewhere(pair: Pair, rng: np.random.Generator) -> None:
    """The very first call, at another point: what a function or vjp keeps from it for ever is then seen to be wrong."""
    twin = pair.at([_elsewhere(x, rng) for x in pair.arrays])
    try:
        twin.gradient(signed(twin.evaluate().size, rng))
    except Exception:  # outside its domain, say; what is wrong will show at the point itself
        return


def _elsewhere(x: Array, rng: np.random.Generator) -> Array:
    """Another point not far from x; numbers that are not floats stay."""
    return x * (1 + signed(x.shape, rng) / 8) + signed(x.shape, rng) / 1024 if x.dtype.kind == "f" else x


def _as_finite(got: Array | None, expected: Array | None) -> bool:
    return got is None or expected is None or bool(np.isfinite(got[np.isfinite(expected)]).all())


def _combine(a: Gradients, p: float, b: Gradients | None, q: float) -> Gradients:
    if b is None:
        return [None if x is None else p * x for x in a]
    return [None if x is None or y is None else p * x + q * y for x, y in zip(a, b, strict=True)]
