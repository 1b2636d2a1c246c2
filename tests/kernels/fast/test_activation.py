import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minires.kernels import reference
from minires.kernels.fast import activation, elementwise
from minires.testing import strategies as ms


def steps(array):
    """Return the strides of the axes with several elements; none for an empty array."""
    return [stride for stride, n in zip(array.strides, array.shape, strict=True) if n > 1 and array.size]


@given(
    shape=ms.shapes(min_side=0),
    seed=ms.seeds(),
    dtype=ms.dtypes(),
    orders=st.tuples(ms.memory_orders(), ms.memory_orders()),
    special=st.sampled_from([0.0, -0.0, np.nan, np.inf, -np.inf]),
)
def test_relu_and_its_gradient_are_the_references_exactly(on_any_threads, shape, seed, dtype, orders, special):
    x, gy = (ms.array(shape, seed, "tied", dtype, order, i) for i, order in enumerate(orders))
    for stream, a in enumerate((x, gy)):
        a[np.random.default_rng([seed, stream]).random(shape) < 0.2] = special
        a.setflags(write=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(elementwise, "_BLOCK", 7)
        y = on_any_threads(activation.relu, x)
        gx = on_any_threads(activation.relu_grad, gy, x)
    for result, expected in ((y, reference.relu(x)), (gx, reference.relu_grad(gy, x))):
        assert result.dtype == dtype
        assert steps(result) == steps(expected)
        np.testing.assert_array_equal(result, expected)


def test_the_gradient_has_the_memory_order_of_the_output_and_the_dtype_of_its_own():
    y, gy = ms.array((2, 3, 4, 5), 0, order="HWNC"), ms.array((2, 3, 4, 5), 0, stream=1).astype(np.float32)
    gx = activation.relu_grad(gy, y)
    assert gx.dtype == np.float32
    assert np.array_equal(gx, reference.relu_grad(gy, y))
    assert np.argsort(gx.strides).tolist() == np.argsort(y.strides).tolist() == [1, 0, 3, 2]


def test_shapes_that_differ_raise_as_in_the_reference(raises_the_same):
    raises_the_same(activation.relu_grad, reference.relu_grad, np.ones(3), np.ones(4))
