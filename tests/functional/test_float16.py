"""Tensors in float16: computations keep what float16 holds, and refuse numbers that it does not hold."""

import numpy as np
import pytest

import minires as mr
from minires import functional as F
from minires import nn, optim
from minires.errors import DtypeError


def float16(values, **options):
    return mr.tensor(np.array(values, np.float16), **options)


def test_a_mean_of_many_and_its_gradient_are_not_lost():
    p = nn.Parameter(float16(np.ones((300, 300))))
    optimizer, scaler = optim.SGD([p], lr=1.0), optim.LossScaler(1024.0)
    loss = ((p - 0.5) ** 2).mean()
    assert loss.item() == 0.25
    scaler.scale(loss).backward()
    assert scaler.step(optimizer)
    # 2 · 0.5 / 90000, rounded as 1024 times that
    np.testing.assert_allclose(p.grad.numpy(), 1 / 90000, rtol=2.0**-11)
    assert float16(np.ones(70000)).mean().item() == 1
    assert (float16(np.full((2, 3, 56, 56), 30)).mean((2, 3)).numpy() == 30).all()


def test_the_gradient_of_a_variance_is_not_lost():
    x = float16([300, -300, 100, -100] * 1000, requires_grad=True)
    y = x.var(correction=0)
    assert y.item() == np.float16(50000)
    y.backward()
    np.testing.assert_allclose(x.grad.numpy(), x.numpy() * np.float16(2 / 4000), rtol=2.0**-10)


def test_a_number_that_float16_does_not_hold_is_used_in_float32():
    x = float16([0.5, 3.0, 60000.0])
    with np.errstate(over="ignore"):
        for compute in (
            lambda x: x * 70000,
            lambda x: x / 70000,
            lambda x: x / 1e-8,
            lambda x: x * 1e-7,
            lambda x: 1e-8 + x,
            lambda x: 1e5 - x,
            lambda x: x - 0.1,
            lambda x: x**1.7,
            lambda x: mr.maximum(x, 0.1),
            lambda x: mr.where(x < 1, x, 1e9),
        ):
            y = compute(x)
            assert y.dtype == np.float16
            np.testing.assert_array_equal(y.numpy(), compute(x.to("float32")).numpy().astype(np.float16))
    y = float16([0.5], requires_grad=True)
    with np.errstate(over="ignore"):
        (y * 70000).backward()
    assert y.grad.numpy() == np.inf  # the gradient is in float16 too
    compared = float16([0.0]) >= 1e-9, float16([0.5]) < 1e9, float16([0.1]) == 0.1
    assert [t.item() for t in compared] == [False, True, False]


def test_a_number_that_is_infinite_in_the_tensors_dtype_is_an_error():
    x = float16([0.5])
    for t, value in ((x, 1e39), (x.to("float32"), -1e39), (x.to("float32"), 10**39)):
        with pytest.raises(DtypeError, match=r"is infinite in float32; convert the tensor with \.to"):
            t * value
    assert (x * float("inf")).item() == np.inf
    assert (x.to("float32") * 1e-50).item() == 0
    assert (x.to("float64") * 1e39).item() == 5e38


def test_running_statistics_stay_in_float32_and_follow():
    rng = np.random.default_rng(0)
    x = (100 + rng.standard_normal((8, 1, 16, 16))).astype(np.float16)
    norm = nn.BatchNorm2d(1).to("float16")
    assert [t.dtype for t in (norm.weight, norm.running_mean, norm.running_var)] == ["float16", "float32", "float32"]
    for _ in range(200):
        norm(float16(x))
    # 0.9^200 of what was there before, 0, and rounding of float32
    np.testing.assert_allclose(norm.running_mean.numpy(), x.mean(dtype=float), rtol=1e-6)
    norm.eval()
    assert abs(norm(float16(x)).numpy().mean(dtype=float)) < 2.0**-11
    assert norm.to("float64").running_mean.dtype == np.float64
    assert norm.to("float16").running_mean.dtype == np.float32
    assert norm.to("cpu").weight.dtype == np.float16


def test_running_statistics_of_another_dtype_are_refused():
    x, wrong = float16(np.ones((2, 1, 2, 2))), float16([0.0])
    with pytest.raises(DtypeError, match="running_mean is in float16, but an input in float16 needs float32"):
        F.batch_norm(x, wrong, wrong, training=True)


@pytest.mark.parametrize("training", [True, False])
def test_gradients_of_gradients_of_a_batch_norm_are_float64s_within_rounding(training):
    found = {}
    for dtype in (np.float16, np.float64):
        rng = np.random.default_rng(0)
        x = mr.tensor(rng.standard_normal((4, 2, 3, 3)).astype(np.float16).astype(dtype), requires_grad=True)
        norm = nn.BatchNorm2d(2).to(dtype).train(training)
        y = (norm(x) ** 3).sum()
        for _ in range(3):
            (g,) = mr.grad(y, x, create_graph=True)
            y = (g * g).mean()
        found[dtype] = g.numpy()
    assert found[np.float16].dtype == np.float16
    # Three derivatives of a cube: some dozens of roundings of 2⁻¹¹, beside the largest of the tensor.
    largest = np.abs(found[np.float64]).max()
    assert np.abs(found[np.float16] - found[np.float64]).max() <= 50 * 2.0**-11 * largest


def test_the_gradient_of_one_element_taken_many_times_is_counted_right():
    for index in (np.zeros(20000, np.int64), [0] * 20000, (mr.tensor(np.zeros((200, 100), np.int64)),)):
        w = float16([1.0], requires_grad=True)
        w[index].sum().backward()
        assert w.grad.numpy().tolist() == [20000]


def test_the_gradients_of_softmax_and_its_logarithm_over_many_classes_are_not_lost():
    rng = np.random.default_rng(0)
    values, given = rng.standard_normal((2, 100_000)).astype(np.float16), rng.random((2, 100_000)).astype(np.float16)
    for function in (F.softmax, F.log_softmax):
        found = {}
        for dtype in ("float16", "float64"):
            x = mr.tensor(values.astype(dtype), requires_grad=True)
            function(x, 1).backward(mr.tensor(given.astype(dtype)))
            found[dtype] = x.grad.numpy()
        # softmax: y up to 2⁻¹¹ is rounded by 2⁻²³, half of which reaches the gradient, which is rounded by 2⁻²⁴.
        # log_softmax: y lies between −17 and −7. Rounding it changes exp(y) by 2⁻⁷ of itself, and exp(y) · Σ gy is at
        # most the largest gradient plus 1.
        largest = np.abs(found["float64"]).max()
        bound = 2.0**-23 if function is F.softmax else (largest + 1) * (2.0**-7 + 2.0**-11)
        assert np.abs(found["float16"] - found["float64"]).max() <= bound


def test_a_loss_over_many_equal_rows_and_a_mean_near_the_largest_number_are_finite():
    assert float16(np.full(100_000, 60000)).mean().item() == 60000
    x = float16(np.full((1, 1, 64, 64), 60000))
    assert F.avg_pool2d(x, 64).item() == F.adaptive_avg_pool2d(x, 1).item() == 60000
    loss = F.cross_entropy(float16(np.zeros((100_000, 2))), mr.tensor(np.zeros(100_000, np.int64)))
    assert loss.item() == np.float16(np.log(2))
