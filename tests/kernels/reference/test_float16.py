"""Kernels in float16 round once: nothing on the way to a result is lost that the result could hold."""

import numpy as np
import pytest

from minires.geometry import Geometry
from minires.kernels.reference import (
    adaptive_avg_pool2d,
    adaptive_avg_pool2d_grad,
    avg_pool2d,
    avg_pool2d_grad,
    batch_norm,
    batch_norm_grads,
    batch_norm_inference,
    batch_norm_inference_grads,
    blend_,
    conv2d,
    conv2d_act,
    conv2d_input_grad,
    conv2d_weight_grad,
    cross_entropy,
    cross_entropy_grad,
    dropout,
    linear,
    linear_grads,
    log_softmax,
    matmul,
    max_pool2d_grad,
    max_pool2d_winners,
    mean,
    softmax,
    sum_to,
    var,
)

POINTWISE = Geometry((1, 1))
LABELS = np.zeros(2, np.int64)


def half(values, *shape):
    return np.array(values, np.float16).reshape(shape or np.shape(values))


def filled(value, *shape):
    return np.full(shape, value, np.float16)


# Sums of these are 4224, which is a float16. Added up in float16 the ones stop at 2048, whose neighbour is 2050.

SIZE = (64, 128)
NUMBERS = half(np.where(np.arange(8192) < 4096, 1, 2.0**-5))
TOTAL = 4096 + 4096 / 32
AROUND = Geometry(SIZE, padding=(63, 127))  # as many windows as taps: each meets the only pixel of a 1×1 image


def numbers(*shape):
    return NUMBERS.reshape(shape)


def ones(*shape):
    return filled(1, *shape)


def neutral():
    """Return a gamma, mean and inv_std that change nothing."""
    return ones(1), np.zeros(1, np.float32), np.ones(1, np.float32)


def norm_grads():
    return batch_norm_grads(numbers(8192, 1, 1, 1), ones(8192, 1, 1, 1), *neutral())


SUMS = {
    "conv2d": lambda: conv2d(numbers(1, 8192, 1, 1), ones(1, 8192, 1, 1), POINTWISE),
    "conv2d_input_grad": lambda: conv2d_input_grad(numbers(1, 1, *SIZE), ones(1, 1, *SIZE), AROUND, (1, 1)),
    "conv2d_weight_grad": lambda: conv2d_weight_grad(numbers(1, 1, *SIZE), ones(1, 1, *SIZE), POINTWISE),
    "linear": lambda: linear(numbers(1, 8192), ones(2, 8192)),
    "linear_grads by x": lambda: linear_grads(numbers(1, 8192), ones(1, 2), ones(8192, 2))[0],
    "linear_grads by weight": lambda: linear_grads(numbers(8192, 1), ones(8192, 2), ones(1, 2))[1],
    "matmul": lambda: matmul(NUMBERS, ones(8192, 2)),
    "max_pool2d_grad": lambda: max_pool2d_grad(
        numbers(1, 1, *SIZE), max_pool2d_winners(ones(1, 1, 1, 1), AROUND)[1], AROUND, (1, 1)
    ),
    "avg_pool2d": lambda: 8192 * avg_pool2d(numbers(1, 1, *SIZE), Geometry(SIZE)).astype("f"),
    "avg_pool2d_grad": lambda: 8192 * avg_pool2d_grad(numbers(1, 1, *SIZE), AROUND, (1, 1)).astype("f"),
    "adaptive_avg_pool2d": lambda: 8192 * adaptive_avg_pool2d(numbers(1, 1, *SIZE), (1, 1)).astype("f"),
    "adaptive_avg_pool2d_grad": lambda: adaptive_avg_pool2d_grad(numbers(1, 1, *SIZE), (1, 1)),
    "sum_to": lambda: sum_to(NUMBERS, ()),
    "mean": lambda: 8192 * mean(NUMBERS).astype("f"),
    "mean of a batch norm": lambda: 8192 * batch_norm(numbers(8192, 1, 1, 1), ones(1), ones(1), 1e-5)[1],
    "gbeta of a batch norm": lambda: norm_grads()[2],
    "ggamma of a batch norm": lambda: norm_grads()[1],
}


@pytest.mark.parametrize("name", SUMS)
def test_sums_are_not_made_in_float16(name):
    assert np.add.accumulate(NUMBERS)[-1] == 2048
    assert (SUMS[name]() == TOTAL).all()


# Results that float16 holds, by numbers above 65504 or below 6e-8, which it does not. Expected values are exact.

A, B = half([300, 300, 300]), half([300, -300, 1])  # products of which the first two are infinite
SPREAD = half([300, -300, 300, -300], 1, 1, 2, 2)
TINY = half([0, 0, 0, 0], 1, 1, 2, 2)


def blended():
    a = half([-60000])
    blend_(a, half([60000]), 0.5, 1.2)
    return a


RESULTS = {
    "conv2d, its sum": (lambda: conv2d(half([6e4, 6e4, -6e4], 1, 3, 1, 1), filled(1, 2, 3, 1, 1), POINTWISE), 60000),
    "conv2d, one number": (lambda: conv2d(A.reshape(1, 3, 1, 1), B.reshape(1, 3, 1, 1), POINTWISE), 300),
    "conv2d_weight_grad, one number": (
        lambda: conv2d_weight_grad(A.reshape(3, 1, 1, 1), B.reshape(3, 1, 1, 1), POINTWISE),
        300,
    ),
    "conv2d_input_grad": (
        lambda: conv2d_input_grad(filled(2, 1, 1, 1, 2), half([6e4, -6e4], 1, 1, 1, 2), Geometry((1, 2)), (1, 3)),
        [[[[np.inf, 0, -np.inf]]]],
    ),
    "conv2d_act": (
        lambda: conv2d_act(
            half([6e4, 6e4], 1, 2, 1, 1), filled(1, 1, 2, 1, 1), half([0.125]), half([-10000]), None, True, POINTWISE
        ),
        5000,
    ),
    "linear": (lambda: linear(A[None], B[None]), 300),
    "matmul of vectors": (lambda: matmul(A, B), 300),
    "matmul of tiny numbers": (lambda: matmul(filled(2.0**-14, 64), filled(2.0**-14, 64)), 2.0**-22),
    "avg_pool2d": (lambda: avg_pool2d(filled(100, 1, 1, 40, 40), Geometry((40, 40))), 100),
    "adaptive_avg_pool2d": (lambda: adaptive_avg_pool2d(filled(30, 1, 1, 56, 56), (1, 1)), 30),
    "batch_norm": (lambda: batch_norm(SPREAD, ones(1), filled(0, 1), 0.0)[0], SPREAD / 300),
    "the variance of a batch norm": (lambda: batch_norm(SPREAD, ones(1), ones(1), 0.0)[2], 90000),
    "batch_norm, a tiny eps": (lambda: batch_norm(TINY, ones(1), ones(1), 1e-10)[0], 1),
    "batch_norm_inference, a tiny eps": (
        lambda: batch_norm_inference(TINY, ones(1), ones(1), np.zeros(1, "f"), np.zeros(1, "f"), 1e-10),
        1,
    ),
    "batch_norm_grads": (lambda: batch_norm_grads(filled(8, 1, 1, 128, 128), ones(1, 1, 128, 128), *neutral())[0], -8),
    "batch_norm_inference_grads": (
        lambda: batch_norm_inference_grads(filled(2.0**-10, 1, 1, 1, 1), TINY[..., :1, :1], filled(256, 1), *by(512))[
            0
        ],
        128,
    ),
    "softmax": (lambda: softmax(filled(0, 1, 70000), 1), np.float16(1 / 70000)),
    "log_softmax": (lambda: log_softmax(filled(0, 1, 70000), 1), np.float16(-np.log(70000))),
    "cross_entropy": (
        lambda: cross_entropy(half([[-3e4, 3e4, 0], [-3e4, 3e4, 0]]), LABELS, 0.0, -1, "mean"),
        60000,
    ),
    "cross_entropy_grad": (
        lambda: cross_entropy_grad(half(1.0), filled(0, 70000, 2), np.zeros(70000, np.int64), 0.0, -1, "mean")[:, 1],
        np.float16(0.5 / 70000),
    ),
    "mean": (lambda: mean(ones(70000)), 1),
    "var": (lambda: var(half([300, -300, 100, -100]), None, False, 0), 50000),
    "dropout": (lambda: dropout(half([1, 1]), np.zeros(2, bool), 1 - 2.0**-26), 0),
    "blend_": (blended, 42000),
}


def by(inv_std):
    """Return a mean of 0 and an inv_std."""
    return np.zeros(1, np.float32), np.full(1, inv_std, np.float32)


@pytest.mark.parametrize("name", RESULTS)
def test_what_a_result_is_made_of_may_be_too_large_or_too_small_for_float16(name):
    compute, expected = RESULTS[name]
    with np.errstate(over="ignore"):
        result = compute()
    assert result.dtype in (np.float16, np.float32)
    np.testing.assert_array_equal(result, np.broadcast_to(np.asarray(expected, result.dtype), result.shape))


def test_statistics_are_in_float32_and_all_else_in_float16():
    x, gamma = half([1, 3, 5, 7], 1, 1, 2, 2), ones(1)
    y, *statistics = batch_norm(x, gamma, gamma, 1e-5)
    assert y.dtype == np.float16
    assert {s.dtype for s in statistics} == {np.dtype(np.float32)}
    found = batch_norm_grads(x, x, gamma, statistics[0], statistics[2])
    assert {g.dtype for g in found} == {np.dtype(np.float16)}
