import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minires.errors import DtypeError, ShapeError
from minires.kernels.reference.batch_norm import batch_norm, batch_norm_grads, batch_norm_inference
from minires.kernels.reference.batch_norm_act import batch_norm_act, batch_norm_act_grads, batch_norm_act_inference
from minires.testing import strategies as ms

EPS = 0.125
shapes = st.tuples(st.integers(2, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))
choices = st.booleans()


@pytest.mark.numpy_only
@given(
    shape=shapes, seed=ms.seeds(), dtype=ms.dtypes(), order=ms.memory_orders(), with_shortcut=choices, relu=choices
)  # fmt: skip
def test_the_fused_form_is_its_parts_to_the_last_bit(frozen, shape, seed, dtype, order, with_shortcut, relu):
    x, gy, shortcut = (frozen(shape, seed, dtype=dtype, order=order, stream=i) for i in range(3))
    gamma, beta = (frozen(shape[1:2], seed, dtype=dtype, stream=i) for i in (3, 4))
    shortcut = shortcut if with_shortcut else None

    def finish(z):
        z = z if shortcut is None else z + shortcut
        return np.where(z > 0, z, 0) if relu else z

    y, *statistics = batch_norm_act(x, gamma, beta, shortcut, relu, EPS)
    normalised, *expected = batch_norm(x, gamma, beta, EPS)
    assert np.array_equal(y, finish(normalised))
    assert all(np.array_equal(a, b) for a, b in zip(statistics, expected, strict=True))
    mean, var, inv_std = statistics
    inferred = batch_norm_act_inference(x, gamma, beta, mean, var, shortcut, relu, EPS)
    assert np.array_equal(inferred, finish(batch_norm_inference(x, gamma, beta, mean, var, EPS)))

    *gradients, gshortcut = batch_norm_act_grads(gy, y, x, gamma, mean, inv_std, relu, with_shortcut)
    gz = np.where(y > 0, gy, dtype.type(0)) if relu else gy
    for a, b in zip(gradients, batch_norm_grads(gz, x, gamma, mean, inv_std), strict=True):
        assert np.array_equal(a, b)
    assert gshortcut is None if shortcut is None else np.array_equal(gshortcut, gz)
    kept = [y, inferred, gradients[0], *([] if gshortcut is None else [gshortcut])]
    assert {a.dtype for a in kept} == {dtype}
    assert {a.strides for a in kept[:3]} == {np.empty_like(x).strides}


@given(shape=shapes, seed=ms.seeds(), relu=choices)
def test_all_four_gradients_agree_with_the_complex_step(frozen, complex_step, shape, seed, relu):
    x, gy, shortcut = (frozen(shape, seed, stream=i) for i in range(3))
    gamma, beta = (frozen(shape[1:2], seed, stream=i) for i in (3, 4))
    y, mean, _, inv_std = batch_norm_act(x, gamma, beta, shortcut, relu, EPS)
    claimed = batch_norm_act_grads(gy, y, x, gamma, mean, inv_std, relu, True)
    for which, gradient in enumerate(claimed):
        d = frozen(gradient.shape, seed, stream=5)
        moved = complex_step(
            lambda *a: batch_norm_act(*a, relu, EPS)[0], (x, gamma, beta, shortcut), which, d
        )  # fmt: skip
        # Each term of the projection is at most Σ|gy| · (1 + |x_hat|)² · gamma · inv_std · |d|; a few hundred
        # roundings enter the sums of at most 27 pixels, and inv_std < 3 carries those of the variance.
        x_hat = np.abs(x).max() * 2 * inv_std.max()
        size = (1 + np.abs(gy).sum()) * (1 + x_hat) ** 2 * (1 + np.abs(gamma).max()) * (1 + inv_std.max()) ** 3
        assert abs(np.sum(gy * moved) - np.sum(gradient * d)) <= 500 * 2.0**-52 * size * (1 + np.abs(d).max())


def test_without_relu_the_shortcut_gets_the_gradient_itself():
    x = np.arange(8.0).reshape(2, 1, 2, 2)
    one, zero = np.ones(1), np.zeros(1)
    y, mean, _, inv_std = batch_norm_act(x, one, zero, x, False, EPS)
    gy = np.ones_like(x)
    assert batch_norm_act_grads(gy, y, x, one, mean, inv_std, False, True)[3] is gy


def test_a_shortcut_that_does_not_fit_is_refused():
    x, one = np.ones((2, 3, 4, 4)), np.ones(3)
    for refused in (
        lambda shortcut: batch_norm_act(x, one, one, shortcut, True, EPS),
        lambda shortcut: batch_norm_act_inference(x, one, one, one, one, shortcut, True, EPS),
    ):
        with pytest.raises(ShapeError, match=r"\(2, 1, 4, 4\) cannot be added to .*\(2, 3, 4, 4\): project it first"):
            refused(x[:, :1])
        with pytest.raises(DtypeError, match="different dtypes: float64, float32"):
            refused(x.astype(np.float32))
