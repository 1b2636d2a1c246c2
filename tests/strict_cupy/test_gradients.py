"""Gradients of every operation on the double of CuPy: operations, engine and checker need nothing that CuPy lacks."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strict_record import recording

from minires.testing.catalogue import ENTRIES
from minires.testing.catalogue.check import Setting, check, trials

SETTINGS = [Setting(dtype, "cuda", "reference") for dtype in ("float32", "float64")]
pytestmark = pytest.mark.usefixtures("double_for_cupy")


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
@settings(max_examples=2)
@given(data=st.data())
def test_gradients_of_both_orders_are_right(entry, data):
    with recording():  # the checker reads what it compares
        check(data.draw(trials(entry, SETTINGS)))
