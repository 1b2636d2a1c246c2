"""What a gradient check says: a report when it passes, an error made for reading when it does not."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

from minires.errors import MiniresError

Given = ParamSpec("Given")
Found = TypeVar("Found")

SHARP = "sharp"
KINK = "kink"
RESOLUTION = "resolution"
DISAGREEMENT = "disagreement"
NOT_FINITE = "not finite"
CAUSES = (RESOLUTION, KINK, DISAGREEMENT, NOT_FINITE)  # why a derivative can be of no use

EXPLANATIONS = {
    KINK: "the function has a kink (or a step) closer to this point than the finest step used",
    RESOLUTION: "the function's own rounding noise hides its slope at every step that was tried",
    DISAGREEMENT: "two independent sets of steps lead to different derivatives",
    NOT_FINITE: "the function is not finite at this point or right beside it",
}


@dataclass(frozen=True)
class Finding:
    """One wrong derivative: the smallest thing that shows the error.

    ``index`` is the input's offending element, or None where only a whole direction shows it. ``claimed`` is
    ⟨vjp(gy), d⟩ and ``numerical`` is the derivative of ⟨gy, function⟩ along d, where d is 1 at ``index``. The
    difference allowed is ``bar``, for the numerical side, plus ``rounding``, for vjp's. ``oracle`` says how
    ``numerical`` was found, ``label`` what the input is called, ``wrong`` how many of its elements are wrong, and
    ``others`` what is known of the other inputs.
    """

    argument: int
    index: tuple[int, ...] | None
    claimed: float
    numerical: float
    bar: float
    rounding: float
    step: float
    hint: str = ""
    snippet: str = ""
    oracle: str = "finite differences"
    label: str = ""
    wrong: str = ""
    others: str = ""

    @property
    def bound(self) -> float:
        """The difference that would have been allowed."""
        return self.bar + self.rounding

    @property
    def verdict(self) -> str:
        """The first line of the text."""
        where = "along a random direction" if self.index is None else f"at index {self.index}"
        return f"the gradient of {self.label or f'input {self.argument}'} is wrong {where}"

    def __str__(self) -> str:
        difference = abs(self.claimed - self.numerical)
        why = {
            "finite differences": f"{self.bar:.2g} for the finite differences, from the measured noise of the function "
            f"and the spread of extrapolations; {self.rounding:.2g} for the measured rounding of vjp",
            "complex step": f"from the measured rounding of both: {self.rounding:.2g}",
        }.get(self.oracle, "")
        step = "a complex step of" if self.oracle == "complex step" else "steps around"
        lines = [
            self.verdict,
            f"  claimed by vjp : {self.claimed:.15g}",
            f"  numerical      : {self.numerical:.15g}   ({step} {self.step:.3g})",
            f"  difference     : {difference:.3g}",
            f"  allowed        : {self.bound:.3g}   ({why if self.bound else 'the arithmetic is exact'})",
        ]
        for name, text in (("wrong", self.wrong), ("other inputs", self.others), ("hint", self.hint)):
            if text:
                lines.append(f"  {name:15}: {text}")
        if self.snippet:
            # The verdict once more, for the last line is seen first; as a comment, for it may be pasted with the rest.
            again = f"# {self.verdict}: {self.claimed:.9g} instead of {self.numerical:.9g}"
            lines += ["To reproduce:", "", self.snippet, "", again]
        return "\n".join(lines)


class GradientError(MiniresError, AssertionError):
    """A gradient is wrong, or the function that computes it breaks its contract.

    ``finding`` holds the numbers where a derivative is wrong, and is None where the contract is broken.
    """

    def __init__(self, text: str, finding: Finding | None = None) -> None:
        super().__init__(text)
        self.finding = finding


class Inconclusive(GradientError):
    """A gradient could be neither confirmed nor refuted.

    ``cause`` is "kink", "resolution", "disagreement" or "not finite".
    """

    def __init__(self, text: str, cause: str) -> None:
        super().__init__(text)
        self.cause = cause


@dataclass(frozen=True)
class InputReport:
    """What was checked of one input.

    ``resolution`` is the error, relative to the size of the derivative, that would have been noticed in the
    sharpest direction. ``outputs_left_out`` counts the outputs through which nothing could be seen in any
    direction, by cause, and ``elements_left_out`` the elements of the input that sit on a kink.
    """

    argument: int
    shape: tuple[int, ...]
    directions: int
    resolution: float
    outputs_left_out: Mapping[str, int] = field(default_factory=dict)
    elements_left_out: tuple[tuple[int, ...], ...] = ()
    label: str = ""

    @property
    def compared(self) -> int:
        """How many elements were moved."""
        return math.prod(self.shape) - len(self.elements_left_out) if self.directions else 0

    def __str__(self) -> str:
        text = f"{self.label or f'input {self.argument}'} {self.shape}: {self.directions} directions"
        text += f", relative errors above {self.resolution:.1e} excluded" if self.directions else ", nothing to vary"
        for cause, count in self.outputs_left_out.items():
            text += f"; {count} outputs left out ({cause})"
        if self.elements_left_out:
            shown = ", ".join(map(str, self.elements_left_out[:4]))
            text += f"; {len(self.elements_left_out)} elements left out (no derivative there): {shown}"
        return text


_NOTHING = "nothing was compared: the inputs or the outputs have no element; vjp's shapes and dtypes are right"


@dataclass(frozen=True)
class GradientReport:
    """A gradient that passed: what was tried, and how sharply.

    ``nonrepeatability`` is the largest difference between two calls with the same arguments (0 is expected).
    ``seed`` makes the same check again, as ``rng=seed``.
    """

    inputs: tuple[InputReport, ...]
    evaluations: int
    gradients: int
    seed: int
    nonrepeatability: float = 0.0
    method: str = "finite differences"

    @property
    def resolution(self) -> float:
        """The largest relative error that might have gone unnoticed, over all inputs."""
        return max((report.resolution for report in self.inputs), default=0.0)

    @property
    def compared(self) -> int:
        """How many elements of the inputs were compared with something; 0 where all of them, or all outputs, are empty.

        A report of 0 elements says that the contract was kept, and nothing of a derivative.
        """
        return sum(r.compared for r in self.inputs)

    @property
    def left_out(self) -> int:
        """Outputs and elements at which nothing could be said, over all inputs."""
        return sum(sum(r.outputs_left_out.values()) + len(r.elements_left_out) for r in self.inputs)

    def __str__(self) -> str:
        lines = [f"gradient confirmed by {self.method}" if self.compared else _NOTHING]
        lines += [f"  {report}" for report in self.inputs]
        lines.append(f"  {self.evaluations} evaluations of the function, {self.gradients} of the gradient")
        if self.nonrepeatability:
            lines.append(f"  not repeatable: two equal calls differ by up to {self.nonrepeatability:.3g}")
        return "\n".join(lines)


def inconclusive(label: str, cause: str, outputs: int, **details: Any) -> Inconclusive:
    """The error for an input of which nothing could be said."""
    text = f"the gradient of {label} could be neither confirmed nor refuted: {EXPLANATIONS[cause]}"
    text += f" ({outputs} outputs"
    text += "".join(f", {name.replace('_', ' ')} {value:.3g}" for name, value in details.items()) + "). "
    remedy = {
        KINK: "Choose inputs away from kinks and ties.",
        RESOLUTION: "Choose inputs nearer to 1, or a formula that cancels less.",
        DISAGREEMENT: "The function may oscillate, jump, or not be repeatable; choose other inputs.",
        NOT_FINITE: "Choose inputs inside the function's domain.",
    }
    return Inconclusive(text + remedy[cause], cause)


def not_finite(label: str, index: tuple[int, ...], value: float, where: str) -> GradientError:
    """The error for a gradient that is NaN or infinite at an element although ``where`` says that it should not be."""
    return GradientError(
        f"the gradient of {label} is {value} at index {index}, where {where}: claim the derivative, or at a "
        "kink a number between the slopes to its sides"
    )


def errors_end_here(check: Callable[Given, Found]) -> Callable[Given, Found]:
    """Have a check's GradientError come without the way through the checker, and pytest show the caller's line."""

    @functools.wraps(check)
    def checked(*arguments: Given.args, **options: Given.kwargs) -> Found:
        __tracebackhide__ = True
        try:
            return check(*arguments, **options)
        except GradientError as error:
            raise error.with_traceback(None)  # noqa: B904 (the same error; its text says it all)

    return checked
