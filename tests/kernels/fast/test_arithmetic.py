import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minires.kernels import reference
from minires.kernels.fast import activation, arithmetic, elementwise
from minires.testing import strategies as ms


def steps(array):
    """Return the strides of the axes with several elements; none for an empty array."""
    return [stride for stride, n in zip(array.strides, array.shape, strict=True) if n > 1 and array.size]


_LAYOUTS = st.tuples(ms.memory_orders(), st.booleans())


@given(shape=ms.shapes(min_side=0), seed=ms.seeds(), dtype=ms.dtypes(), layouts=_LAYOUTS)
def test_sums_are_the_references_exactly(on_any_threads, shape, seed, dtype, layouts):
    order, alike = layouts
    a, b = (ms.array(shape, seed, "positive", dtype, order if alike or i else "C", i) for i in range(2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(elementwise, "_BLOCK", 7)
        patch.setattr(arithmetic, "_LONG", 5)
        total = on_any_threads(arithmetic.add, a, b)
        assert steps(total) == steps(reference.add(a, b))
        np.testing.assert_array_equal(total, reference.add(a, b))
        arithmetic.add_(a, b)
        np.testing.assert_array_equal(a, total)


def test_what_the_reference_refuses_is_refused(raises_the_same):
    long, short = np.ones(1 << 16), np.ones(3)
    for other in (short, long.astype(np.float32)):
        raises_the_same(arithmetic.add, reference.add, long, other)
        raises_the_same(arithmetic.add_, reference.add_, long, other)


LONG = arithmetic._LONG


@pytest.mark.parametrize(
    ("arrays", "threaded"),
    [
        ([np.ones(LONG)] * 2, True),
        ([np.ones(LONG - 1)] * 2, False),
        ([np.ones((2, LONG)).T] * 2, True),
        ([np.ones((LONG, 2)), np.ones((LONG, 2), order="F")], False),
        ([np.ones((LONG, 3))[:, :2]] * 2, False),
        ([np.ones((LONG, 3))[:, 1:2]] * 2, False),
        ([np.ones(2 * LONG)[::2]] * 2, False),
        ([np.ones((2, LONG))[::-1]] * 2, False),
    ],
)
def test_long_arrays_in_one_dense_order_are_cut_and_others_are_not(monkeypatch, arrays, threaded):
    calls = []
    in_threads = arithmetic.in_threads
    monkeypatch.setattr(arithmetic, "in_threads", lambda *a: calls.append(len(a)) or in_threads(*a))
    a, b = arrays
    np.testing.assert_array_equal(arithmetic.add(a, b), a + b)
    arithmetic.add_(np.array(a) if a.strides == np.array(a).strides else np.zeros_like(a), b)
    assert bool(calls) == threaded


@pytest.mark.parametrize("shape", [(1 << 15,), (181, 182)])
def test_results_of_long_arrays_are_in_their_order(shape):
    for order in ("C", "F"):
        a = np.ones(shape, order=order)
        assert arithmetic.add(a, a).strides == a.strides
        assert activation.relu(a).strides == a.strides
