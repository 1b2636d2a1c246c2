"""Reference kernels agree with PyTorch's functions in float64, also where no derivative exists."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minires.geometry import Geometry
from minires.kernels import reference as ref
from minires.testing import strategies as ms

torch = pytest.importorskip("torch")
TF = torch.nn.functional

sides = st.tuples(st.integers(1, 6), st.integers(1, 6))
several = st.tuples(st.integers(2, 4), st.integers(2, 4))


def theirs(function, *arrays, gy=None):
    """Return PyTorch's output, and its gradients by every array."""
    tensors = [torch.tensor(np.array(a, order="C"), requires_grad=True) for a in arrays]
    y = function(*tensors)
    y.backward(torch.ones_like(y) if gy is None else torch.tensor(np.array(gy, order="C")))
    return y.detach().numpy(), [t.grad.numpy() for t in tensors]


def assert_close(mine, other):
    """Check max |a − b| ≤ 1e-11 · max |b|."""
    assert mine.shape == other.shape
    assert np.abs(mine - other).max(initial=0.0) <= 1e-11 * np.abs(other).max(initial=0.0)


@given(case=ms.conv_cases(), seed=ms.seeds(), order=ms.memory_orders())
def test_convolution(case, seed, order):
    x, w = ms.array(case.x, seed, order=order), ms.array(case.w, seed, order=order, stream=1)
    y = ref.conv2d(x, w, case.geometry)
    gy, g = ms.array(y.shape, seed, order=order, stream=2), case.geometry
    expected, gradients = theirs(
        lambda a, b: TF.conv2d(a, b, None, g.stride, g.padding, g.dilation, g.groups), x, w, gy=gy
    )  # fmt: skip
    for a, b in zip((y, *ref.conv2d_grads(gy, x, w, g)), (expected, *gradients), strict=True):
        assert_close(a, b)


@given(size=several, seed=ms.seeds(), order=ms.memory_orders())
def test_batch_norm_by_the_batch_and_by_given_statistics(size, seed, order):
    x, gy = (ms.array((3, 2, *size), seed, order=order, stream=i) for i in (0, 1))
    gamma, beta, mean = (ms.array((2,), seed, stream=i) for i in (2, 3, 4))
    var = ms.array((2,), seed, stream=5) ** 2 + 0.1
    expected, gradients = theirs(
        lambda *a: TF.batch_norm(a[0], None, None, *a[1:], training=True), x, gamma, beta, gy=gy
    )
    y, batch_mean, _, inv_std = ref.batch_norm(x, gamma, beta, 1e-5)
    found = y, *ref.batch_norm_grads(gy, x, gamma, batch_mean, inv_std)
    for a, b in zip(found, (expected, *gradients), strict=True):
        assert_close(a, b)
    given_ones = torch.tensor(mean), torch.tensor(var)
    expected, gradients = theirs(lambda *a: TF.batch_norm(a[0], *given_ones, *a[1:]), x, gamma, beta, gy=gy)
    y = ref.batch_norm_inference(x, gamma, beta, mean, var, 1e-5)
    found = y, *ref.batch_norm_inference_grads(gy, x, gamma, mean, 1 / np.sqrt(var + 1e-5))
    for a, b in zip(found, (expected, *gradients), strict=True):
        assert_close(a, b)


@given(size=several, seed=ms.seeds())
def test_the_backward_of_the_backward_of_batch_norm(size, seed):
    x, gy, ggx = (ms.array((3, 2, *size), seed, stream=i) for i in range(3))
    gamma, beta, gggamma, ggbeta = (ms.array((2,), seed, stream=i) for i in range(3, 7))
    tx, tgy, tgamma, tbeta = (torch.tensor(a, requires_grad=True) for a in (x, gy, gamma, beta))
    ty = TF.batch_norm(tx, None, None, tgamma, tbeta, training=True)
    first = torch.autograd.grad(ty, (tx, tgamma, tbeta), tgy, create_graph=True)
    second = torch.autograd.grad(first, (tgy, tx, tgamma), [torch.tensor(a) for a in (ggx, gggamma, ggbeta)])
    _, mean, _, inv_std = ref.batch_norm(x, gamma, beta, 1e-5)
    mine = ref.batch_norm_grads_grads(ggx, gggamma, ggbeta, gy, x, gamma, mean, inv_std)
    for a, b in zip(mine, second, strict=True):
        assert_close(a, b.numpy())


@given(size=several, seed=ms.seeds(), order=ms.memory_orders())
def test_the_fused_block_end(size, seed, order):
    x, gy, shortcut = (ms.array((3, 2, *size), seed, order=order, stream=i) for i in range(3))
    gamma, beta = (ms.array((2,), seed, stream=i) for i in (3, 4))

    def block(x, gamma, beta, shortcut):
        return TF.relu(TF.batch_norm(x, None, None, gamma, beta, training=True) + shortcut)

    expected, gradients = theirs(block, x, gamma, beta, shortcut, gy=gy)
    y, mean, _, inv_std = ref.batch_norm_act(x, gamma, beta, shortcut, True, 1e-5)
    found = y, *ref.batch_norm_act_grads(gy, y, x, gamma, mean, inv_std, True, True)
    for a, b in zip(found, (expected, *gradients), strict=True):
        assert_close(a, b)


@given(case=ms.pool_cases(max_kernel=4), seed=ms.seeds(), order=ms.memory_orders(), nan=st.booleans())
def test_max_pooling_with_ties_and_nan(case, seed, order, nan):
    x, g = ms.array(case.x, seed, "tied", order=order), case.geometry
    if nan:
        x[np.random.default_rng(seed).random(x.shape) < 0.2] = np.nan
    # PyTorch allows padding up to half the window: more of it is the same as an image framed by −inf.
    framed = np.pad(x, ((0, 0), (0, 0), *((pad, pad) for pad in g.padding)), constant_values=-np.inf)
    y = ref.max_pool2d(x, g)
    gy = ms.array(y.shape, seed, stream=1)
    expected, (gradient,) = theirs(lambda a: TF.max_pool2d(a, g.kernel, g.stride), framed, gy=gy)
    np.testing.assert_array_equal(y, expected)
    inner = tuple(slice(pad, pad + n) for pad, n in zip(g.padding, x.shape[2:], strict=True))
    assert_close(ref.max_pool2d_grad(gy, ref.max_pool2d_winners(x, g)[1], g, x.shape[2:]), gradient[(..., *inner)])


@given(case=ms.pool_cases(max_kernel=4), seed=ms.seeds(), order=ms.memory_orders())
def test_average_pooling(case, seed, order):
    x, g = ms.array(case.x, seed, order=order), case.geometry
    framed = np.pad(x, ((0, 0), (0, 0), *((pad, pad) for pad in g.padding)))
    y = ref.avg_pool2d(x, g)
    gy = ms.array(y.shape, seed, stream=1)
    expected, (gradient,) = theirs(lambda a: TF.avg_pool2d(a, g.kernel, g.stride), framed, gy=gy)
    inner = tuple(slice(pad, pad + n) for pad, n in zip(g.padding, x.shape[2:], strict=True))
    assert_close(y, expected)
    assert_close(ref.avg_pool2d_grad(gy, g, x.shape[2:]), gradient[(..., *inner)])


@given(size=sides, grid=sides, seed=ms.seeds(), order=ms.memory_orders())
def test_adaptive_average_pooling(size, grid, seed, order):
    x, gy = ms.array((2, 3, *size), seed, order=order), ms.array((2, 3, *grid), seed, order=order, stream=1)
    expected, (gradient,) = theirs(lambda a: TF.adaptive_avg_pool2d(a, grid), x, gy=gy)
    assert_close(ref.adaptive_avg_pool2d(x, grid), expected)
    assert_close(ref.adaptive_avg_pool2d_grad(gy, size), gradient)


@given(
    N=st.integers(1, 5), K=st.integers(2, 6), seed=ms.seeds(), smoothing=st.sampled_from([0.0, 0.1, 1.0]),
    reduction=st.sampled_from(["mean", "sum", "none"]), ignored=st.sampled_from([-100, 1]), data=st.data(),
)  # fmt: skip
def test_cross_entropy(N, K, seed, smoothing, reduction, ignored, data):
    logits, labels = ms.array((N, K), seed), data.draw(ms.labels(N, K, ignored))
    labels[0] = 0  # one row counts: a mean over none is NaN in both
    gy = ms.array((N,) if reduction == "none" else (), seed, stream=1)
    options = {"label_smoothing": smoothing, "ignore_index": ignored, "reduction": reduction}
    expected, (gradient,) = theirs(lambda a: TF.cross_entropy(a, torch.tensor(labels), **options), logits, gy=gy)
    assert_close(ref.cross_entropy(logits, labels, **options), expected)
    assert_close(ref.cross_entropy_grad(gy, logits, labels, **options), gradient)


@given(shape=ms.shapes(min_dims=1), seed=ms.seeds(), kind=ms.kinds(), order=ms.memory_orders())
def test_elementwise_kernels_and_softmax(shape, seed, kind, order):
    x, gy = (ms.array(shape, seed, kind, order=order, stream=i) for i in (0, 1))
    y, (gradient,) = theirs(TF.relu, x, gy=gy)
    assert_close(ref.relu(x), y)
    assert_close(ref.relu_grad(gy, ref.relu(x)), gradient)
    t = torch.tensor(np.array(x, order="C"))
    for name in ("sigmoid", "tanh"):
        assert_close(getattr(ref, name)(x), getattr(torch, name)(t).numpy())
    for name in ("softmax", "log_softmax"):
        assert_close(getattr(ref, name)(x, -1), getattr(torch, name)(t, -1).numpy())


@given(rows=ms.shapes(max_dims=2, min_side=0), C=st.integers(1, 5), K=st.integers(1, 5), seed=ms.seeds())
def test_linear(rows, C, K, seed):
    x, weight, gy = (ms.array(s, seed, stream=i) for i, s in enumerate(((*rows, C), (K, C), (*rows, K))))
    expected, gradients = theirs(TF.linear, x, weight, gy=gy)
    found = ref.linear(x, weight), *ref.linear_grads(gy, x, weight)
    for a, b in zip(found, (expected, *gradients), strict=True):
        assert_close(a, b)


def test_nan_goes_through_the_rectifier_and_of_several_in_a_window_the_last_wins():
    x = np.array([[0.0, np.nan], [np.nan, 1.0]]).reshape(1, 1, 2, 2)
    y, (gradient,) = theirs(torch.relu, x)
    assert np.array_equal(ref.relu(x), y, equal_nan=True)
    assert np.array_equal(ref.relu_grad(np.ones_like(x), ref.relu(x)), gradient)
    geometry = Geometry(2)
    _, (gradient,) = theirs(lambda a: TF.max_pool2d(a, 2), x)
    winners = ref.max_pool2d_winners(x, geometry)[1]
    assert np.array_equal(ref.max_pool2d_grad(np.ones((1, 1, 1, 1)), winners, geometry, x.shape[2:]), gradient)
