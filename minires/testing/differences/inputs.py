"""The verdicts on all inputs together: an error at one is told with what is known of the others."""

from __future__ import annotations

import dataclasses

from minires.testing.differences.compare import Probe
from minires.testing.differences.verdict import check_input
from minires.testing.report import GradientError, Inconclusive, InputReport
from minires.testing.subject.names import listed

__tracebackhide__ = True  # pytest goes from the caller's line to the caller's function


def check_inputs(probe: Probe, at_kinks: str) -> tuple[InputReport, ...]:
    """Check the gradients of all inputs that are to be checked.

    Raises
    ------
    GradientError : for the first input whose gradient is wrong, be others inconclusive or not.
    Inconclusive : for the first input of which nothing can be said, if none is wrong.
    """
    passed: dict[int, InputReport] = {}
    failed: dict[int, GradientError] = {}
    for number in probe.pair.varied:
        known = any(not isinstance(error, Inconclusive) for error in failed.values())
        try:
            passed[number] = check_input(probe, number, at_kinks, locate=not known)
        except GradientError as error:
            failed[number] = error
        except Exception:  # of the function: where a gradient was found wrong, that is what counts
            if not failed:
                raise
    if failed:
        wrong = [number for number, error in failed.items() if not isinstance(error, Inconclusive)]
        first = (wrong or list(failed))[0]
        raise _with_others(failed[first], _others(probe, passed, failed, first))
    return tuple(passed.values())


def _others(probe: Probe, passed: dict[int, InputReport], failed: dict[int, GradientError], first: int) -> str:
    groups = {
        "passed": list(passed),
        "wrong as well": [n for n, e in failed.items() if n != first and not isinstance(e, Inconclusive)],
        "inconclusive": [n for n, e in failed.items() if n != first and isinstance(e, Inconclusive)],
    }
    labels = probe.pair.labels
    return "; ".join(f"{listed([labels[n] for n in found])} {what}" for what, found in groups.items() if found)


def _with_others(error: GradientError, others: str) -> GradientError:
    if not others:
        return error
    if error.finding is not None:
        finding = dataclasses.replace(error.finding, others=others)
        return GradientError(str(finding), finding)
    error.args = (f"{error} Other inputs: {others}.",)
    return error
