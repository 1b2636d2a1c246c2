import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minires.errors import DtypeError, ShapeError
from minires.kernels.reference.dropout import dropout
from minires.testing import strategies as ms


def masked(shape, seed, p):
    return np.random.default_rng(seed).random(shape) >= p


@pytest.mark.numpy_only
@given(
    shape=ms.shapes(min_side=0), seed=ms.seeds(), dtype=ms.dtypes(), order=ms.memory_orders(),
    p=st.sampled_from([0.0, 0.5, 0.75]),
)  # fmt: skip
def test_what_is_kept_is_enlarged_and_the_rest_is_zero(frozen, shape, seed, dtype, order, p):
    x, mask = frozen(shape, seed, "integers", dtype, order), masked(shape, seed, p)
    y = dropout(x, mask, p)
    assert (y.dtype, y.strides) == (dtype, np.empty_like(x).strides)
    for index in np.ndindex(shape):
        assert y[index] == (float(x[index]) / (1 - p) if mask[index] else 0)
    assert not np.shares_memory(x, y)


@given(shape=ms.shapes(), seed=ms.seeds(), dtype=ms.dtypes())
def test_dropout_is_its_own_exact_adjoint(frozen, shape, seed, dtype):
    x, gy = (frozen(shape, seed, "integers", dtype, stream=i) for i in (0, 1))
    mask = masked(shape, seed, 0.5)
    assert np.sum(gy * dropout(x, mask, 0.5)) == np.sum(dropout(gy, mask, 0.5) * x)


def test_a_probability_of_one_drops_everything_whatever_the_mask():
    assert dropout(np.ones(3), np.array([True, False, True]), 1.0).tolist() == [0, 0, 0]


def test_what_is_dropped_is_zero_even_where_it_was_not_finite():
    y = dropout(np.array([np.nan, np.inf, 1.0]), np.array([False, False, True]), 0.5)
    assert y.tolist() == [0, 0, 2]


def test_masks_that_do_not_fit_are_named():
    x = np.ones((2, 3))
    with pytest.raises(ShapeError, match=r"mask of shape \(3,\) does not fit an input of shape \(2, 3\)"):
        dropout(x, np.ones(3, bool), 0.5)
    with pytest.raises(DtypeError, match="must be of booleans, not float64"):
        dropout(x, x, 0.5)
