"""The strategies, and Hypothesis with them, are imported at their first use."""

import subprocess
import sys

from minires import testing
from minires.testing import strategies


def test_the_checkers_do_not_import_hypothesis():
    code = "import sys; from minires.testing import check_exact, check_gradient, check_vjp; "
    code += "sys.exit('hypothesis' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_strategies_are_imported_when_asked_for():
    assert testing.strategies is strategies


def test_every_name_that_is_listed_is_there_and_documented():
    for name in strategies.__all__:
        assert name.isupper() or getattr(strategies, name).__doc__
