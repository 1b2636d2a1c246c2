"""Compare the derivative that vjp claims along one direction with the one that was measured."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from minires.device import Array
from minires.errors import MiniresError
from minires.testing.calling.pair import Pair
from minires.testing.differences.cancellation import cancelled
from minires.testing.differences.contract import Contract
from minires.testing.differences.directions import move_by_part, move_by_ulps, power_of_two, signed, usual_size
from minires.testing.differences.ladder import BLUNT, VANISHING, Cause, Derivatives, Line, differentiate
from minires.testing.differences.noise import EPS, TINY
from minires.testing.differences.second_look import look_again
from minires.testing.report import Finding, InputReport

_MANY = 1 << 14  # summands for which correct rounding would take milliseconds
_ENORMOUS = 2.0**900  # sums of such derivatives may overflow
_REPEATS, _IN_DOUBT = 3, 16  # points an ulp or two away at which vjp is called
_NEARBY = tuple(2.0**k for k in range(-48, -16, 4))  # relative distances of points near this one, to move vjp at
_JUMP = 2.0**16  # how much more vjp moves at the point than near it, if it jumps there
_ROUNDING = 16 * EPS  # of a sum of products: no comparison is sharper
_LIKE = 4  # binary digits between sizes that are alike
_WORTH = 2.0**10  # times the function's accuracy: the smallest relative error that can be seen
_MOST = 100.0  # an error of 1 % must be seen whatever a function's accuracy is
RESOLVED = 1e-4  # a comparison that could not have seen an error of this relative size proves nothing


class Refusal(NamedTuple):
    """What a function raised where its input was moved, and how far the element moved that moved most."""

    error: Exception
    distance: float


class Comparison(NamedTuple):
    """A comparison of ⟨vjp(gy), d⟩ = claimed with Σ gy_j D_j = numerical; ``resolution`` is bound / size."""

    gy: Array
    claimed: float
    numerical: float
    bar: float
    rounding: float
    resolution: float

    @property
    def agrees(self) -> bool:
        """Whether the difference is within the bound (false for NaN)."""
        return abs(self.claimed - self.numerical) <= self.bar + self.rounding

    @property
    def of_zeros(self) -> bool:
        """Whether both sides are zero; such a comparison says nothing of outputs that move."""
        return self.claimed == self.numerical == 0

    def as_finding(
        self,
        pair: Pair,
        argument: int,
        step: float,
        index: tuple[int, ...] | None = None,
        scale: float = 1.0,
        **more: str,
    ) -> Finding:
        """Return the finding for the element at ``index``, which d moves by ``scale``; or for d if there is none."""
        return Finding(
            argument,
            index,
            claimed=self.claimed / scale,
            numerical=self.numerical / scale,
            bar=self.bar / abs(scale),
            rounding=self.rounding / abs(scale),
            step=step,
            label=pair.labels[argument],
            **more,
        )


class _Claim(NamedTuple):
    """Σ gradient · d: its value, the sum of the terms' magnitudes, and the number of terms."""

    value: float
    size: float
    terms: int


class Probe:
    """One input of a pair: moves it, and compares its claimed derivatives with numerical ones.

    Parameters
    ----------
    pair, contract : function and gradient, and what the check of the contract measured
    rng : for directions and gy
    argument : the index of the input
    """

    def __init__(self, pair: Pair, contract: Contract, rng: np.random.Generator, argument: int) -> None:
        self.pair, self.contract, self.rng, self.argument = pair, contract, rng, argument
        self.x, self.label = pair.arrays[argument], pair.labels[argument]
        self.crossed = False  # whether the last line met a kink, by the branches that the function told
        self.refusal: Refusal | None = None  # the nearest one
        # How much less sharp than usual a comparison may be, because of the accuracy that the user gave.
        self.leniency = float(np.clip(_WORTH * contract.accuracy / RESOLVED, 1.0, _MOST))

    @functools.cached_property
    def unit(self) -> float:
        """The usual size of the input's elements."""
        return float(usual_size(self.x))

    def gradient(self, gy: Array) -> Array | None:
        """Return what vjp returns for this input."""
        return self.pair.gradient(gy)[self.argument]

    def report(self, *seen: Any) -> InputReport:
        """Return the report on this input; see `Pair.report`."""
        return self.pair.report(self.argument, *seen)

    def line(self, d: Array, offset: Array | float = 0.0) -> Line:
        """Return the function t -> outputs at x + offset + t d.

        Outputs are NaN where the function raises, and where it took other branches than at x itself: a kink lies
        between the two points.
        """

        def at(t: float) -> Array:
            return self._at(offset + t * d, self.pair.evaluate, self.contract.base)

        return at

    def _at(self, move: Array, compute: Callable[[Sequence[Array]], Array], like: Array) -> Array:
        """Return what is computed where the input is moved; NaN outside the domain and on another branch."""
        try:
            values = compute(self.pair.moved(self.argument, move))
        except MiniresError:  # of the contract
            raise
        except Exception as error:  # the point itself raised none, so the move is the reason
            distance = float(np.max(np.abs(move)))
            if self.refusal is None or distance < self.refusal.distance:
                self.refusal = Refusal(error, distance)
            return np.full_like(like, np.nan)
        if self.pair.branches != self.contract.branches:
            self.crossed = True
            return np.full_like(like, np.nan)
        return values

    def derivatives(self, d: Array, floor: float = 0.0) -> Derivatives:
        """Return the derivative of every output along ``d``; the outputs have noise of at least ``floor``."""
        self.crossed = False
        noise = np.maximum(self.contract.floor, floor)
        slopes = differentiate(self.line(d), self.contract.base, noise, self.unit, BLUNT * self.leniency)
        if self.crossed:  # outputs behind a kink were not used, which looks as if they were not finite
            slopes.cause[(slopes.cause == Cause.NOT_FINITE) & np.isfinite(self.contract.base)] = Cause.KINK
        return slopes

    def look_again(self, d: Array, slopes: Derivatives, gy: Array) -> Derivatives:
        """Return ``slopes`` after a second look at the outputs where gy is not zero."""
        return look_again(self.line(d), self.contract.base, slopes, gy, d, self.unit)

    def comparisons(self, d: Array, slopes: Derivatives, keep_ties: bool = False) -> Iterator[Comparison]:
        """Yield comparisons for every choice of gy that these derivatives are sharp enough for.

        Large elements of gy must not hide an error that the small ones show. So on disagreement, elements of similar
        size are compared by themselves, after a second look.
        """
        for gy in self._choices(slopes):
            comparison = self.compare(d, slopes, gy, keep_ties)
            if comparison.agrees:
                yield comparison
                continue
            closer = self.look_again(d, slopes, gy)
            parts = [gy] if _spread(gy) <= _LIKE else _of_like_size(gy)
            yield from (self.compare(d, closer, part, keep_ties) for part in parts)

    def compare(self, d: Array, slopes: Derivatives, gy: Array, keep_ties: bool = False) -> Comparison:
        """Compare the claimed and the numerical derivative for one gy, which must be 0 where ``slopes`` is not sharp.

        The rounding of vjp is measured where the input is moved by an ulp or two; with ``keep_ties``, equal elements
        move equally.
        """
        used = gy != 0
        weights, value, bars = gy[used], slopes.value[used], slopes.bar[used]
        numerical = exact_dot(weights, value)
        bar = exact_dot(np.abs(weights), bars) + EPS * exact_sum(np.abs(weights * value))
        products = products_of(d, self.gradient(gy))
        claim = _Claim(exact_sum(products), exact_sum(np.abs(products)), products.size)
        rounding = self._rounding(d, gy, claim, keep_ties, abs(claim.value - numerical) - bar)
        reach = exact_dot(np.abs(weights), np.maximum(np.abs(self.contract.base), slopes.variation)[used])
        scale = max(_norm(weights * value), _norm(products))
        if (
            claim.size <= VANISHING * reach and not slopes.doubted
        ):  # too small beside the outputs: measured against them
            scale = max(scale, reach)
        unit = min(self.unit, float(np.max(np.abs(d)))) * _norm(weights)
        if max(claim.size, reach) <= 64 * EPS * unit:  # the outputs are zero, up to the rounding of the inputs
            scale = max(scale, unit)
            if not self.contract.base.any():
                rounding += 64 * EPS * unit  # the gradient may be what cancellation leaves of gy
        bound = bar + rounding
        if self.leniency > 1 and numerical:  # in a sum that cancels, a wrong factor may hide below a lenient bound
            scale = min(scale, abs(numerical))
        resolution = bound / scale if scale else (0.0 if claim.value == numerical == 0 else math.inf)
        return Comparison(gy, claim.value, numerical, bar, rounding, max(resolution, _ROUNDING))

    def _rounding(self, d: Array, gy: Array, claim: _Claim, keep_ties: bool, wanted: float) -> float:
        """Return how far ``claim`` may be off by rounding; look more closely if that is less than ``wanted``."""
        fixed = (_ROUNDING + 2 * self.contract.accuracy) * claim.size + claim.terms * TINY
        if self.contract.nonrepeatability:
            fixed += self.contract.nonrepeatability * exact_sum(np.abs(d))

        def change(_: int) -> float:
            beside = self.pair.gradient_beside(gy, lambda x: move_by_ulps(x, self.rng, keep_ties))
            return abs(exact_sum(products_of(d, beside[self.argument])) - claim.value)

        seen = max(map(change, range(_REPEATS))) if claim.size else 0.0
        if not wanted <= fixed + 4 * seen and claim.size:
            seen = max(seen, max(map(change, range(_IN_DOUBT))))
        if fixed < wanted <= fixed + 4 * seen and 4 * seen > RESOLVED * claim.size:
            nearby = self._change_nearby(d, gy, keep_ties)
            if seen > _JUMP * nearby:  # rounding moves vjp at all points; if it moves only here, it jumps here
                seen = nearby
        rounding = fixed + 4 * seen
        if not wanted <= rounding and _spread(gy) <= _LIKE:
            rounding += self._cancelled(d, gy, wanted - rounding)
        return rounding

    def _change_nearby(self, d: Array, gy: Array, keep_ties: bool) -> float:
        """Return how far the claim changes, at points near this one, when all inputs move by an ulp or two.

        It is infinite if vjp raises at one of these points.
        """
        worst = 0.0
        for distance in _NEARBY:
            arrays = self.pair.beside(functools.partial(move_by_part, part=distance, rng=self.rng, keep_ties=keep_ties))
            moved = self.pair.beside(lambda x: move_by_ulps(x, self.rng, keep_ties), arrays)
            try:
                near, beside = (self.pair.gradient(gy, at)[self.argument] for at in (arrays, moved))
            except MiniresError:
                raise
            except Exception:  # user code may raise anything outside its domain; at the point itself it did not
                return math.inf
            worst = max(worst, abs(exact_sum(products_of(d, beside)) - exact_sum(products_of(d, near))))
        return worst

    def _cancelled(self, d: Array, gy: Array, missing: float) -> float:
        """Return the rounding that only larger moves show; 0 if it cannot make up for what is ``missing``."""
        empty = np.full(d.shape, np.nan)

        def at(arrays: Sequence[Array]) -> Array:
            found = self.pair.gradient(gy, arrays)[self.argument]
            return empty if found is None else found

        return cancelled(lambda move: self._at(move, at, empty), self.x, d, gy, self.contract.base, missing)

    def _choices(self, slopes: Derivatives) -> Iterator[Array]:
        """Yield gy for all sharp outputs, for the very sharp ones, and with equal weights if slopes differ much."""
        size = np.abs(slopes.value)
        largest = float(np.max(size[slopes.sharp], initial=0.0))
        gy = np.where(slopes.sharp, signed(slopes.value.size, self.rng), 0.0)
        if largest > _ENORMOUS:
            gy *= 2.0**-124
        if not slopes.sharp.any():
            return
        yield gy
        fine = slopes.sharp & (slopes.bar <= 1e-9 * largest)
        if 0 < fine.sum() < slopes.sharp.sum():
            yield np.where(fine, gy, 0.0)
        relative = slopes.sharp & (slopes.bar <= 1e-7 * size) & (size > 2.0**-200 * largest)
        if relative.any() and largest > 2.0**10 * float(np.min(size[relative])):
            yield np.where(relative, gy * power_of_two(largest) / power_of_two(size), 0.0)


def products_of(d: Array, g: Array | None) -> Array:
    """Return g · d, element by element, where d is not zero; a zero if there is no gradient."""
    used = d != 0
    return np.zeros(1) if g is None else np.asarray(g[used] * d[used])


def _spread(gy: Array) -> int:
    """Return how many binary digits lie between the smallest and the largest nonzero element."""
    exponents = np.frexp(gy[gy != 0])[1]
    return int(np.ptp(exponents)) if exponents.size else 0


def _of_like_size(gy: Array) -> Iterator[Array]:
    """Yield parts of ``gy``, each with elements of similar size."""
    exponents = np.frexp(gy)[1]
    pending = np.unique(exponents[gy != 0])
    while pending.size:
        chosen = pending <= pending[0] + _LIKE
        yield np.where((gy != 0) & np.isin(exponents, pending[chosen]), gy, 0.0)
        pending = pending[~chosen]


def _norm(values: Array) -> float:
    """Return √Σ values², also where the squares would underflow."""
    largest = float(np.max(np.abs(values), initial=0.0))
    return largest * float(np.linalg.norm(values / largest)) if 0 < largest < math.inf else largest


def exact_dot(a: Array, b: Array) -> float:
    """Return Σ a b, with each product rounded once."""
    return exact_sum(a * b)


def exact_sum(values: Array) -> float:
    """Return Σ values, correctly rounded; infinite if it overflows, NaN if a value is not finite.

    Very many values are first folded in two, repeatedly. Each fold costs one rounding, half an ulp of Σ |values|.
    """
    values = values.ravel()
    while values.size > _MANY:
        half = values.size // 2
        values = np.append(values[:half] + values[half : 2 * half], values[2 * half :])
    if not np.isfinite(values).all():
        return math.nan
    try:
        return math.fsum(values)
    except OverflowError:
        return math.fsum(values / _ENORMOUS) * _ENORMOUS
