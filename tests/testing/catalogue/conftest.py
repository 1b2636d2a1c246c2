import numpy as np
import pytest

from minires import kernels
from minires.cli import main
from minires.testing.catalogue import ENTRIES
from minires.testing.catalogue.table import explore


@pytest.fixture(scope="session")
def entries():
    """Return the entries of the catalogue by name."""
    return {entry.name: entry for entry in ENTRIES}


@pytest.fixture(scope="session")
def first_cases(entries):
    """Return the first few cases of an entry, the smallest one first."""

    def draw(name, count=1):
        cases = []
        assert explore(entries[name].cases(), lambda case: cases.append(case), count, 0) == ""
        return cases

    return draw


@pytest.fixture
def plant(monkeypatch):
    """Return a function that multiplies the results of a kernel by a factor."""

    def spoil(kernel_set, kernel, factor):
        with kernels.using(kernel_set):
            chosen = kernels.choose(np.zeros(1))
        right = getattr(chosen, kernel)
        monkeypatch.setattr(chosen, kernel, lambda *arguments: right(*arguments) * arguments[0].dtype.type(factor))

    return spoil


@pytest.fixture
def told(capsys):
    """Return a function that runs ``minires check``, tests its exit code and returns what it prints."""

    def told(code, *arguments):
        assert main(["check", *arguments]) == code
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return err if code == 2 else out

    return told
