import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minires.errors import DtypeError, ShapeError
from minires.kernels.reference.batch_norm import (
    batch_norm,
    batch_norm_grads,
    batch_norm_grads_grads,
    batch_norm_inference,
    batch_norm_inference_grads,
)
from minires.testing import MEMORY_ORDERS, lay_out
from minires.testing import strategies as ms

orders = st.sampled_from(MEMORY_ORDERS)
seeds = st.integers(0, 2**32 - 1)
shapes = st.tuples(st.integers(2, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))


def problem(shape, seed, dtype=np.float64, order="C"):
    rng = np.random.default_rng(seed)
    draw = lambda s: rng.standard_normal(s).astype(dtype)  # noqa: E731
    C = shape[1]
    return lay_out(draw(shape), order), lay_out(draw(shape), order), draw(C) + dtype(2), draw(C)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(shape=shapes, seed=seeds, order=orders)
def test_batch_norm_is_its_definition_in_rational_numbers(dtype, shape, seed, order):
    x, _, gamma, beta = problem(shape, seed, dtype, order)
    eps = 0.125
    y, mean, var, inv_std = batch_norm(x, gamma, beta, eps)
    assert {a.dtype for a in (y, mean, var, inv_std)} == {np.dtype(dtype)}
    u = np.finfo(dtype).eps
    for c in range(shape[1]):
        values = [Fraction(float(v)) for v in x[:, c].ravel()]
        m = sum(values) / len(values)
        v = sum((value - m) ** 2 for value in values) / len(values)
        size = max(abs(float(value)) for value in values)
        # A mean of at most 27 values carries at most 27 roundings of size u; a variance twice that, on size².
        assert abs(mean[c] - float(m)) <= 27 * u * size
        assert abs(var[c] - float(v)) <= 120 * u * size**2
        s = 1 / math.sqrt(float(v) + eps)
        for got, value in zip(y[:, c].ravel(), values, strict=True):
            expected = float(gamma[c]) * float(value - m) * s + float(beta[c])
            # inv_std ≤ 1/√eps < 3 turns the variance's error into at most 3³/2 times as much.
            bound = (27 * 3 + 120 * 14 * size**2 + 8 * 3) * abs(gamma[c]) * max(size, 1) + abs(beta[c])
            assert abs(got - expected) <= 2 * u * bound


@given(shape=shapes, seed=seeds, order=orders)
def test_the_sum_of_the_input_gradient_is_zero_and_its_stretch_is_what_eps_leaves(shape, seed, order):
    x, gy, gamma, beta = problem(shape, seed, order=order)
    eps = 0.1
    _, mean, var, inv_std = batch_norm(x, gamma, beta, eps)
    gx, ggamma, _ = batch_norm_grads(gy, x, gamma, mean, inv_std)
    x_hat = (x - mean.reshape(1, -1, 1, 1)) * inv_std.reshape(1, -1, 1, 1)
    # Sums of at most 27 products of quantities with at most a few dozen roundings each.
    bound = 2000 * 2.0**-53 * (np.abs(gamma) * inv_std).max() * (1 + np.abs(gy).sum()) * (1 + np.abs(x_hat).max()) ** 2
    assert np.abs(gx.sum((0, 2, 3))).max() <= bound
    assert np.abs((gx * x_hat).sum((0, 2, 3)) - gamma * inv_std * ggamma * eps / (var + eps)).max() <= bound


def complex_derivative(function, arrays, directions):
    h = 1e-20
    moved = [a + 1j * h * d for a, d in zip(arrays, directions, strict=True)]
    return [np.imag(result) / h for result in function(*moved)]


@given(shape=shapes, seed=seeds, order=orders)
def test_both_backward_passes_agree_with_the_complex_step(shape, seed, order):
    x, gy, gamma, beta = problem(shape, seed, order=order)
    eps, rng = 0.1, np.random.default_rng(seed)

    def forward(x, gamma, beta):
        return batch_norm(x, gamma, beta, eps)[:1]

    def first(gy, x, gamma):
        _, mean, _, inv_std = batch_norm(x, gamma, gamma, eps)
        return batch_norm_grads(gy, x, gamma, mean, inv_std)

    _, mean, _, inv_std = batch_norm(x, gamma, beta, eps)
    cotangents = [rng.standard_normal(a.shape) for a in (x, gamma, gamma)]
    claims = [
        (forward, (x, gamma, beta), [gy], batch_norm_grads(gy, x, gamma, mean, inv_std)),
        (first, (gy, x, gamma), cotangents, batch_norm_grads_grads(*cotangents, gy, x, gamma, mean, inv_std)),
    ]
    for function, arrays, given_gradients, claimed in claims:
        for which in range(3):  # one input at a time, so that no error hides behind a larger gradient
            d = [rng.standard_normal(a.shape) if i == which else np.zeros(a.shape) for i, a in enumerate(arrays)]
            moved = complex_derivative(function, arrays, d)
            pairs = [g * m for g, m in zip(given_gradients, moved, strict=True)]
            mine = claimed[which] * d[which]
            # The terms cancel through the projection, hence the size of what is projected, not of the result.
            size = (1 + sum(np.abs(g).sum() for g in given_gradients)) * (1 + np.abs(gy).sum()) * (1 + np.abs(x).sum())
            size *= (1 + np.abs(gamma).max()) * (1 + np.abs(d[which]).max()) * (1 + inv_std.max()) ** 3
            assert abs(mine.sum() - sum(p.sum() for p in pairs)) <= 1000 * 2.0**-53 * size


@pytest.mark.numpy_only
@given(shape=shapes, seed=seeds, order=orders)
def test_results_keep_the_memory_order_and_inputs_stay_untouched(shape, seed, order):
    x, gy, gamma, beta = problem(shape, seed, order=order)
    before = [a.copy() for a in (x, gy, gamma, beta)]
    y, mean, _, inv_std = batch_norm(x, gamma, beta, 0.1)
    gx, _, _ = batch_norm_grads(gy, x, gamma, mean, inv_std)
    assert y.strides == gx.strides == np.empty_like(x).strides
    assert all(np.array_equal(a, b) for a, b in zip((x, gy, gamma, beta), before, strict=True))


def test_a_large_mean_costs_no_more_digits_than_the_input_has_lost():
    base = np.random.default_rng(0).integers(-512, 513, (4, 1, 8, 8)) / 64.0
    one, zero = np.ones(1), np.zeros(1)
    # A shift by 2²⁰ is exact for these values, and the mean of 256 of them is exact too.
    y, shifted = batch_norm(base, one, zero, 0.1)[0], batch_norm(base + 2.0**20, one, zero, 0.1)[0]
    assert np.abs(y - shifted).max() <= 1e-14


def test_shapes_and_dtypes_that_do_not_fit_are_named():
    x, g = np.ones((2, 3, 2, 2)), np.ones(3)
    with pytest.raises(ShapeError, match=r"shape \(N, C, H, W\), got \(2, 3\)"):
        batch_norm(x[..., 0, 0], g, g, 1e-5)
    with pytest.raises(ShapeError, match=r"needs \(3,\) values per channel, got \(2,\)"):
        batch_norm(x, g[:2], g, 1e-5)
    with pytest.raises(ShapeError, match=r"more than one value per channel when training, got shape \(1, 3, 1, 1\)"):
        batch_norm(x[:1, :, :1, :1], g, g, 1e-5)
    with pytest.raises(ShapeError, match=r"gradient of shape \(1, 3, 2, 2\) does not fit"):
        batch_norm_grads(x[:1], x, g, g, g)
    with pytest.raises(DtypeError, match="different dtypes"):
        batch_norm(x, g.astype(np.float32), g, 1e-5)
    for kernel in (batch_norm_inference_grads, batch_norm_grads):
        with pytest.raises(ShapeError, match=r"gradient of shape \(1, 3, 2, 2\) does not fit"):
            kernel(x[:1], x, g, g, g)
        with pytest.raises(ShapeError, match=r"needs \(3,\) values per channel, got \(1,\)"):
            kernel(x, x, g, g[:1], g)
        with pytest.raises(DtypeError, match="different dtypes"):
            kernel(x.astype(np.float32), x, g, g, g)
    for ggx, gy in ((x[:1], x), (x, x[:1])):
        with pytest.raises(ShapeError, match=r"gradient of shape \(1, 3, 2, 2\) does not fit"):
            batch_norm_grads_grads(ggx, g, g, gy, x, g, g, g)
    with pytest.raises(ShapeError, match=r"needs \(3,\) values per channel, got \(1,\)"):
        batch_norm_grads_grads(x, g, g[:1], x, x, g, g, g)
    with pytest.raises(DtypeError, match="different dtypes"):
        batch_norm_grads_grads(x, g.astype(np.float32), g, x, x, g, g, g)
    with pytest.raises(ShapeError, match=r"needs \(3,\) values per channel, got \(1,\)"):
        batch_norm_inference(x, g, g, g[:1], g, 1e-5)
    with pytest.raises(DtypeError, match=r"different dtypes|statistics of images in float64 are in float64"):
        batch_norm_inference(x, g, g, g.astype(np.float32), g, 1e-5)


@pytest.mark.parametrize("order", MEMORY_ORDERS)
def test_float32_statistics_are_as_good_in_every_memory_order(order):
    # Sums in float64, so what is left: the mean's own rounding, the rounding of each x − mean, and the casts.
    rng = np.random.default_rng(0)
    x = lay_out((rng.standard_normal((16, 2, 32, 32)) + 3).astype(np.float32), order)
    _, mean, var, _ = batch_norm(x, np.ones(2, np.float32), np.zeros(2, np.float32), 1e-5)
    exact_mean, exact_var = x.astype(np.float64).mean((0, 2, 3)), x.astype(np.float64).var((0, 2, 3))
    u = 2.0**-24
    assert np.all(np.abs(mean - exact_mean) <= 2 * u * np.abs(exact_mean))
    # A relative error of 2u in x − mean, and of u in its square, the quotient and the cast; the error of the
    # mean itself enters squared.
    assert np.all(np.abs(var - exact_var) <= 7 * u * exact_var)


@pytest.mark.numpy_only
@given(shape=shapes, seed=seeds, dtype=ms.dtypes(), order=ms.memory_orders())
def test_inference_is_exact_where_its_numbers_are(frozen, shape, seed, dtype, order):
    # Integers, and a variance of 3.75 that eps makes 4: inv_std is ½, so nothing is rounded anywhere.
    C = shape[1]
    x, gy = (frozen(shape, seed, "integers", dtype, order, stream=i) for i in (0, 1))
    gamma, beta, mean = (frozen((C,), seed, "integers", dtype, stream=i) for i in (2, 3, 4))
    var, inv_std = np.full(C, 3.75, dtype), np.full(C, 0.5, dtype)
    y = batch_norm_inference(x, gamma, beta, mean, var, 0.25)
    gx, ggamma, gbeta = batch_norm_inference_grads(gy, x, gamma, mean, inv_std)
    assert {a.dtype for a in (y, gx, ggamma, gbeta)} == {dtype}
    assert y.strides == gx.strides == np.empty_like(x).strides
    for n, c, h, w in np.ndindex(shape):
        assert y[n, c, h, w] == float(gamma[c]) * (float(x[n, c, h, w]) - float(mean[c])) / 2 + float(beta[c])
        assert gx[n, c, h, w] == float(gamma[c]) * float(gy[n, c, h, w]) / 2
    paired = np.sum(gy * (y - beta.reshape(1, -1, 1, 1)))
    assert paired == np.sum(gx * (x - mean.reshape(1, -1, 1, 1))) == np.sum(ggamma * gamma)
    assert np.array_equal(gbeta, gy.sum((0, 2, 3)))


@pytest.mark.parametrize("order", MEMORY_ORDERS)
def test_numbers_of_channels_may_lie_in_any_memory_order(order):
    x, gy, gamma, beta = problem((2, 3, 2, 2), 0)
    _, mean, var, inv_std = batch_norm(x, gamma, beta, 0.1)
    laid = [lay_out(array, order) for array in (gamma, beta, mean, var, inv_std)]
    pairs = [
        (batch_norm_inference(x, *laid[:4], 0.1), batch_norm_inference(x, gamma, beta, mean, var, 0.1)),
        *zip(batch_norm_grads(gy, x, laid[0], *laid[2::2]), batch_norm_grads(gy, x, gamma, mean, inv_std), strict=True),
    ]
    assert all(np.array_equal(a, b) for a, b in pairs)


@given(shape=shapes, seed=seeds)
def test_inference_by_the_batchs_own_statistics_is_training(shape, seed):
    x, _, gamma, beta = problem(shape, seed)
    y, mean, var, _ = batch_norm(x, gamma, beta, 0.125)
    # The same formula but for gamma · (1 / √v) against gamma / √v: two roundings of the first summand.
    bound = 4 * 2.0**-52 * (np.abs(y) + 2 * np.abs(beta).max())
    assert np.all(np.abs(batch_norm_inference(x, gamma, beta, mean, var, 0.125) - y) <= bound)


@given(shape=shapes, seed=seeds)
def test_the_gradients_of_inference_agree_with_the_complex_step(complex_step, shape, seed):
    x, gy, gamma, beta = problem(shape, seed)
    rng = np.random.default_rng(seed)
    mean, var = rng.standard_normal(shape[1]), rng.uniform(0.5, 2, shape[1])
    claimed = batch_norm_inference_grads(gy, x, gamma, mean, 1 / np.sqrt(var + 0.125))
    for which, gradient in enumerate(claimed):
        d = rng.standard_normal(gradient.shape)
        moved = complex_step(lambda *a: batch_norm_inference(*a, 0.125), (x, gamma, beta, mean, var), which, d)
        # At most 27 · 3 products of quantities with a dozen roundings each, none above this size.
        size = np.abs(gy).sum() * (1 + np.abs(x).max() + np.abs(mean).max()) * 2 * (1 + np.abs(gamma).max())
        assert abs(np.sum(gy * moved) - np.sum(gradient * d)) <= 100 * 2.0**-52 * size * np.abs(d).max()


def test_a_channel_may_have_more_values_than_float16_counts():
    M, one, inv_std = 100_000, np.ones(1, np.float16), np.ones(1, np.float32)
    x = np.tile(np.array([1, 3], np.float16), M // 2).reshape(1, 1, 400, 250)
    y, mean, var, _ = batch_norm(x, one, 0 * one, 0.0)
    assert (mean, var) == (2, 1)
    assert (y == x - 2).all()  # x_hat is −1, 1, −1, 1, …
    gy = np.zeros_like(x)
    gy[0, 0, 0, 0] = 4096
    gx, ggamma, gbeta = batch_norm_grads(gy, x, one, mean, inv_std)
    assert (ggamma, gbeta) == (-4096, 4096)
    # gy − (gbeta + x_hat · ggamma) / M: where x_hat is 1 the shares cancel, and a few roundings of them may stay.
    np.testing.assert_allclose(gx.ravel()[2::2], -2 * 4096 / M, rtol=2.0**-10)
    assert abs(gx.ravel()[1::2]).max() <= 4096 / M * 2.0**-21
