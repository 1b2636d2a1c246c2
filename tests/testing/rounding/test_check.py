"""`check_rounding` accepts results within the bound, finds the others, and says where."""

import inspect
import math
import re

import numpy as np
import pytest

import minires as mr
from minires import functional as F
from minires import kernels, testing
from minires.kernels import reference as reference_kernels
from minires.testing import rounding
from minires.testing import strategies as ms
from minires.testing.rounding import check_rounding


def draw_normal(*shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def softmax(x):
    y = np.exp(x - x.max(1, keepdims=True))
    return y / y.sum(1, keepdims=True)


def off_in_one_element(x):
    y = softmax(x)
    y[1, 2] *= np.float32(1.0001)
    return y


def summed_in_float16(x):
    y = np.exp(x - x.max(1, keepdims=True))
    return y / y.sum(1, keepdims=True, dtype=np.float16)


def test_a_users_own_kernel_is_checked_and_the_report_says_how_sharply():
    report = check_rounding(softmax, softmax, draw_normal(40, 7))
    assert report.elements == 280
    assert report.left_out == 0
    assert 0 < report.used <= 1
    assert report.resolution < 1e-5
    assert re.fullmatch(
        r"float32: 280 elements used 0\.\d+ of their bounds, relative errors above \d\.\de-0\d excluded", str(report)
    )


@pytest.mark.parametrize("wrong", [off_in_one_element, summed_in_float16])
def test_an_error_that_rounding_cannot_explain_is_found(wrong):
    with pytest.raises(testing.RoundingError) as info:
        check_rounding(wrong, softmax, draw_normal(3, 7))
    finding, text = info.value.finding, str(info.value)
    assert abs(finding.value - finding.exact) > finding.bound
    assert f"output 0 is not what rounding makes of the reference's, at index {finding.index}" in text
    for number in (f"{finding.value:.17g}", f"{finding.exact:.17g}", f"{finding.bound:.3g}"):
        assert number in text
    if wrong is off_in_one_element:
        assert finding.index == (1, 2)
        assert "1 of 21 elements" in text


def test_a_batch_norm_with_another_eps_is_found():
    x, gamma = draw_normal(4, 3, 5, 5), draw_normal(3, seed=1)
    reference = reference_kernels.batch_norm
    check_rounding(reference, reference, x, gamma, gamma, 1e-5)
    with pytest.raises(testing.RoundingError, match=r"output [03]"):
        check_rounding(lambda x, g, b, eps: reference(x, g, b, 1e-3), reference, x, gamma, gamma, 1e-5)


def test_a_kernel_in_float64_is_checked_too():
    x = draw_normal(3, 7, dtype=np.float64)
    assert check_rounding(softmax, softmax, x, dtype=np.float64).resolution < 1e-14
    with pytest.raises(testing.RoundingError):
        check_rounding(lambda x: softmax(x.astype(np.float32)).astype(float), softmax, x, dtype=np.float64)


def variance(x):
    centred = x - x.mean(1, keepdims=True)
    return (centred * centred).mean(1)


def variance_by_moments(x):
    return (x * x).mean(1) - x.mean(1) ** 2


def test_another_algorithm_needs_its_own_bound_and_keeps_the_references_values():
    x = draw_normal(20, 50) + np.float32(1000)
    with pytest.raises(testing.RoundingError):
        check_rounding(variance_by_moments, variance, x)
    check_rounding(variance_by_moments, variance, x, algorithm=variance_by_moments)
    with pytest.raises(testing.RoundingError):  # the algorithm widens the bound, but is not the judge
        check_rounding(lambda x: x.mean(1), variance, x, algorithm=variance_by_moments)


def test_arguments_keep_their_memory_order_and_are_not_changed():
    x, seen = ms.array((3, 4), 0, dtype="float32", order="sliced"), []

    def kernel(x, scale, labels, pair):
        seen.append((x.strides, scale, labels.dtype, type(pair)))
        x *= 2
        pair[0][...] = 0
        return x

    before = x.copy()
    pair = [draw_normal(2), "text"]
    check_rounding(kernel, lambda x, scale, labels, pair: x * 2, x, 0.5, np.arange(3), pair)
    assert seen == [(x.strides, 0.5, np.dtype(np.int64), list)]
    assert np.array_equal(x, before)
    assert pair[0].all()


@pytest.mark.parametrize(
    ("kernel", "reference", "says"),
    [
        (lambda x: x[:1], lambda x: x, r"shape \(1, 4\).*\(3, 4\)"),
        (lambda x: x > 0, lambda x: x * 1, "bool"),
        (lambda x: x.astype(np.float64), lambda x: x * 1, "float64 .* should be float32"),
        (lambda x: (x, None), lambda x: (x, x), "the kernel returns .*None"),
        (lambda x: (x, x), lambda x: x, "the kernel returns"),
        (lambda x: x * 0.3, lambda x: np.asarray(x * 0.3), "output 0 of the reference has no bound"),
        (lambda x: x, lambda x: x / (x - x), "nothing was compared"),
        (lambda x: np.argmin(x, 1), lambda x: np.argmax(x, 1), "output 0 is not what rounding makes"),
    ],
)
def test_what_cannot_be_compared_or_is_something_else_is_an_error(kernel, reference, says):
    with pytest.raises(testing.RoundingError, match=says):
        check_rounding(kernel, reference, draw_normal(3, 4))


def test_none_and_several_outputs_are_compared_one_by_one():
    report = check_rounding(lambda x: (x * 0.1, None, x > 0), lambda x: (x * 0.1, None, x > 0), draw_normal(3, 4))
    assert [output.output for output in report.outputs] == [0, 2]
    assert [output.resolution > 0 for output in report.outputs] == [True, False]


def test_nan_is_nan_and_an_infinity_itself():
    x = np.float32([np.nan, np.inf, -np.inf, 1.0])
    check_rounding(lambda x: np.maximum(x, 0), lambda x: np.maximum(x, 0), x)
    with pytest.raises(testing.RoundingError, match="index"):
        check_rounding(lambda x: np.nan_to_num(x, nan=0, posinf=np.inf, neginf=-np.inf), lambda x: x, x)


def test_an_operation_of_several_kernels_is_checked_through_the_engine():
    """A residual block, its loss and all gradients by fast float32 kernels are within the reference's bounds."""

    def gradients(x, w, gamma, beta, labels):
        leaves = [mr.tensor(a, requires_grad=True) for a in (x, w, gamma, beta)]
        x, w, gamma, beta = leaves
        y = F.batch_norm(F.conv2d(x, w, padding=1), None, None, gamma, beta, training=True)
        y = F.adaptive_avg_pool2d(F.relu(y + x), 1).flatten(1)
        loss = F.cross_entropy(y, mr.tensor(labels))
        loss.backward()
        return loss.array, *(leaf.grad.array for leaf in leaves)

    def reference(*arrays):
        with kernels.using("reference"):
            return gradients(*arrays)

    arrays = draw_normal(2, 3, 6, 6), draw_normal(3, 3, 3, 3, seed=1), draw_normal(3, seed=2), draw_normal(3, seed=3)
    report = check_rounding(gradients, reference, *arrays, np.arange(2))
    assert report.left_out == 0
    assert report.resolution < 0.1  # the worst case of some forty operations in a row
    with pytest.raises(testing.RoundingError):
        check_rounding(lambda *a: gradients(a[0] * np.float32(1.1), *a[1:]), reference, *arrays, np.arange(2))


def test_the_public_names_are_the_packages():
    assert testing.check_rounding is rounding.check_rounding
    assert testing.RoundingError is rounding.RoundingError
    assert issubclass(testing.RoundingError, AssertionError)
    assert issubclass(testing.RoundingError, mr.errors.MiniresError)
    assert list(inspect.signature(check_rounding).parameters)[:2] == ["kernel", "reference"]
    assert math.isfinite(check_rounding(np.negative, np.negative, draw_normal(2)).used)
