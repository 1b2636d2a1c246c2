"""The verdict on one input: pass, wrong, or inconclusive; never a silent pass."""

from __future__ import annotations

import numpy as np

from minires.device import Array
from minires.testing.differences.bisection import index_of, part_of
from minires.testing.differences.compare import RESOLVED, Comparison, Probe
from minires.testing.differences.directions import FURTHER, PARTIAL, SMALL, USUAL, direction, is_small, signed
from minires.testing.differences.hidden_kinks import torn
from minires.testing.differences.ladder import Derivatives, count_causes
from minires.testing.differences.localise import find_kinks, find_room, is_steep, localise
from minires.testing.differences.noise import EPS, largest
from minires.testing.report import (
    CAUSES,
    DISAGREEMENT,
    KINK,
    NOT_FINITE,
    RESOLUTION,
    GradientError,
    Inconclusive,
    InputReport,
    inconclusive,
    not_finite,
    refused,
)

_SEEN_TO_MOVE = 2.0**-16  # at this step, half way between the finest and the coarsest, an element should move
_INFINITE = 64  # elements with infinite gradients that are looked at one by one
_RESOLUTION, _KINK, _NOT_FINITE = map(CAUSES.index, (RESOLUTION, KINK, NOT_FINITE))


def check_input(probe: Probe, number: int, at_kinks: str, locate: bool = True) -> InputReport:
    """Check the gradient of one input along several directions; ``locate`` the elements where it is wrong.

    Raises
    ------
    GradientError, Inconclusive : as `check_vjp` says.
    """
    probe.refusal = None
    try:
        with np.errstate(all="ignore"):
            return _Verdict(probe, number, locate).reach(at_kinks)
    except Inconclusive as error:
        if error.cause != NOT_FINITE or probe.refusal is None:
            raise
        raised, moved, distance = probe.refusal
        raise refused(error, raised, probe.pair.labels[moved], distance) from raised


class _Verdict:
    def __init__(self, probe: Probe, number: int, locate: bool) -> None:
        self.locate = locate
        self.probe, self.number, self.label = probe, number, probe.pair.labels[number]
        self.x = probe.pair.arrays[number]
        # Of the elements: which ones directions leave out, and how far the others may go.
        self.left_out = ~np.isfinite(self.x)
        self.room = np.ones(self.x.shape)
        self.has_ties = np.unique(self.x).size < self.x.size
        # Of the outputs: which ones no direction has shown yet, and why; and what any direction has told of them.
        outputs = probe.contract.base.size
        self.unseen, self.cause = np.ones(outputs, bool), np.full(outputs, _RESOLUTION, np.int8)
        self.grainy, self.stairs, self.bent, self.torn = np.zeros((4, outputs), bool)
        # Of the comparisons: how sharp the best was, and the best of those of zeros; how many there were; and the last
        # that could not be decided.
        self.sharpest = self.sharpest_of_nothing = np.inf
        self.directions = self.compared = 0
        self.doubt: Inconclusive | None = None
        # Of the largest output: what is claimed for a gentle slope need not be seen behind numbers that were rounded.
        self.last_digit = EPS * largest(probe.contract.base)

    def reach(self, at_kinks: str) -> InputReport:
        """Try directions until enough is seen.

        First those that show most. What they cannot show is looked for next: slopes that others drown, outputs that
        only a tie kept hidden, elements near the domain's end. Elements are left out for kinks, and further
        directions tried, only if all that was not enough. A doubt waits till the end, as any direction may still
        prove it an error.
        """
        if not self.x.size or not self.probe.contract.base.size:
            return self._report_empty()
        if self.left_out.all():
            raise inconclusive(self.label, NOT_FINITE, self.unseen.size)
        self._leave_out_infinite()
        for kind in USUAL:
            self._try(kind)
        self._try_gentle()
        if (self.cause[self.unseen] == _KINK).any():
            self._try("tied")
        self._keep_in_domain()
        if not self.resolved:
            self._leave_out_kinks()
        for kind in FURTHER:
            if not self.resolved:
                self._try(kind)
        if self.doubt is not None:
            raise self.doubt
        causes = count_causes(self.cause[self.unseen])
        if not self.resolved:
            cause = max(causes, key=lambda name: causes[name]) if causes else RESOLUTION
            raise inconclusive(self.label, cause, self.unseen.size, best_resolution=self.resolution)
        if at_kinks == "raise" and (KINK in causes or (self.left_out & np.isfinite(self.x)).any()):
            raise inconclusive(self.label, KINK, self.unseen.size)
        elements = tuple(tuple(map(int, index)) for index in np.argwhere(self.left_out))
        return InputReport(self.number, self.x.shape, self.directions, self.resolution, causes, elements, self.label)

    @property
    def resolution(self) -> float:
        """How sharp the best comparison was; one of zeros counts where there is nothing else to see."""
        nothing = self.sharpest == np.inf and not self.unseen.any()
        return self.sharpest_of_nothing if nothing else self.sharpest

    @property
    def resolved(self) -> bool:
        """Whether enough was seen: sharply once, and no more than half of the outputs hidden by noise."""
        hidden = self.unseen & (self.cause != _KINK) & (self.cause != _NOT_FINITE)
        return self.resolution <= RESOLVED * self.probe.leniency and 2 * int(hidden.sum()) <= hidden.size

    def _try(self, kind: str) -> None:
        d = self._draw(kind)
        if d is None:
            return
        slopes, wrong = self._measure(d, kind)
        if wrong is None:
            return
        confirmed, refuted = False, 0
        for _ in range(6):  # a wrong gradient is wrong along every direction of this kind
            again = self._draw(kind)
            assert again is not None
            compared = self.compared
            confirmed = self._measure(again, kind)[1] is not None
            refuted += self.compared > compared
            if confirmed or refuted == 2:
                break
        if self._has_kinks(d, slopes, wrong, kind):
            self._try(kind)  # without them
        elif confirmed:
            if not self.locate:
                raise GradientError(f"the gradient of {self.label} is wrong")
            finding = localise(self.probe, self.number, d, slopes, wrong)
            raise GradientError(str(finding), finding)
        else:
            self.doubt = inconclusive(  # other directions may still prove it wrong
                self.label,
                DISAGREEMENT,
                self.unseen.size,
                claimed=wrong.claimed,
                numerical=wrong.numerical,
                allowed_difference=wrong.bar + wrong.rounding,
            )

    def _has_kinks(self, d: Array, slopes: Derivatives, wrong: Comparison, kind: str) -> bool:
        """Whether outputs that seemed wrong are on kinks, seen meanwhile or looked for.

        Equal elements that move equally have the slope of each at the maximum of them, and at many another kink.
        """
        used = wrong.gy != 0
        if kind != "tied" and self.bent[used].any():
            return True
        found = torn(self.probe, self.number, d, slopes) & used
        self.torn |= found & (kind == "tied")
        self._mark_kinks(found)
        return bool(found.any())

    def _mark_kinks(self, found: Array) -> None:
        self.bent |= found
        self.unseen |= found
        self.cause[found] = _KINK

    def _draw(self, kind: str) -> Array | None:
        d = direction("array" if kind == "gentle" else kind, self.x, self.probe.rng)
        if d is not None:
            d[self.left_out] = 0
            d *= self.room
            d[self.x + _SEEN_TO_MOVE * d == self.x] = 0  # what does not move shows nothing
        return d if d is not None and d.any() else None

    def _try_gentle(self) -> None:
        """Move those elements alone whose claimed gradient is so small that the others drown it; again among them."""
        contract = self.probe.contract
        g, other = contract.gradients[self.number], contract.others[self.number]
        if g is None or other is None:
            return
        size = np.nan_to_num(np.maximum(np.abs(g), np.abs(other)), posinf=0.0)
        size = np.where(is_small(self.x), 0.0, size)  # "small" has moved these
        while (size := np.where(size < SMALL * np.max(size), size, 0.0)).any():
            self.room = np.where(size > 0, 1.0, 0.0)
            self._try("gentle")
        self.room = np.ones(self.x.shape)

    def _measure(self, d: Array, kind: str) -> tuple[Derivatives, Comparison | None]:
        self.directions += 1
        slopes = self.probe.derivatives(self.number, d, self.last_digit if kind == "gentle" else 0.0)
        whole = kind not in PARTIAL  # what a few elements do not move has not been seen
        self._distrust_stillness(slopes)
        if kind == "array" and self.has_ties:
            self._mark_kinks(torn(self.probe, self.number, d, slopes) & slopes.sharp)
        if kind != "tied":  # which moves kinks away that the other kinds meet
            self.bent |= slopes.bent
            slopes.sharp &= ~self.bent
            slopes.cause[self.bent] = _KINK
        slopes.sharp &= ~self.torn
        if whole:
            # Where some elements stay in place, what does not move has not been seen.
            self.unseen &= ~(slopes.sharp & ~slopes.still if (self.room == 0).any() else slopes.sharp)
            self.cause[~slopes.sharp] = slopes.cause[~slopes.sharp]
        for comparison in self.probe.comparisons(self.number, d, slopes, tied=kind == "tied"):
            self.compared += 1
            if not comparison.agrees:
                return slopes, comparison
            if whole and comparison.of_nothing:
                self.sharpest_of_nothing = min(self.sharpest_of_nothing, comparison.resolution)
            elif whole:
                self.sharpest = min(self.sharpest, comparison.resolution)
        return slopes, None

    def _distrust_stillness(self, slopes: Derivatives) -> None:
        """An output that was seen to be rounded coarsely may stand still and have a slope nevertheless.

        On stairs it is the other way round if vjp claims that it is constant, and then it must not move.
        """
        self.grainy |= slopes.grainy
        self.stairs |= slopes.stairs
        hidden = self.grainy & slopes.still
        if (self.stairs & ~slopes.still).any() or hidden.any():
            gy = np.where(self.grainy, signed(self.grainy.size, self.probe.rng), 0.0)
            g = self.probe.pair.gradient(gy)[self.number]
            if g is None or not g.any():
                hidden = self.stairs & ~slopes.still
            slopes.sharp &= ~hidden
            slopes.cause[hidden] = _RESOLUTION

    def _keep_in_domain(self) -> None:
        """Have elements that lead out of the function's domain move by less."""
        outside = self.unseen & (self.cause == _NOT_FINITE) & np.isfinite(self.probe.contract.base)
        d = self._draw("array")
        if d is None or not outside.any():
            return
        found = find_room(self.probe, self.number, d)
        if found is None:
            return
        tight = found < 1
        if not tight.all():
            self.room = np.where(tight, 0.0, 1.0)
            self._try("array")
        self.room = np.where(tight, found, 0.0)
        self._try("array" if tight.all() else "edge")
        self.room = found

    def _leave_out_infinite(self) -> None:
        """Elements whose gradient is not finite: an error, unless the function is not either, or is steep without end.

        Where some output is not finite, what the others say of these elements is looked at.
        """
        g = self.probe.contract.gradients[self.number]
        if g is None or np.isfinite(g).all():
            return
        self.left_out |= ~np.isfinite(g)
        drawn = direction("array", self.x, self.probe.rng)
        assert drawn is not None
        if np.isfinite(self.probe.contract.base).all():
            if np.isnan(g).any():
                self._refuse(g, int(np.flatnonzero(np.isnan(g))[0]), "all outputs are finite")
            for place in np.flatnonzero(self.left_out)[:_INFINITE]:
                if not is_steep(self.probe, self.number, part_of(drawn, np.array([place]))):
                    self._refuse(g, int(place), "the function's slope is finite to both sides")
        else:
            slopes = self.probe.derivatives(self.number, np.where(self.left_out, drawn, 0.0))
            if (slopes.sharp & (slopes.variation > 8 * slopes.noise)).any():
                self._refuse(g, int(np.flatnonzero(self.left_out)[0]), "the function is smooth")
        if self.left_out.all():
            raise inconclusive(self.label, NOT_FINITE, self.unseen.size)

    def _refuse(self, g: Array, place: int, where: str) -> None:
        index = index_of(place, g)
        raise not_finite(self.label, index, g[index], where)

    def _leave_out_kinks(self) -> None:
        if not (self.cause[self.unseen] == _KINK).any():
            return
        for kind in ("array", "element"):
            d = self._draw(kind)
            found = None if d is None else find_kinks(self.probe, self.number, d)
            if found is not None and found.any() and not found[d != 0].all():
                before = self.left_out
                self.left_out = before | found
                self.bent[:] = False
                self._try("array")
                self._try("element")
                if not self.resolved:  # they were no kinks: the function oscillates, say
                    self.left_out = before
                return

    def _report_empty(self) -> InputReport:
        g = self.probe.contract.gradients[self.number]
        if g is not None and g.any():
            raise GradientError(
                f"the gradient of {self.label} is not zero, but the output is empty: no loss can depend on it"
            )
        return InputReport(self.number, self.x.shape, 0, 0.0, label=self.label)
