"""The table of `minires check`: every operation × dtype × device × kernel set × memory order."""

from __future__ import annotations

import platform
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import hypothesis
import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable

from minires.autograd.op import Op
from minires.device import available as is_available
from minires.errors import SettingsError
from minires.testing import strategies
from minires.testing.catalogue.check import Setting, Trial, check, steps
from minires.testing.catalogue.complete import operations_reached, unchecked
from minires.testing.catalogue.entry import Case, Entry
from minires.testing.layouts import MEMORY_ORDERS


@dataclass
class CheckRow:
    """The checks of one operation in one setting.

    Attributes
    ----------
    cases : for each memory order, the number of checks in each tier
    resolutions : for each tier, the relative error that each check notices; 0 if the numbers are exact
    failure : the text of the smallest case that failed, or ""
    checked : for a user's operation, the function and the gradient, and where they are defined
    """

    name: str
    setting: Setting
    cases: dict[str, Counter[str]] = field(default_factory=lambda: {order: Counter() for order in MEMORY_ORDERS})
    resolutions: dict[str, list[float]] = field(default_factory=dict)
    failure: str = ""
    checked: dict[str, str] = field(default_factory=dict)

    @property
    def checks(self) -> int:
        """The number of checks that passed, in all memory orders and tiers."""
        return sum(sum(tiers.values()) for tiers in self.cases.values())

    @property
    def verdict(self) -> str:
        """ "ok", "FAILED", or "no check" where no case allows a step."""
        if self.failure:
            return "FAILED"
        return "ok" if all(self.cases.values()) else "no check"

    @property
    def sharpness(self) -> dict[str, float]:
        """The median of the relative errors that the checks notice, for each tier."""
        return {tier: statistics.median(found) for tier, found in self.resolutions.items()}

    def count(self, order: str, tier: str, resolution: float) -> None:
        """Add one check that passed."""
        self.cases[order][tier] += 1
        self.resolutions.setdefault(tier, []).append(resolution)


@dataclass
class Survey:
    """The result of one run of `minires check`."""

    rows: list[CheckRow]
    unchecked: list[str]
    unavailable: list[str]
    examples: int
    seed: int

    @property
    def passed(self) -> bool:
        """Whether something was checked, nothing failed, and nothing lacks a check."""
        return bool(self.rows) and not self.unchecked and all(row.verdict == "ok" for row in self.rows)


def explore(strategy: st.SearchStrategy[Any], run: Callable[[Any], None], examples: int, seed: int) -> str:
    """Run a function on drawn examples and return the text of the smallest failure, or "".

    Raises
    ------
    SettingsError : if ``run`` raises it: it is a mistake of the caller, not a failure.
    """
    quietly = settings(
        max_examples=examples,
        database=None,
        deadline=None,
        print_blob=False,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    try:
        hypothesis.seed(seed)(quietly(given(strategy)(run)))()
    except SettingsError:
        raise
    except Unsatisfiable:  # all examples were rejected; the caller decides what this means
        return ""
    except AssertionError as error:  # GradientError and RoundingError are subclasses
        return str(error)
    except Exception as error:  # any exception of a broken kernel is a failure, too
        return f"{type(error).__name__}: {error}"
    return ""


def survey_row(entry: Entry, setting: Setting, examples: int, seed: int, reached: set[type[Op]] | None) -> CheckRow:
    """Check ``examples`` cases of an operation in one setting, each one in every memory order.

    The operations that they reach are added to ``reached``, unless it is None. The memory orders take the steps that a
    case allows in turn, from a drawn start.
    """
    row = CheckRow(entry.name, setting)

    def run(drawn: tuple[Case, int, int]) -> None:
        case, start, number = drawn
        if reached is not None:
            reached.update(operations_reached(case))
        allowed = steps(case, setting)
        for turn, order in enumerate(MEMORY_ORDERS if allowed else ()):
            step = allowed[(start + turn) % len(allowed)]
            report = check(Trial(case, setting, order, step, number))
            row.count(order, step.tier, report.resolution)

    start = st.integers(0, len(MEMORY_ORDERS) - 1)
    row.failure = explore(st.tuples(entry.cases(), start, strategies.seeds()), run, examples, seed)
    return row


def survey(
    entries: Sequence[Entry],
    every: Sequence[Entry],
    choices: Sequence[Setting],
    examples: int,
    seed: int,
    tell: Callable[[CheckRow], None] = lambda row: None,
) -> Survey:
    """Check operations in all settings. If ``entries`` are ``every`` entry, also find what has no check.

    ``tell`` is called with each finished row.
    """
    reached: set[type[Op]] | None = set() if len(entries) == len(every) else None
    rows = []
    available = [setting for setting in choices if is_available(setting.device)]
    for entry in entries:
        for setting in available:
            rows.append(survey_row(entry, setting, examples, seed, reached))
            tell(rows[-1])
    missing = [] if reached is None else unchecked(entries, reached)
    unavailable = sorted({setting.device for setting in choices} - {setting.device for setting in available})
    return Survey(rows, missing, unavailable, examples, seed)


def all_settings() -> list[Setting]:
    """Return every combination of dtype, device and kernel set that exists."""
    sets = [("cpu", "reference"), ("cpu", "fast"), ("cuda", "reference"), ("cuda", "cuda")]
    return [Setting(dtype, device, name) for device, name in sets for dtype in ("float64", "float32")]


# As text and as JSON

_COLUMNS = "".join(f"{order:>10}" for order in MEMORY_ORDERS)
HEADER = f"{'operation':26}{'dtype':9}{'device':8}{'kernels':10}{_COLUMNS}  {'detects':>9}  tiers"


def line_of(row: CheckRow) -> str:
    """Return a line of the table: checks in each memory order, the relative error that each tier notices, the tiers."""
    counts = "".join(f"{sum(row.cases[order].values()):>10}" for order in MEMORY_ORDERS)
    worst = max(row.sharpness.values(), default=0.0)
    detects = "any error" if row.sharpness and not worst else f"> {worst:.0e}" if row.sharpness else "-"
    tiers = ", ".join(row.sharpness) if row.verdict == "ok" else row.verdict
    dtype, device, kernels = row.setting
    return f"{row.name:25} {dtype:9}{device:8}{kernels:10}{counts}  {detects:>9}  {tiers}"


def as_json(found: Survey, version: str) -> dict[str, Any]:
    """Return the whole survey as numbers and strings.

    Returns
    -------
    a dictionary with
        minires, numpy, hypothesis, python : versions
        seed, examples : they repeat the run
        passed : whether the command ends with 0
        unavailable : devices that this machine does not have
        unchecked : operations and public names that no entry checks
        rows : one for each operation, dtype, device, kernel set (``kernels``) and memory order (``order``), with
            cases, the number of checks that passed; tiers, their number in each tier; sharpness, for each tier the
            median, over all memory orders, of the relative error that a check notices (0: any); and the verdict:
            "ok", "FAILED" or "no check"
        failures : operation, dtype, device, kernels, and the text for the smallest case
        checked : for each operation of the user, the function and its gradient, with file and line
    """
    return {
        "minires": version,
        "numpy": np.__version__,
        "hypothesis": hypothesis.__version__,
        "python": platform.python_version(),
        "seed": found.seed,
        "examples": found.examples,
        "passed": found.passed,
        "unavailable": found.unavailable,
        "unchecked": found.unchecked,
        "rows": [_object(row, order) for row in found.rows for order in MEMORY_ORDERS],
        "failures": [
            {"operation": row.name, **row.setting._asdict(), "text": row.failure} for row in found.rows if row.failure
        ],
        "checked": [{"operation": row.name, **row.checked} for row in found.rows if row.checked],
    }


def _object(row: CheckRow, order: str) -> dict[str, Any]:
    return {
        "operation": row.name,
        **row.setting._asdict(),
        "order": order,
        "cases": sum(row.cases[order].values()),
        "tiers": dict(row.cases[order]),
        "sharpness": {tier: row.sharpness[tier] for tier in row.cases[order]},
        "verdict": row.verdict,
    }
