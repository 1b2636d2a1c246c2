import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minires.errors import DataError, DtypeError, ShapeError
from minires.kernels.reference.softmax import cross_entropy, cross_entropy_grad, log_softmax, softmax
from minires.testing import strategies as ms

IGNORED = -100
REDUCTIONS = ("mean", "sum", "none")
rows, classes = st.integers(1, 5), st.integers(1, 6)
smoothings = st.sampled_from([0.0, 0.125, 1.0])


def scalar_log_softmax(values):
    m = max(values)
    return [v - m - math.log(math.fsum(math.exp(w - m) for w in values)) for v in values]


@pytest.mark.numpy_only
@given(shape=ms.shapes(min_dims=1), seed=ms.seeds(), dtype=ms.dtypes(), order=ms.memory_orders(), data=st.data())
def test_softmax_and_its_logarithm_agree_with_scalar_mathematics(frozen, shape, seed, dtype, order, data):
    x, dim = frozen(shape, seed, dtype=dtype, order=order), data.draw(st.integers(-len(shape), len(shape) - 1))
    y, log_y = softmax(x, dim), log_softmax(x, dim)
    for result in (y, log_y):
        assert (result.dtype, result.strides) == (dtype, np.empty_like(x).strides)
    lines = (np.moveaxis(a, dim, -1).reshape(-1, shape[dim]) for a in (x, y, log_y))
    for values, probabilities, logarithms in zip(*lines, strict=True):
        # x − m is off by u·|x − m|, which is the relative error of exp; the sum, log and quotient add a few u
        # each, the sum's rounding once per term in the oracle's place none.
        bound = np.finfo(dtype).eps * (2 * np.ptp(values) + 10)
        expected = scalar_log_softmax([float(v) for v in values])
        assert np.abs(logarithms - expected).max() <= bound * (1 + np.abs(expected).max())
        assert np.abs(probabilities / np.exp(expected) - 1).max() <= bound * (1 + np.abs(expected).max())
        assert abs(probabilities.sum(dtype=np.float64) - 1) <= np.finfo(dtype).eps * (len(values) + 2)


@given(shape=ms.shapes(min_dims=1), seed=ms.seeds(), dtype=ms.dtypes(), shift=st.integers(-1000, 1000))
def test_a_constant_added_to_every_class_changes_nothing(frozen, shape, seed, dtype, shift):
    x = frozen(shape, seed, "integers", dtype)
    assert np.array_equal(softmax(x + dtype.type(shift), 0), softmax(x, 0))
    assert np.array_equal(log_softmax(x + dtype.type(shift), -1), log_softmax(x, -1))


def test_large_inputs_neither_overflow_nor_lose_the_answer():
    x = np.array([[1e4, 1e4, -1e4], [-1e308, 0, -np.inf]])
    assert softmax(x, 1).tolist() == [[0.5, 0.5, 0], [0, 1, 0]]
    assert log_softmax(x, 1)[0].tolist() == [-math.log(2), -math.log(2), -2e4 - math.log(2)]


@given(
    N=rows, K=classes, seed=ms.seeds(), dtype=ms.dtypes(), order=ms.memory_orders(), smoothing=smoothings,
    reduction=st.sampled_from(REDUCTIONS), ignored=st.sampled_from([IGNORED, 0]), data=st.data(),
)  # fmt: skip
def test_cross_entropy_agrees_with_a_loop(frozen, N, K, seed, dtype, order, smoothing, reduction, ignored, data):
    logits, labels = frozen((N, K), seed, dtype=dtype, order=order), data.draw(ms.labels(N, K, ignored))
    labels.setflags(write=False)
    loss = cross_entropy(logits, labels, smoothing, ignored, reduction)
    assert isinstance(loss, np.ndarray)
    assert (loss.dtype, loss.shape) == (dtype, (N,) if reduction == "none" else ())
    losses, counted = [], 0
    for row, label in zip(logits, labels, strict=True):
        log_p = scalar_log_softmax([float(v) for v in row])
        one = -(1 - smoothing) * log_p[label] - smoothing * math.fsum(log_p) / K if label != ignored else 0.0
        counted += label != ignored
        losses.append(one)
    expected = {"none": losses, "sum": sum(losses), "mean": sum(losses) / counted if counted else math.nan}
    # log p as in the test above; then at most K + N additions and a handful of products.
    size = sum(2 + max(map(abs, scalar_log_softmax([float(v) for v in row]))) for row in logits)
    bound = np.finfo(dtype).eps * (2 * np.ptp(logits) + 10 + 2 * K + N) * size
    np.testing.assert_allclose(loss, expected[reduction], rtol=0, atol=bound)


@given(
    N=rows, K=classes, seed=ms.seeds(), smoothing=smoothings, reduction=st.sampled_from(REDUCTIONS), data=st.data()
)  # fmt: skip
def test_the_gradient_of_cross_entropy_agrees_with_the_complex_step(
    frozen, complex_step, N, K, seed, smoothing, reduction, data
):
    logits, labels = frozen((N, K), seed), data.draw(ms.labels(N, K, IGNORED))
    labels[0] = seed % K  # one row at least counts, or the mean has no derivative
    gy, d = frozen((N,) if reduction == "none" else (), seed, stream=1), frozen((N, K), seed, stream=2)
    options = labels, smoothing, IGNORED, reduction
    glogits = cross_entropy_grad(gy, logits, *options)
    moved = complex_step(lambda x: cross_entropy(x, *options), [logits], 0, d)
    # Both sides are sums of N·K terms p·d·gy; p is off by |x − m| + K + 10 roundings at most.
    bound = 2.0**-52 * (2 * np.ptp(logits) + 2 * K + N + 20) * 4 * np.abs(d).sum() * (np.abs(gy).max() + 1)
    assert abs(np.sum(gy * moved) - np.sum(glogits * d)) <= bound


@pytest.mark.numpy_only
@given(
    N=rows, K=classes, seed=ms.seeds(), dtype=ms.dtypes(), order=ms.memory_orders(), smoothing=smoothings,
    reduction=st.sampled_from(REDUCTIONS), data=st.data(),
)  # fmt: skip
def test_each_row_of_the_gradient_adds_up_to_zero_and_ignored_rows_are_zero(
    frozen, N, K, seed, dtype, order, smoothing, reduction, data
):
    logits, labels = frozen((N, K), seed, dtype=dtype, order=order), data.draw(ms.labels(N, K, IGNORED))
    gy = frozen((N,) if reduction == "none" else (), seed, dtype=dtype, stream=1)
    glogits = cross_entropy_grad(gy, logits, labels, smoothing, IGNORED, reduction)
    assert (glogits.dtype, glogits.strides) == (dtype, np.empty_like(logits).strides)
    # p adds up to 1, and so does the target, within a few roundings per class; gy scales both.
    assert np.abs(glogits.sum(1)).max() <= np.finfo(dtype).eps * (4 * K + 4) * np.abs(gy).max()
    assert not glogits[labels == IGNORED].any()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_equal_logits_cost_log_k_whatever_the_label(smoothing):
    losses = cross_entropy(np.full((4, 4), 7.0), np.arange(4), smoothing, IGNORED, "none")
    # log 4 is rounded once; (1 − s) · a + s · a rounds three times more.
    assert np.abs(losses - math.log(4)).max() <= 4 * 2.0**-52 * math.log(4)


def test_a_mean_over_no_rows_is_nan_and_its_gradient_zero():
    logits, labels = np.zeros((2, 3)), np.full(2, IGNORED)
    assert np.isnan(cross_entropy(logits, labels, 0.0, IGNORED, "mean"))
    assert np.isnan(cross_entropy(logits[:0], labels[:0], 0.0, IGNORED, "mean"))
    assert not cross_entropy_grad(np.ones(()), logits, labels, 0.0, IGNORED, "mean").any()


def test_a_class_that_is_ruled_out_costs_nothing_and_an_ignored_row_may_hold_anything():
    logits = np.array([[0.0, -np.inf, 0.0], [np.nan, 1.0, 2.0]])
    labels = np.array([0, IGNORED])
    assert cross_entropy(logits, labels, 0.0, IGNORED, "mean") == math.log(2)
    gradient = cross_entropy_grad(np.ones(()), logits, labels, 0.0, IGNORED, "mean")
    assert gradient.tolist() == [[-0.5, 0.0, 0.5], [0.0, 0.0, 0.0]]


@pytest.mark.numpy_only
@pytest.mark.parametrize("kernel", [cross_entropy, cross_entropy_grad])
@pytest.mark.parametrize(
    ("changed", "error", "text"),
    [
        ({"labels": np.array([0, 3])}, DataError, "label 3 at row 1 is not one of the 3 classes 0 … 2"),
        ({"labels": np.array([-1, 0])}, DataError, "label -1 at row 0 is not one of the 3 classes 0 … 2"),
        ({"labels": np.array([0.0, 1.0])}, DtypeError, "labels must be int64, not float64"),
        ({"labels": np.array([0, 1], np.int32)}, DtypeError, "labels must be int64, not int32"),
        ({"labels": np.array([0])}, ShapeError, "logits (N, K) and labels (N,), got (2, 3) and (1,)"),
        ({"logits": np.zeros((2, 0))}, DataError, "label 0 at row 0 is not one of the 0 classes"),
        ({"logits": np.zeros((2, 3), np.int64)}, DtypeError, "needs a float array, got int64"),
    ],
)
def test_what_does_not_fit_is_named(kernel, changed, error, text):
    options = {"label_smoothing": 0.0, "ignore_index": IGNORED, "reduction": "none"}
    options |= {"logits": np.zeros((2, 3)), "labels": np.array([0, 1])} | changed
    gy = [] if kernel is cross_entropy else [np.zeros(2, options["logits"].dtype)]
    with pytest.raises(error) as caught:
        kernel(*gy, **options)
    assert text in str(caught.value)


def test_integers_have_no_softmax():
    for function in (softmax, log_softmax):
        with pytest.raises(DtypeError, match="needs a float array, got int64"):
            function(np.arange(6).reshape(2, 3), 1)


def test_axes_and_gradients_that_do_not_fit_are_named():
    with pytest.raises(ShapeError, match=r"softmax along axis 2 .* got \(2, 3\)"):
        softmax(np.ones((2, 3)), 2)
    with pytest.raises(ShapeError, match=r"log_softmax along axis 1 .* got \(2, 0\)"):
        log_softmax(np.ones((2, 0)), 1)
    with pytest.raises(ShapeError, match=r"gradient of the loss has shape \(2,\), but the loss has \(\)"):
        cross_entropy_grad(np.ones(2), np.ones((2, 3)), np.array([0, 1]), 0.0, IGNORED, "mean")
    with pytest.raises(DtypeError, match="different dtypes: float32, float64"):
        cross_entropy_grad(np.ones(2, np.float32), np.ones((2, 3)), np.array([0, 1]), 0.0, IGNORED, "none")
