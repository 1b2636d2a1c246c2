"""The double of CuPy in the place of CuPy."""

import sys

import pytest
import strict_double


@pytest.fixture(scope="module")
def double_for_cupy():
    """What the package takes for CuPy while a module of tests runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "cupy", strict_double.cupy)
        yield strict_double.cupy
