import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minires.kernels import reference
from minires.kernels.fast import elementwise
from minires.testing import strategies as ms


def steps(array):
    """The strides that count: those of axes with several elements, and of arrays with any."""
    return [stride for stride, n in zip(array.strides, array.shape, strict=True) if n > 1 and array.size]


@given(
    shape=ms.shapes(min_side=0),
    seed=ms.seeds(),
    dtype=ms.dtypes(),
    orders=st.tuples(ms.memory_orders(), ms.memory_orders()),
    special=st.sampled_from([0.0, -0.0, np.nan, np.inf, -np.inf]),
)
def test_the_rectifier_and_its_gradient_are_the_references_exactly(on_any_threads, shape, seed, dtype, orders, special):
    x, gy = (ms.array(shape, seed, "tied", dtype, order, i) for i, order in enumerate(orders))
    for stream, a in enumerate((x, gy)):
        a[np.random.default_rng([seed, stream]).random(shape) < 0.2] = special
        a.setflags(write=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(elementwise, "_BLOCK", 7)
        y = on_any_threads(elementwise.relu, x)
        gx = on_any_threads(elementwise.relu_grad, gy, x)
    for result, expected in ((y, reference.relu(x)), (gx, reference.relu_grad(gy, x))):
        assert result.dtype == dtype
        assert steps(result) == steps(expected)
        np.testing.assert_array_equal(result, expected)


def test_the_gradient_has_the_memory_order_of_the_output_and_the_dtype_of_its_own():
    y, gy = ms.array((2, 3, 4, 5), 0, order="HWNC"), ms.array((2, 3, 4, 5), 0, stream=1).astype(np.float32)
    gx = elementwise.relu_grad(gy, y)
    assert gx.dtype == np.float32
    assert np.array_equal(gx, reference.relu_grad(gy, y))
    assert np.argsort(gx.strides).tolist() == np.argsort(y.strides).tolist() == [1, 0, 3, 2]


def test_shapes_that_differ_raise_as_in_the_reference(raises_the_same):
    raises_the_same(elementwise.relu_grad, reference.relu_grad, np.ones(3), np.ones(4))


_LAYOUTS = st.tuples(ms.memory_orders(), st.booleans())


@given(shape=ms.shapes(min_side=0), seed=ms.seeds(), dtype=ms.dtypes(), layouts=_LAYOUTS)
def test_sums_are_the_references_exactly(on_any_threads, shape, seed, dtype, layouts):
    order, alike = layouts
    a, b = (ms.array(shape, seed, "positive", dtype, order if alike or i else "C", i) for i in range(2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(elementwise, "_BLOCK", 7)
        patch.setattr(elementwise, "_LONG", 5)
        total = on_any_threads(elementwise.add, a, b)
        assert steps(total) == steps(reference.add(a, b))
        np.testing.assert_array_equal(total, reference.add(a, b))
        elementwise.add_(a, b)
        np.testing.assert_array_equal(a, total)


def test_what_the_reference_refuses_is_refused(raises_the_same):
    long, short = np.ones(1 << 16), np.ones(3)
    for other in (short, long.astype(np.float32)):
        raises_the_same(elementwise.add, reference.add, long, other)
        raises_the_same(elementwise.add_, reference.add_, long, other)


LONG = elementwise._LONG


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
    in_threads = elementwise._in_threads
    monkeypatch.setattr(elementwise, "_in_threads", lambda *a: calls.append(len(a)) or in_threads(*a))
    a, b = arrays
    np.testing.assert_array_equal(elementwise.add(a, b), a + b)
    elementwise.add_(np.array(a) if a.strides == np.array(a).strides else np.zeros_like(a), b)
    assert bool(calls) == threaded


@pytest.mark.parametrize("shape", [(1 << 15,), (181, 182)])
def test_results_of_long_arrays_are_in_their_order(shape):
    for order in ("C", "F"):
        a = np.ones(shape, order=order)
        assert elementwise.add(a, a).strides == a.strides
        assert elementwise.relu(a).strides == a.strides
