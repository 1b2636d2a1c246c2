"""One direction, one gy: the derivative that vjp claims beside the one that was measured."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from minires.device import Array
from minires.errors import MiniresError
from minires.testing.differences.cancellation import cancelled
from minires.testing.differences.contract import Contract
from minires.testing.differences.directions import move_by_part, move_by_ulps, power_of_two, signed, usual_size
from minires.testing.differences.ladder import BLUNT, VANISHING, Derivatives, Line, differentiate
from minires.testing.differences.noise import EPS, TINY
from minires.testing.differences.second_look import look_again
from minires.testing.layouts import copy_in_order
from minires.testing.report import CAUSES, KINK, NOT_FINITE
from minires.testing.subject.pair import Pair

_MANY = 1 << 14  # numbers for which correct rounding would take milliseconds
_ENORMOUS = 2.0**900  # sums of such derivatives may overflow
_REPEATS, _IN_DOUBT = 3, 16  # points an ulp or two away at which vjp is called
_NEARBY = tuple(2.0**k for k in range(-48, -16, 4))  # relative distances of other points, where vjp is moved likewise
_JUMP = 2.0**16  # how much more vjp moves at the point than near it, if it jumps there
_ROUNDING = 16 * EPS  # of a sum of products: no comparison is sharper
_LIKE = 4  # binary digits between sizes that are alike
_WORTH = 2.0**10  # times the function's accuracy: what of a slope can be seen under it
_MOST = 100.0  # an error of 1 % must be seen whatever a function's accuracy is
RESOLVED = 1e-4  # a comparison that could not have seen an error of this relative size proves nothing


class Refusal(NamedTuple):
    """What a function raised where an input was moved, and how far its element that moved most did."""

    error: Exception
    number: int
    distance: float


class Comparison(NamedTuple):
    """⟨vjp(gy), d⟩ = claimed against Σ gy_j D_j = numerical; ``resolution`` is bound / size."""

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
    def of_nothing(self) -> bool:
        """Whether both sides are zero: what it says of outputs that stand still it says of no other."""
        return self.claimed == self.numerical == 0


class _Claim(NamedTuple):
    """Σ gradient · d: its value, Σ of the terms' magnitudes, and how many terms."""

    value: float
    size: float
    terms: int


class Probe:
    """Compares claimed and numerical derivatives of a pair at its point."""

    def __init__(self, pair: Pair, contract: Contract, rng: np.random.Generator, seed: int) -> None:
        self.pair, self.contract, self.rng, self.seed = pair, contract, rng, seed
        self.crossed = False  # whether the last line met a kink that the function told of
        self.refusal: Refusal | None = None  # the nearest one
        # How much less sharp than usual a comparison may be, if the function is no more accurate than its user says.
        self.leniency = float(np.clip(_WORTH * contract.accuracy / RESOLVED, 1.0, _MOST))

    def line(self, number: int, d: Array, offset: Array | float = 0.0) -> Line:
        """t -> outputs at x + offset + t d, with x the input of that number.

        NaN where the function refuses, and where it says that it took other branches than at x itself: between
        the two points lies a kink.
        """

        def at(t: float) -> Array:
            return self._at(number, offset + t * d, self.pair.evaluate, self.contract.base)

        return at

    def _at(self, number: int, move: Array, compute: Callable[[Sequence[Array]], Array], like: Array) -> Array:
        """What is computed where input ``number`` is moved; NaN outside the domain and on another branch."""
        moved = copy_in_order(self.pair.arrays[number])
        moved += move
        try:
            values = compute([moved if index == number else x for index, x in enumerate(self.pair.arrays)])
        except MiniresError:  # of the contract
            raise
        except Exception as error:  # it did not at the point itself, so this is for the move
            distance = float(np.max(np.abs(move)))
            if self.refusal is None or distance < self.refusal.distance:
                self.refusal = Refusal(error, number, distance)
            return np.full_like(like, np.nan)
        if self.pair.branches != self.contract.branches:
            self.crossed = True
            return np.full_like(like, np.nan)
        return values

    def derivatives(self, number: int, d: Array, floor: float = 0.0) -> Derivatives:
        """The derivative of every output when input ``number`` moves along ``d``; their noise is ``floor`` at least."""
        self.crossed = False
        noise = np.maximum(self.contract.floor, floor)
        unit = float(usual_size(self.pair.arrays[number]))
        blunt = BLUNT * self.leniency
        slopes = differentiate(self.line(number, d), self.contract.base, noise, unit, blunt)
        if self.crossed:  # what looks as if it were not finite was not used because of a kink
            slopes.cause[(slopes.cause == CAUSES.index(NOT_FINITE)) & np.isfinite(self.contract.base)] = CAUSES.index(
                KINK
            )
        return slopes

    def closer(self, number: int, d: Array, slopes: Derivatives, gy: Array) -> Derivatives:
        """``slopes`` after a second look at the outputs of which gy tells."""
        unit = float(usual_size(self.pair.arrays[number]))
        return look_again(self.line(number, d), self.contract.base, slopes, gy, d, unit)

    def comparisons(self, number: int, d: Array, slopes: Derivatives, tied: bool = False) -> Iterator[Comparison]:
        """Claimed against numerical for every choice of gy that these derivatives are sharp enough for.

        Where gy is of many sizes, its largest elements must not excuse what the others show: on disagreement those
        of like size are compared by themselves.
        """
        for gy in self._choices(slopes):
            comparison = self.compare(number, d, slopes, gy, tied)
            if comparison.agrees:
                yield comparison
                continue
            closer = self.closer(number, d, slopes, gy)
            parts = [gy] if _spread(gy) <= _LIKE else _of_like_size(gy)
            yield from (self.compare(number, d, closer, part, tied, doubted=True) for part in parts)

    def compare(
        self, number: int, d: Array, slopes: Derivatives, gy: Array, tied: bool = False, doubted: bool = False
    ) -> Comparison:
        """Claimed against numerical for one gy, which must be 0 where ``slopes`` is blunt.

        With ``tied``, ties stay ties where the rounding of vjp is measured. With ``doubted``, the bars hold what a
        second look could not exclude, and to be small beside the outputs is no excuse for them.
        """
        used = gy != 0
        weights, value, bars = gy[used], slopes.value[used], slopes.bar[used]
        numerical = exact_dot(weights, value)
        bar = exact_dot(np.abs(weights), bars) + EPS * exact_sum(np.abs(weights * value))
        products = _products(d, self.pair.gradient(gy)[number])
        claim = _Claim(exact_sum(products), exact_sum(np.abs(products)), products.size)
        rounding = self._rounding(number, d, gy, claim, tied, abs(claim.value - numerical) - bar)
        reach = exact_dot(np.abs(weights), np.maximum(np.abs(self.contract.base), slopes.variation)[used])
        scale = max(_norm(weights * value), _norm(products))
        if claim.size <= VANISHING * reach and not doubted:  # too small beside the outputs: measured against them
            scale = max(scale, reach)
        unit = min(float(usual_size(self.pair.arrays[number])), float(np.max(np.abs(d)))) * _norm(weights)
        if max(claim.size, reach) <= 64 * EPS * unit:  # outputs that are zero, to the last digit of the inputs
            scale = max(scale, unit)
            if not self.contract.base.any():
                rounding += 64 * EPS * unit  # as the gradient may be what is left of gy
        bound = bar + rounding
        if self.leniency > 1 and numerical:  # a sum that cancels shows little of a factor, and this bound is not tiny
            scale = min(scale, abs(numerical))
        resolution = bound / scale if scale else (0.0 if claim.value == numerical == 0 else math.inf)
        return Comparison(gy, claim.value, numerical, bar, rounding, max(resolution, _ROUNDING))

    def _rounding(self, number: int, d: Array, gy: Array, claim: _Claim, tied: bool, wanted: float) -> float:
        """How far ``claim`` may be off by rounding; looked at more closely where that is less than ``wanted``."""
        fixed = (_ROUNDING + 2 * self.contract.accuracy) * claim.size + claim.terms * TINY
        if self.contract.nonrepeatability:
            fixed += self.contract.nonrepeatability * exact_sum(np.abs(d))

        def moved(times: int) -> float:
            moves = (exact_sum(self._moved_products(number, d, gy, tied)) - claim.value for _ in range(times))
            return max(abs(move) for move in moves) if claim.size else 0.0

        seen = moved(_REPEATS)
        if not wanted <= fixed + 4 * seen:
            seen = max(seen, moved(_IN_DOUBT))
        if fixed < wanted <= fixed + 4 * seen and 4 * seen > RESOLVED * claim.size:
            nearby = self._moves_nearby(number, d, gy, tied)
            if seen > _JUMP * nearby:  # rounding is everywhere; a vjp that moves at this point alone jumps here
                seen = nearby
        rounding = fixed + 4 * seen
        if not wanted <= rounding and _spread(gy) <= _LIKE:
            rounding += self._cancelled(number, d, gy, wanted - rounding)
        return rounding

    def _choices(self, slopes: Derivatives) -> Iterator[Array]:
        """All sharp outputs; the very sharp ones alone; and, where slopes differ much, all with equal weight."""
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

    def _moved_products(self, number: int, d: Array, gy: Array, tied: bool) -> Array:
        return _products(d, self.pair.gradient_beside(gy, lambda x: move_by_ulps(x, self.rng, tied))[number])

    def _moves_nearby(self, number: int, d: Array, gy: Array, tied: bool) -> float:
        """Return how far the claim moves with inputs that move by an ulp or two, at points near this one.

        It is infinite if vjp refuses one of these points.
        """
        worst = 0.0
        for distance in _NEARBY:
            arrays = self.pair.beside(functools.partial(move_by_part, part=distance, rng=self.rng, tied=tied))
            moved = self.pair.beside(lambda x: move_by_ulps(x, self.rng, tied), arrays)
            try:
                claims = [exact_sum(_products(d, self.pair.gradient(gy, at)[number])) for at in (arrays, moved)]
            except MiniresError:
                raise
            except Exception:
                return math.inf
            worst = max(worst, abs(claims[1] - claims[0]))
        return worst

    def _cancelled(self, number: int, d: Array, gy: Array, missing: float) -> float:
        """The rounding that only larger moves show; 0 if it cannot make up for what is ``missing``."""
        x, empty = self.pair.arrays[number], np.full(d.shape, np.nan)

        def at(arrays: Sequence[Array]) -> Array:
            found = self.pair.gradient(gy, arrays)[number]
            return empty if found is None else found

        def gradient(move: Array) -> Array:
            return self._at(number, move, at, empty)

        return cancelled(gradient, x, d, gy, self.contract.base, missing)


def _products(d: Array, g: Array | None) -> Array:
    used = d != 0
    return np.zeros(1) if g is None else np.asarray(g[used] * d[used])


def _spread(gy: Array) -> int:
    """The binary digits between the sizes of the smallest and the largest element that is not 0."""
    exponents = np.frexp(gy[gy != 0])[1]
    return int(np.ptp(exponents)) if exponents.size else 0


def _of_like_size(gy: Array) -> Iterator[Array]:
    """``gy`` in parts of like size."""
    exponents = np.frexp(gy)[1]
    pending = np.unique(exponents[gy != 0])
    while pending.size:
        chosen = pending <= pending[0] + _LIKE
        yield np.where((gy != 0) & np.isin(exponents, pending[chosen]), gy, 0.0)
        pending = pending[~chosen]


def _norm(values: Array) -> float:
    """√Σ values², also where the squares would underflow."""
    largest = float(np.max(np.abs(values), initial=0.0))
    return largest * float(np.linalg.norm(values / largest)) if 0 < largest < math.inf else largest


def exact_dot(a: Array, b: Array) -> float:
    """Σ a b, each product rounded once."""
    return exact_sum(a * b)


def exact_sum(values: Array) -> float:
    """Σ values, correctly rounded; infinite if it overflows, NaN if a value is not finite.

    Very many are first folded in two, again and again: each time costs one rounding, half an ulp of Σ |values|.
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
