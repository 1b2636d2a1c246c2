"""Operations beside PyTorch's, over random geometry: outputs and gradients in float64."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import minires as mr
from minires.geometry import Geometry

torch = pytest.importorskip("torch")
F, TF = mr.functional, torch.nn.functional


def compare(mine, theirs, arrays, rng):
    """max |a − b| ≤ 1e-11 · max |b| for the output and each gradient."""
    ours = [mr.tensor(a, requires_grad=True) for a in arrays]
    reference = [torch.tensor(a, requires_grad=True) for a in arrays]
    y, z = mine(*ours), theirs(*reference)
    gy = rng.standard_normal(y.shape)
    y.backward(mr.tensor(gy))
    z.backward(torch.tensor(gy))
    pairs = [(y.numpy(), z), *((t.grad.numpy(), r.grad) for t, r in zip(ours, reference, strict=True))]
    for a, b in pairs:
        b = b.detach().numpy()
        assert a.shape == b.shape
        assert np.abs(a - b).max(initial=0.0) <= 1e-11 * max(np.abs(b).max(initial=0.0), 1e-300)


seeds = st.integers(0, 2**32 - 1)


def pairs(low, high):
    return st.tuples(st.integers(low, high), st.integers(low, high))


@given(
    kernel=pairs(1, 4), stride=pairs(1, 3), padding=pairs(0, 3), dilation=pairs(1, 3), groups=st.integers(1, 3),
    size=pairs(1, 10), seed=seeds,
)  # fmt: skip
def test_conv2d(kernel, stride, padding, dilation, groups, size, seed):
    extent = Geometry(kernel, dilation=dilation).extent
    assume(all(n + 2 * pad >= e for n, pad, e in zip(size, padding, extent, strict=True)))
    rng = np.random.default_rng(seed)
    arrays = [rng.standard_normal(s) for s in ((2, 2 * groups, *size), (3 * groups, 2, *kernel), (3 * groups,))]
    options = (stride, padding, dilation, groups)
    compare(lambda *a: F.conv2d(*a, *options), lambda *a: TF.conv2d(*a, *options), arrays, rng)


@given(size=pairs(1, 4), training=st.booleans(), seed=seeds)
def test_batch_norm(size, training, seed):
    rng = np.random.default_rng(seed)
    arrays = [rng.standard_normal(s) for s in ((3, 2, *size), (2,), (2,))]
    mean, var = rng.standard_normal(2), rng.uniform(0.5, 2.0, 2)
    ours, theirs = (mr.tensor(mean), mr.tensor(var)), (torch.tensor(mean), torch.tensor(var))
    compare(
        lambda x, g, b: F.batch_norm(x, *ours, g, b, training),
        lambda x, g, b: TF.batch_norm(x, *theirs, g, b, training),
        arrays,
        rng,
    )
    for a, b in zip(ours, theirs, strict=True):
        assert np.abs(a.numpy() - b.numpy()).max() <= 1e-11


@given(kernel=pairs(1, 4), stride=pairs(1, 3), size=pairs(4, 9), seed=seeds)
def test_pooling(kernel, stride, size, seed):
    rng = np.random.default_rng(seed)
    padding = tuple(int(rng.integers(0, n // 2 + 1)) for n in kernel)
    padding = tuple(min(pad, n - 1) for pad, n in zip(padding, kernel, strict=True))
    x = rng.standard_normal((2, 3, *size))
    for name in ("max_pool2d", "avg_pool2d"):
        options = (kernel, stride, padding)
        compare(lambda a: getattr(F, name)(a, *options), lambda a: getattr(TF, name)(a, *options), [x], rng)  # noqa: B023


@given(seed=seeds, smoothing=st.sampled_from([0.0, 0.1]), reduction=st.sampled_from(["mean", "sum", "none"]))
def test_linear_and_cross_entropy(seed, smoothing, reduction):
    rng = np.random.default_rng(seed)
    arrays = [rng.standard_normal(s) for s in ((4, 3), (5, 3), (5,))]
    labels = rng.integers(0, 5, 4)
    labels[0] = -100
    options = {"reduction": reduction, "label_smoothing": smoothing}
    compare(
        lambda *a: F.cross_entropy(F.linear(*a), mr.tensor(labels), **options),
        lambda *a: TF.cross_entropy(TF.linear(*a), torch.tensor(labels), **options),
        arrays,
        rng,
    )
