"""Add the pytest option ``--minires-gradients=thorough``, for the tests that `minires.testing.gradients` makes.

pytest imports this file at the start of every run, even without such tests. So this file imports neither minires nor
NumPy nor Hypothesis.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

EXAMPLES = {"quick": 10, "default": 25, "thorough": 10_000}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    numbers = ", ".join(f"{level} {examples:,}" for level, examples in EXAMPLES.items())
    parser.getgroup("minires", "gradient checks").addoption(
        "--minires-gradients",
        choices=list(EXAMPLES),
        help=f"examples that Hypothesis draws for each test made by minires.testing.gradients: {numbers}; tests with "
        "settings of their own keep them",
    )


def pytest_report_header(config: pytest.Config) -> str | None:
    """Return a line with the chosen level; None without the option."""
    level = config.getoption("--minires-gradients")
    return level and f"minires: gradients {level}, {EXAMPLES[level]:,} examples each"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Set the number of examples of each gradient test."""
    level = config.getoption("--minires-gradients")
    makers = sys.modules.get("minires.testing.property_test")
    if level and makers:  # else there are no such tests
        for item in items:
            makers.set_examples(getattr(item, "function", None), EXAMPLES[level])


def pytest_report_collectionfinish(config: pytest.Config, items: list[pytest.Item]) -> str | None:
    """Return a warning if the option is given, but no gradient test was collected."""
    if not config.getoption("--minires-gradients"):
        return None
    makers = sys.modules.get("minires.testing.property_test")
    found = sum(makers.is_made_here(getattr(item, "function", None)) for item in items) if makers else 0
    return None if found else "minires: no gradient test was collected, so --minires-gradients checks nothing"


def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Add the reasons why points were set aside to Hypothesis' error for too few points."""
    makers = sys.modules.get("minires.testing.property_test")
    if makers and call.excinfo:
        makers.explain(getattr(item, "function", None), call.excinfo.value)
