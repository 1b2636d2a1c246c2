"""The results of a gradient check: a report if it passes, an error with a readable text if it does not."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

from minires.errors import MiniresError

Given = ParamSpec("Given")
Found = TypeVar("Found")

KINK = "kink"
RESOLUTION = "resolution"
DISAGREEMENT = "disagreement"
NOT_FINITE = "not finite"
CAUSES = (RESOLUTION, KINK, DISAGREEMENT, NOT_FINITE)  # why a derivative is of no use
NOT_REPEATABLE = "not repeatable"  # why there is no derivative at all

EXPLANATIONS = {
    KINK: "the function has a kink (or a step) closer to this point than the finest step used",
    RESOLUTION: "the function's own rounding noise hides its slope at every step that was tried",
    DISAGREEMENT: "two independent sets of steps lead to different derivatives",
    NOT_FINITE: "the function is not finite at this point or right beside it",
}


@dataclass(frozen=True)
class Finding:
    """A wrong derivative: that of one element if it shows the error alone, else that along a direction.

    Attributes
    ----------
    argument, label : the index of the input, and what messages call it
    index : the index of the element, or None if only a whole direction shows the error
    claimed : ⟨vjp(gy), d⟩, where d is 1 at ``index``
    numerical : the derivative of ⟨gy, function⟩ along d
    bar, rounding : the difference that is allowed for the numerical side, and for vjp's
    step, oracle : the step at which, and the method by which, ``numerical`` was found
    hint, snippet : what the mistake looks like, and a program that reproduces it
    wrong, others : how many elements of the input are wrong, and what is known of the other inputs
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
        """The difference that is allowed."""
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
            # The verdict once more, since the last line is seen first; as a comment, since it may be copied too.
            again = f"# {self.verdict}: {self.claimed:.9g} instead of {self.numerical:.9g}"
            lines += ["To reproduce:", "", self.snippet, "", again]
        return "\n".join(lines)


class GradientError(MiniresError, AssertionError):
    """Raised if a gradient is wrong, or if the function that computes it breaks its contract.

    ``finding`` describes the wrong derivative; it is None if the contract is broken.
    """

    def __init__(self, text: str, finding: Finding | None = None) -> None:
        super().__init__(text)
        self.finding = finding


class Inconclusive(GradientError):
    """Raised if a gradient could be neither confirmed nor refuted.

    ``cause`` is "kink", "resolution", "disagreement" or "not finite" if the point is the reason, and "not repeatable"
    if the function is. ``__cause__`` is the exception that the function raised where its input was moved, if it did.
    """

    def __init__(self, text: str, cause: str) -> None:
        super().__init__(text)
        self.cause = cause


@dataclass(frozen=True)
class InputReport:
    """The result of checking one input.

    Attributes
    ----------
    argument, label, shape : of the input
    directions : how many were tried
    resolution : the smallest error that the sharpest direction would have shown, relative to the derivative
    outputs_left_out : cause -> how many outputs showed nothing in any direction
    elements_left_out : the indices of elements that have no derivative, as those on a kink
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
    """The result of a check that passed.

    Attributes
    ----------
    inputs : one report for each input
    evaluations, gradients : how often the function and its gradient were called
    seed : repeats the check, as ``rng=seed``
    nonrepeatability : the largest difference between two calls with the same arguments (0 is expected)
    method : how derivatives were measured
    """

    inputs: tuple[InputReport, ...]
    evaluations: int
    gradients: int
    seed: int
    nonrepeatability: float = 0.0
    method: str = "finite differences"

    @property
    def resolution(self) -> float:
        """The largest relative error that may be left unnoticed, over all inputs."""
        return max((report.resolution for report in self.inputs), default=0.0)

    @property
    def compared(self) -> int:
        """How many elements of the inputs were compared.

        It is 0 if all inputs or all outputs are empty: then the contract was kept, but no derivative was seen.
        """
        return sum(r.compared for r in self.inputs)

    @property
    def left_out(self) -> int:
        """How many outputs and elements were left out, over all inputs."""
        return sum(sum(r.outputs_left_out.values()) + len(r.elements_left_out) for r in self.inputs)

    def __str__(self) -> str:
        lines = [f"gradient confirmed by {self.method}" if self.compared else _NOTHING]
        lines += [f"  {report}" for report in self.inputs]
        lines.append(f"  {self.evaluations} evaluations of the function, {self.gradients} of the gradient")
        if self.nonrepeatability:
            lines.append(f"  not repeatable: two equal calls differ by up to {self.nonrepeatability:.3g}")
        return "\n".join(lines)


def inconclusive(label: str, cause: str, outputs: int, **details: Any) -> Inconclusive:
    """Return the error for an input whose gradient could be neither confirmed nor refuted."""
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


def refused(inconclusive: Inconclusive, error: Exception, label: str, distance: float) -> Inconclusive:
    """Return the same error for a function that raised ``error`` where ``label`` was moved by ``distance``."""
    said = f"{type(error).__name__}: {error}".rstrip(": ")
    text = f"{inconclusive} Function raises {said}, where elements of {label} are moved by {distance:.3g}."
    return Inconclusive(text, inconclusive.cause)


def not_finite(label: str, index: tuple[int, ...], value: float, where: str) -> GradientError:
    """Return the error for a gradient that is not finite at an element; ``where`` says why it should be."""
    return GradientError(
        f"the gradient of {label} is {value} at index {index}, where {where}: claim the derivative, or at a "
        "kink a number between the slopes to its sides"
    )


def errors_end_here(check: Callable[Given, Found]) -> Callable[Given, Found]:
    """Decorator: hide the checker's frames from the traceback of a GradientError; pytest shows the caller's line."""

    @functools.wraps(check)
    def checked(*arguments: Given.args, **options: Given.kwargs) -> Found:
        __tracebackhide__ = True
        try:
            return check(*arguments, **options)
        except GradientError as error:
            raise error.with_traceback(None)  # noqa: B904 (the same error; its text says it all)

    return checked
