"""Replace CuPy by its double."""

import sys

import pytest
import strict_double


@pytest.fixture(scope="module")
def double_for_cupy():
    """Make the package use the double as CuPy while a test module runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "cupy", strict_double.cupy)
        yield strict_double.cupy
