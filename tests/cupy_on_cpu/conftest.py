"""Fixtures for the device of these tests: the fake device, or a GPU."""

import bodies
import pytest


@pytest.fixture(scope="session")
def device():
    """Return the fake device; tests about it are skipped on a GPU."""
    found = getattr(bodies.begin, "device", None)
    if found is None:
        pytest.skip("about the device that stands in for a GPU")
    return found
