"""Reach the verdict on one input: pass, wrong, or inconclusive; never a silent pass."""

from __future__ import annotations

import numpy as np

from minires.device import Array
from minires.testing.differences.bisection import index_of, part_of
from minires.testing.differences.compare import RESOLVED, Comparison, Probe
from minires.testing.differences.directions import FURTHER, PARTIAL, SMALL, USUAL, direction, is_small, signed
from minires.testing.differences.kinks import find_kinks, find_room, hidden_kinks, is_steep
from minires.testing.differences.ladder import Cause, Derivatives, count_causes
from minires.testing.differences.localise import localise
from minires.testing.differences.noise import EPS, largest
from minires.testing.report import (
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


def check_input(probe: Probe, at_kinks: str, locate: bool = True) -> InputReport:
    """Check the gradient of one input along several directions; ``locate`` the elements where it is wrong.

    Raises
    ------
    GradientError, Inconclusive : as `check_vjp` says.
    """
    try:
        with np.errstate(all="ignore"):
            return _Verdict(probe, locate).reach(at_kinks)
    except Inconclusive as error:
        if error.cause != NOT_FINITE or probe.refusal is None:
            raise
        raised, distance = probe.refusal
        raise refused(error, raised, probe.label, distance) from raised


class _Verdict:
    def __init__(self, probe: Probe, locate: bool) -> None:
        self.probe, self.locate = probe, locate
        self.x, self.contract = probe.x, probe.contract
        # One value per element of the input: whether directions leave it out, and how far it may move.
        self.left_out = ~np.isfinite(self.x)
        self.room = np.ones(self.x.shape)
        self.has_ties = np.unique(self.x).size < self.x.size
        # One value per output: whether no direction has shown it yet, and why; and what any direction showed of it.
        outputs = self.contract.base.size
        self.unseen, self.cause = np.ones(outputs, bool), np.full(outputs, Cause.RESOLUTION, np.int8)
        self.grainy, self.stairs, self.bent, self.torn = np.zeros((4, outputs), bool)
        # The sharpest comparison, and the sharpest one of zeros; counts; and the last comparison left undecided.
        self.sharpest = self.sharpest_of_zeros = np.inf
        self.directions = self.compared = 0
        self.doubt: Inconclusive | None = None

    def reach(self, at_kinks: str) -> InputReport:
        """Try directions until enough is seen.

        The first directions are those that show most. The next ones show what the first cannot: slopes that others
        drown, outputs that only a tie hides, elements near the domain's end. If that is not enough, elements on kinks
        are left out, and further directions are tried. A doubt waits till the end, since any direction may still
        prove it an error.
        """
        if not self.x.size or not self.contract.base.size:
            return self._report_empty()
        if self.left_out.all():
            raise self._inconclusive(NOT_FINITE)
        self._leave_out_infinite()
        for kind in USUAL:
            self._try(kind)
        self._try_gentle()
        if (self.cause[self.unseen] == Cause.KINK).any():
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
            raise self._inconclusive(cause, best_resolution=self.resolution)
        if at_kinks == "raise" and (KINK in causes or (self.left_out & np.isfinite(self.x)).any()):
            raise self._inconclusive(KINK)
        return self.probe.report(self.directions, self.resolution, causes, self.left_out)

    @property
    def resolution(self) -> float:
        """How sharp the best comparison was; one of zeros counts only if nothing else is to be seen."""
        only_zeros = self.sharpest == np.inf and not self.unseen.any()
        return self.sharpest_of_zeros if only_zeros else self.sharpest

    @property
    def resolved(self) -> bool:
        """Whether one comparison was sharp, and noise hides at most half of the outputs."""
        hidden = self.unseen & (self.cause != Cause.KINK) & (self.cause != Cause.NOT_FINITE)
        return self.resolution <= RESOLVED * self.probe.leniency and 2 * int(hidden.sum()) <= hidden.size

    def _inconclusive(self, cause: str, **details: float) -> Inconclusive:
        return inconclusive(self.probe.label, cause, self.unseen.size, **details)

    def _try(self, kind: str) -> None:
        """Compare along a direction of this kind; raise GradientError if the gradient is surely wrong along it."""
        d = self._draw(kind)
        if d is None:
            return
        slopes, wrong = self._measure(d, kind)
        if wrong is None:
            return
        confirmed = self._confirm(kind)
        if self._has_kinks(d, slopes, wrong, kind):
            self._try(kind)  # again, without the outputs on kinks
        elif not confirmed:  # other directions may still prove it wrong
            self.doubt = self._inconclusive(
                DISAGREEMENT,
                claimed=wrong.claimed,
                numerical=wrong.numerical,
                allowed_difference=wrong.bar + wrong.rounding,
            )
        elif not self.locate:
            raise GradientError(f"the gradient of {self.probe.label} is wrong")
        else:
            finding = localise(self.probe, d, slopes, wrong)
            raise GradientError(str(finding), finding)

    def _confirm(self, kind: str) -> bool:
        """Return whether one of two other directions disagrees as well: a wrong gradient is wrong along every one."""
        refuted = 0
        for _ in range(6):
            again = self._draw(kind)
            assert again is not None
            compared = self.compared
            if self._measure(again, kind)[1] is not None:
                return True
            refuted += self.compared > compared
            if refuted == 2:
                break
        return False

    def _has_kinks(self, d: Array, slopes: Derivatives, wrong: Comparison, kind: str) -> bool:
        """Return whether outputs that seemed wrong are on kinks: those seen meanwhile, and hidden ones.

        At the maximum of equal elements, and at many other kinks, equal elements that move equally show no kink.
        """
        used = wrong.gy != 0
        if kind != "tied" and self.bent[used].any():
            return True
        found = hidden_kinks(self.probe, d, slopes) & used
        self.torn |= found & (kind == "tied")
        self._mark_kinks(found)
        return bool(found.any())

    def _mark_kinks(self, found: Array) -> None:
        self.bent |= found
        self.unseen |= found
        self.cause[found] = Cause.KINK

    def _draw(self, kind: str) -> Array | None:
        d = direction(kind, self.x, self.probe.rng)
        if d is not None:
            d[self.left_out] = 0
            d *= self.room
            d[self.x + _SEEN_TO_MOVE * d == self.x] = 0  # an element that does not move shows nothing
        return d if d is not None and d.any() else None

    def _try_gentle(self) -> None:
        """Move only elements with a claimed gradient so small that the others drown it; then again among these."""
        g, other = (gradients[self.probe.argument] for gradients in (self.contract.gradients, self.contract.others))
        if g is None or other is None:
            return
        size = np.nan_to_num(np.maximum(np.abs(g), np.abs(other)), posinf=0.0)
        size = np.where(is_small(self.x), 0.0, size)  # "small" has moved these
        while (size := np.where(size < SMALL * np.max(size), size, 0.0)).any():
            self.room = np.where(size > 0, 1.0, 0.0)
            self._try("gentle")
        self.room = np.ones(self.x.shape)

    def _measure(self, d: Array, kind: str) -> tuple[Derivatives, Comparison | None]:
        """Return the derivatives along ``d``, and the first comparison that disagrees; record what was seen."""
        self.directions += 1
        # A gentle slope may be hidden behind outputs that are rounded to the last digit of the largest one.
        slopes = self.probe.derivatives(d, EPS * largest(self.contract.base) if kind == "gentle" else 0.0)
        self._distrust_stillness(slopes)
        if kind == "array" and self.has_ties:
            self._mark_kinks(hidden_kinks(self.probe, d, slopes) & slopes.sharp)
        if kind != "tied":  # equal moves miss kinks that the other directions meet
            self.bent |= slopes.bent
            slopes.sharp &= ~self.bent
            slopes.cause[self.bent] = Cause.KINK
        slopes.sharp &= ~self.torn
        whole = kind not in PARTIAL  # an output that stands still when few elements move has not been seen
        if whole:
            # The same holds where some elements stay in place.
            self.unseen &= ~(slopes.sharp & ~slopes.still if (self.room == 0).any() else slopes.sharp)
            self.cause[~slopes.sharp] = slopes.cause[~slopes.sharp]
        for comparison in self.probe.comparisons(d, slopes, keep_ties=kind == "tied"):
            self.compared += 1
            if not comparison.agrees:
                return slopes, comparison
            if whole and comparison.of_zeros:
                self.sharpest_of_zeros = min(self.sharpest_of_zeros, comparison.resolution)
            elif whole:
                self.sharpest = min(self.sharpest, comparison.resolution)
        return slopes, None

    def _distrust_stillness(self, slopes: Derivatives) -> None:
        """Take outputs out of ``sharp`` that may stand still only because they are rounded coarsely.

        If vjp claims that outputs on stairs are constant, those that move are taken out instead.
        """
        self.grainy |= slopes.grainy
        self.stairs |= slopes.stairs
        hidden = self.grainy & slopes.still
        if (self.stairs & ~slopes.still).any() or hidden.any():
            gy = np.where(self.grainy, signed(self.grainy.size, self.probe.rng), 0.0)
            g = self.probe.gradient(gy)
            if g is None or not g.any():
                hidden = self.stairs & ~slopes.still
            slopes.sharp &= ~hidden
            slopes.cause[hidden] = Cause.RESOLUTION

    def _keep_in_domain(self) -> None:
        """Try elements that lead out of the function's domain with smaller moves."""
        outside = self.unseen & (self.cause == Cause.NOT_FINITE) & np.isfinite(self.contract.base)
        d = self._draw("array")
        if d is None or not outside.any():
            return
        found = find_room(self.probe, d)
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
        """Leave out elements whose gradient is not finite, or raise GradientError if it should be finite.

        It need not be finite where the function is not finite or infinitely steep. Where an output is not finite, the
        other outputs decide whether it should be.
        """
        g = self.contract.gradients[self.probe.argument]
        if g is None or np.isfinite(g).all():
            return
        self.left_out |= ~np.isfinite(g)
        drawn = direction("array", self.x, self.probe.rng)
        assert drawn is not None
        if np.isfinite(self.contract.base).all():
            if np.isnan(g).any():
                self._refuse(g, int(np.flatnonzero(np.isnan(g))[0]), "all outputs are finite")
            for flat in np.flatnonzero(self.left_out)[:_INFINITE]:
                if not is_steep(self.probe, part_of(drawn, np.array([flat]))):
                    self._refuse(g, int(flat), "the function's slope is finite to both sides")
        else:
            slopes = self.probe.derivatives(np.where(self.left_out, drawn, 0.0))
            if (slopes.sharp & (slopes.variation > 8 * slopes.noise)).any():
                self._refuse(g, int(np.flatnonzero(self.left_out)[0]), "the function is smooth")
        if self.left_out.all():
            raise self._inconclusive(NOT_FINITE)

    def _refuse(self, g: Array, flat: int, where: str) -> None:
        index = index_of(flat, g)
        raise not_finite(self.probe.label, index, g[index], where)

    def _leave_out_kinks(self) -> None:
        """Leave out elements that are on kinks, if the others then show enough."""
        if not (self.cause[self.unseen] == Cause.KINK).any():
            return
        for kind in ("array", "element"):
            d = self._draw(kind)
            found = None if d is None else find_kinks(self.probe, d)
            if found is not None and found.any() and not found[d != 0].all():
                before = self.left_out
                self.left_out = before | found
                self.bent[:] = False
                self._try("array")
                self._try("element")
                if not self.resolved:  # they were not kinks: the function oscillates, say
                    self.left_out = before
                return

    def _report_empty(self) -> InputReport:
        g = self.contract.gradients[self.probe.argument]
        if g is not None and g.any():
            raise GradientError(
                f"the gradient of {self.probe.label} is not zero, but the output is empty: no loss can depend on it"
            )
        return self.probe.report(0, 0.0)
