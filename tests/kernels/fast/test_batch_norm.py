import contextlib
import importlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minires.kernels import reference
from minires.kernels.fast import channels
from minires.testing import strategies as ms
from minires.threads import parallel_steps

fast = importlib.import_module("minires.kernels.fast.batch_norm")  # the package has a function of that name
EPS = 1e-5
shapes = st.tuples(st.integers(2, 5), st.integers(1, 6), st.integers(1, 9), st.integers(1, 9))
# How far the mean is from zero, in deviations: without a centre, at its threshold, far beyond.
offsets = st.sampled_from([0.0, 3.0, 9.9, 10.1, 1e3, 1e5])
# Numbers in a block and in a row, small enough that the drawn images have several, of different lengths.
cuts = st.sampled_from([(1 << 18, 4096), (64, 1), (64, 4096), (1, 1)])


class Drawn:
    """Read-only operands of batch_norm_act and its gradients."""

    def __init__(self, shape, seed, dtype, order, offset, with_shortcut):
        x, shortcut, self.gy = (ms.array(shape, seed, dtype=dtype, order=order, stream=i) for i in range(3))
        x += dtype.type(offset)
        self.x, self.shortcut = x, shortcut if with_shortcut else None
        self.gamma, self.beta = (ms.array(shape[1:2], seed, dtype=dtype, stream=i) for i in (3, 4))
        for a in (self.x, shortcut, self.gy, self.gamma, self.beta):
            a.setflags(write=False)
        self.M = x.size // shape[1]

    def doubled(self, *arrays):
        return [None if a is None else a.astype(np.float64) for a in arrays]


@st.composite
def drawn(draw):
    return Drawn(
        draw(shapes), draw(ms.seeds()), draw(ms.dtypes()), draw(ms.memory_orders()), draw(offsets), draw(st.booleans())
    )


@contextlib.contextmanager
def cut(block, row):
    """Divide images into blocks of ``block`` elements, in rows of at least ``row``, inside the ``with`` block."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(channels, "_BLOCK", block)
        patch.setattr(channels, "_ROW", row)
        yield


def wide(per_channel):
    return np.asarray(per_channel, np.float64).reshape(1, -1, 1, 1)


def reach(x, mean, std, u):
    """The largest |x − centre| + |mean − centre| that can enter a sum: with centre 0 the mean is at most ten
    deviations away (the threshold is on a computed variance: 11), otherwise the centre is the mean, rounded."""
    return np.abs(x - wide(mean)) + 2 * wide(11 * std + u * np.abs(mean))


@given(case=drawn(), relu=st.booleans(), sizes=cuts)
def test_the_forward_pass_is_within_rounding_of_the_reference(
    on_any_threads, in_kernel_order, gamma_n, case, relu, sizes
):
    operands = case.x, case.gamma, case.beta, case.shortcut
    with cut(*sizes):
        results = on_any_threads(fast.batch_norm_act, *operands, relu, EPS)
    x, gamma, beta, shortcut = case.doubled(*operands)
    y, mean, var, inv_std = reference.batch_norm_act(x, gamma, beta, shortcut, relu, EPS)
    assert [a.dtype for a in results] == [case.x.dtype] * 4
    assert in_kernel_order(results[0])

    u, g = gamma_n(1, case.x.dtype), gamma_n(case.M + 20, case.x.dtype)
    far = reach(x, mean, np.sqrt(var), u)
    # The reference's mean, in float64, errs by this much, and takes the variance around what it found.
    oracle = gamma_n(case.M + 20, np.float64) * np.abs(x).mean((0, 2, 3))
    # A mean of M numbers; a mean of M squares less a square. In float64 the reference errs as much: twice.
    mean_error = 2 * g * far.mean((0, 2, 3)) + 2 * u * np.abs(mean) + oracle
    var_error = 2 * 3 * g * (far**2).mean((0, 2, 3)) + oracle**2
    assert np.all(np.abs(results[1] - mean) <= mean_error)
    assert np.all(np.abs(results[2] - var) <= var_error)
    # 1/√ halves a small relative error, and less than doubles one below 1/2.
    relative = var_error / (var + EPS) + 4 * u
    assert np.all(relative < 0.5)
    assert np.all(np.abs(results[3] - inv_std) <= relative * inv_std)
    scale = np.abs(gamma) * inv_std
    bound = wide(scale) * (far * (wide(relative) + 12 * u) + wide(2 * g * far.mean((0, 2, 3)) + oracle))
    bound += 6 * u * (wide(np.abs(beta)) + (0 if shortcut is None else np.abs(shortcut)))
    assert np.all(np.abs(results[0] - y) <= bound)


@given(case=drawn(), relu=st.booleans(), wants_shortcut=st.booleans(), sizes=cuts)
def test_overwriting_the_gradient_changes_no_result_and_takes_no_memory_for_one(case, relu, wants_shortcut, sizes):
    y, mean, _, inv_std = reference.batch_norm_act(case.x, case.gamma, case.beta, case.shortcut, relu, EPS)
    others = y, case.x, case.gamma, mean, inv_std, relu, wants_shortcut
    gy = np.ascontiguousarray(case.gy.transpose(2, 3, 0, 1)).transpose(2, 3, 0, 1)
    overwrites = relu or not wants_shortcut  # otherwise the gradient of the shortcut is gy
    with cut(*sizes):
        expected = fast.batch_norm_act_grads(gy, *others)
        given = gy.copy(order="K")
        results = fast.batch_norm_act_grads(given, *others, overwrites)
    for result, other in zip(results, expected, strict=True):
        assert np.array_equal(result, other) if other is not None else result is None
    where = [result is not None and np.shares_memory(result, given) for result in results]
    assert where == [overwrites and not wants_shortcut, False, False, wants_shortcut]
    assert not np.shares_memory(expected[0], gy)


@given(case=drawn(), relu=st.booleans(), sizes=cuts)
def test_the_gradients_are_within_rounding_of_the_references(
    on_any_threads, in_kernel_order, gamma_n, case, relu, sizes
):
    wants_shortcut = case.shortcut is not None
    y, mean, _, inv_std = reference.batch_norm_act(case.x, case.gamma, case.beta, case.shortcut, relu, EPS)
    operands = case.gy, y, case.x, case.gamma, mean, inv_std
    with cut(*sizes):
        results = on_any_threads(fast.batch_norm_act_grads, *operands, relu, wants_shortcut)
    gx, ggamma, gbeta, gz = reference.batch_norm_act_grads(*case.doubled(*operands), relu, True)
    assert in_kernel_order(results[0])
    assert {a.dtype for a in results if a is not None} == {case.x.dtype}
    if wants_shortcut:
        assert np.array_equal(results[3], gz)  # picked, not computed
    else:
        assert results[3] is None

    _, _, x, gamma, mean, inv_std = case.doubled(*operands)
    u, g = gamma_n(1, case.x.dtype), gamma_n(case.M + 20, case.x.dtype)
    far = reach(x, mean, 1 / inv_std, u)
    gbeta_error = 2 * g * np.abs(gz).sum((0, 2, 3))
    ggamma_error = 2 * g * inv_std * (np.abs(gz) * far).sum((0, 2, 3))
    assert np.all(np.abs(results[2] - gbeta) <= gbeta_error)
    assert np.all(np.abs(results[1] - ggamma) <= ggamma_error)
    sums = wide(inv_std) * far * wide(ggamma_error + 16 * u * np.abs(ggamma)) + wide(
        gbeta_error + 16 * u * np.abs(gbeta)
    )
    bound = wide(np.abs(gamma) * inv_std) * (16 * u * np.abs(gz) + sums / case.M)
    assert np.all(np.abs(results[0] - gx) <= bound)


@given(case=drawn(), relu=st.booleans(), sizes=cuts)
def test_inference_is_within_rounding_of_the_reference(on_any_threads, in_kernel_order, gamma_n, case, relu, sizes):
    _, mean, var, _ = reference.batch_norm(case.x, case.gamma, case.beta, EPS)
    operands = case.x, case.gamma, case.beta, mean, var, case.shortcut
    with cut(*sizes):
        y = on_any_threads(fast.batch_norm_act_inference, *operands, relu, EPS)
    x, gamma, beta, mean, var, shortcut = case.doubled(*operands)
    expected = reference.batch_norm_act_inference(x, gamma, beta, mean, var, shortcut, relu, EPS)
    assert y.dtype == case.x.dtype
    assert in_kernel_order(y)
    u = gamma_n(1, case.x.dtype)
    std = np.sqrt(var + EPS)
    bound = 16 * u * reach(x, mean, std, u) * wide(np.abs(gamma) / std)
    bound += 6 * u * (wide(np.abs(beta)) + (0 if shortcut is None else np.abs(shortcut)))
    assert np.all(np.abs(y - expected) <= bound)


@given(case=drawn())
def test_the_plain_forms_are_the_fused_ones_without_their_extras(case):
    plain = fast.batch_norm(case.x, case.gamma, case.beta, EPS)
    fused = fast.batch_norm_act(case.x, case.gamma, case.beta, None, False, EPS)
    assert all(np.array_equal(a, b) for a, b in zip(plain, fused, strict=True))
    y, mean, var, inv_std = plain
    one = fast.batch_norm_inference(case.x, case.gamma, case.beta, mean, var, EPS)
    other = fast.batch_norm_act_inference(case.x, case.gamma, case.beta, mean, var, None, False, EPS)
    assert np.array_equal(one, other)
    operands = case.x, case.gamma, mean, inv_std
    gradients = fast.batch_norm_grads(case.gy, *operands)
    others = fast.batch_norm_act_grads(case.gy, y, *operands, False, True)
    assert all(np.array_equal(a, b) for a, b in zip(gradients, others[:3], strict=True))
    assert others[3] is case.gy


def test_a_constant_channel_has_no_variance_and_no_nan():
    x = np.full((2, 1, 3, 3), 7.7, np.float32)
    y, mean, var, inv_std = fast.batch_norm(x, np.ones(1, np.float32), np.zeros(1, np.float32), EPS)
    assert mean == x[0, 0, 0, 0]
    assert var == 0
    assert np.array_equal(y, np.zeros_like(x))
    gx, _, _ = fast.batch_norm_grads(np.ones_like(x), x, np.ones(1, np.float32), mean, inv_std)
    assert np.array_equal(gx, np.zeros_like(x))


def test_a_mean_of_exactly_zero_needs_no_centre_and_leaves_the_variance():
    x = np.array([-3.0, 3.0, -1.0, 1.0]).reshape(1, 1, 2, 2)
    _, mean, var, _ = fast.batch_norm(x, np.ones(1), np.zeros(1), EPS)
    assert (mean, var) == (0, 5)


def test_one_channel_far_from_zero_centres_all():
    x = np.stack([np.arange(4.0), 2.0**40 + np.arange(4.0)]).reshape(1, 2, 2, 2)
    _, mean, var, _ = fast.batch_norm(x, np.ones(2), np.zeros(2), EPS)
    assert mean.tolist() == [1.5, 2.0**40 + 1.5]
    assert var.tolist() == [1.25, 1.25]


@pytest.mark.parametrize(
    ("means", "inv_stds", "far"),
    [
        ([10.0], [1.0], False), ([10.01], [1.0], True), ([-10.01], [1.0], True), ([20.0], [0.25], False),
        ([4.0], [4.0], True), ([0.0, 20.0], [1.0, 1.0], True), ([0.0, 0.0], [9.0, 9.0], False),
    ],
)  # fmt: skip
def test_gradients_take_x_around_its_mean_if_one_is_more_than_ten_deviations_from_zero(means, inv_stds, far):
    mean = np.array(means)
    assert fast._centre(mean, np.array(inv_stds)) is (mean if far else None)


@pytest.mark.parametrize(("mean", "far"), [(10.0, False), (10.5, True), (-10.5, True)])
def test_statistics_do_so_too(mean, far):
    image = channels.ChannelRows(mean + np.array([-1.0, 1.0]).reshape(1, 1, 1, 2))
    _, var, centre = parallel_steps(image.statistics())
    assert var == 1
    assert (centre is not None) == far


def test_what_float32_rounds_off_the_centre_is_made_good():
    # At 2²⁴ float32 has even numbers alone: the mean, 2²⁴ + 1, is 1 away from the centre that x is taken around.
    x = np.float32([2.0**24, 2.0**24 + 2]).reshape(1, 1, 1, 2)
    image = channels.ChannelRows(x)
    mean, var, centre = parallel_steps(image.statistics())
    assert (mean, var, centre) == (2.0**24 + 1, 1, 2.0**24)


def test_a_variance_is_never_negative():
    # 8191 is prime, so each pixel is a row of its own and all are one block: in float32 its mean is off by hundreds
    # of ulp, and the variance around that is a difference of large squares.
    values = np.random.default_rng(0).uniform(1, 2, (1, 3, 1, 1)).astype(np.float32)
    x = np.broadcast_to(values, (2, 3, 1, 8191))
    _, _, var, _ = fast.batch_norm(x, np.ones(3, np.float32), np.zeros(3, np.float32), EPS)
    assert np.all(var >= 0)


@pytest.mark.parametrize("shape", [(0, 3, 2, 2), (2, 3, 0, 2), (2, 0, 2, 2)])
def test_an_empty_image_passes_through_inference(shape):
    x, ones = np.ones(shape), np.ones(shape[1])
    assert fast.batch_norm_inference(x, ones, ones, ones, ones, EPS).shape == x.shape


@pytest.mark.parametrize("shape", [(2, 0, 3, 3), (0, 3, 4, 5)])
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # the mean of no numbers
def test_without_channels_or_images_there_are_gradients(shape):
    x, gamma = np.zeros(shape), np.ones(shape[1])
    found, expected = (k.batch_norm_act_grads(x, x, x, gamma, gamma, gamma, True, True) for k in (fast, reference))
    for mine, array in zip(found, expected, strict=True):
        np.testing.assert_array_equal(mine, array)
    if not gamma.size:
        assert [a.shape for a in fast.batch_norm_act(x, gamma, gamma, None, True, 1e-5)] == [shape, (0,), (0,), (0,)]


def test_what_is_wrong_raises_as_in_the_reference(raises_the_same):
    x, ones, gy = np.ones((2, 3, 2, 2)), np.ones(3), np.ones((2, 3, 2, 2))
    single = ones.astype(np.float32)
    for wrong_x, wrong_gamma in ((x[0], ones), (x, np.ones(2)), (x[:1, :, :1, :1], ones), (x[:0], ones), (x, single)):
        raises_the_same(fast.batch_norm, reference.batch_norm, wrong_x, wrong_gamma, ones, EPS)
        raises_the_same(fast.batch_norm_act, reference.batch_norm_act, wrong_x, wrong_gamma, ones, None, True, EPS)
    for shortcut in (gy[:1], gy.astype(np.float32)):
        raises_the_same(fast.batch_norm_act, reference.batch_norm_act, x, ones, ones, shortcut, True, EPS)
        given = x, ones, ones, ones, ones, shortcut, True, EPS
        raises_the_same(fast.batch_norm_act_inference, reference.batch_norm_act_inference, *given)
    raises_the_same(fast.batch_norm_inference, reference.batch_norm_inference, x, ones, ones, ones, single, EPS)
    for wrong in (gy[:1], gy.astype(np.float32)):
        raises_the_same(fast.batch_norm_grads, reference.batch_norm_grads, wrong, x, ones, ones, ones)
        for relu in (True, False):
            given = wrong, gy, x, ones, ones, ones, relu, True
            raises_the_same(fast.batch_norm_act_grads, reference.batch_norm_act_grads, *given)
    given = x, ones, ones[:2], ones
    raises_the_same(fast.batch_norm_grads, reference.batch_norm_grads, gy, *given)
    raises_the_same(fast.batch_norm_act_grads, reference.batch_norm_act_grads, gy, gy, *given, True, True)
    raises_the_same(fast.batch_norm_inference, reference.batch_norm_inference, *given, ones, EPS)
