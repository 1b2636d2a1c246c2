"""Operations agree with PyTorch's over random geometry: outputs and gradients in float64."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import minires as mr
from minires.geometry import Geometry
from minires.testing import strategies as ms

torch = pytest.importorskip("torch")
F, TF = mr.functional, torch.nn.functional


def compare(mine, theirs, arrays, rng):
    """Check max |a − b| ≤ 1e-11 · max |b| for the output and each gradient."""
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


@given(size=pairs(1, 7), grid=pairs(1, 4), seed=seeds)
def test_adaptive_pooling(size, grid, seed):
    x = np.random.default_rng(seed).standard_normal((2, 3, *size))
    rng = np.random.default_rng(seed + 1)
    compare(lambda a: F.adaptive_avg_pool2d(a, grid), lambda a: TF.adaptive_avg_pool2d(a, grid), [x], rng)


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("with_shortcut", [True, False])
@given(size=pairs(1, 4), seed=seeds)
def test_batch_norm_act(size, training, with_shortcut, relu, seed):
    rng = np.random.default_rng(seed)
    arrays = [rng.standard_normal(s) for s in ((3, 2, *size), (2,), (2,), (3, 2, *size))][: 4 if with_shortcut else 3]
    mean, var = rng.standard_normal(2), rng.uniform(0.5, 2.0, 2)

    def theirs(x, g, b, s=None):
        z = TF.batch_norm(x, torch.tensor(mean), torch.tensor(var), g, b, training)
        z = z if s is None else z + s
        return torch.relu(z) if relu else z

    compare(
        lambda x, g, b, s=None: F.batch_norm_act(
            x, mr.tensor(mean), mr.tensor(var), g, b, training, shortcut=s, relu=relu
        ),
        theirs,
        arrays,
        rng,
    )


UNARY = {
    "exp": (lambda a: a.exp(), torch.exp),
    "log": (lambda a: (a * a + 0.1).log(), lambda a: torch.log(a * a + 0.1)),
    "sqrt": (lambda a: (a * a + 0.1).sqrt(), lambda a: torch.sqrt(a * a + 0.1)),
    "tanh": (lambda a: a.tanh(), torch.tanh),
    "sigmoid": (lambda a: a.sigmoid(), torch.sigmoid),
    "relu": (F.relu, torch.relu),
    "abs": (lambda a: a.abs(), torch.abs),
    "negative": (lambda a: -a, torch.neg),
    "clip": (lambda a: a.clip(-0.5, 0.5), lambda a: a.clip(-0.5, 0.5)),
    "square": (lambda a: a**2.0, lambda a: a**2.0),
    "softmax": (lambda a: F.softmax(a, 0), lambda a: TF.softmax(a, 0)),
    "log_softmax": (lambda a: F.log_softmax(a, -1), lambda a: TF.log_softmax(a, -1)),
    "sum": (lambda a: a.sum(), torch.sum),
    "sum over an axis": (lambda a: a.sum(-1), lambda a: a.sum(-1)),
    "mean over an axis": (lambda a: a.mean(0, keepdim=True), lambda a: a.mean(0, keepdim=True)),
    "var": (lambda a: a.var(correction=0), lambda a: a.var(correction=0)),
    "max": (lambda a: a.max(), torch.max),
    "min": (lambda a: a.min(), torch.min),
    "max over an axis": (lambda a: a.max(0).values, lambda a: a.max(0).values),
    "min over an axis": (lambda a: a.min(-1, keepdim=True)[0], lambda a: a.min(-1, keepdim=True)[0]),
    "reshape": (lambda a: a.reshape(-1), lambda a: a.reshape(-1)),
    "flatten": (lambda a: a.flatten(0, 1), lambda a: a.flatten(0, 1)),
    "permute": (lambda a: a.permute(1, 2, 0), lambda a: a.permute(1, 2, 0)),
    "transpose": (lambda a: a.transpose(0, 2), lambda a: a.transpose(0, 2)),
    "pad": (lambda a: F.pad(a, (1, 2, 0, 1), value=3.0), lambda a: TF.pad(a, (1, 2, 0, 1), value=3.0)),
    "slice": (lambda a: a[:, ::2, -1:], lambda a: a[:, ::2, -1:]),
    "index": (lambda a: a[[0, -1, 0]], lambda a: a[[0, -1, 0]]),
    "concatenate": (lambda a: mr.concatenate([a, a * 2.0], 1), lambda a: torch.concatenate([a, a * 2.0], 1)),
    "stack": (lambda a: mr.stack([a, a * 2.0], -1), lambda a: torch.stack([a, a * 2.0], -1)),
}


@pytest.mark.parametrize("name", UNARY)
@given(shape=st.tuples(*[st.integers(1, 4)] * 3), seed=seeds)
def test_operations_of_one_tensor(name, shape, seed):
    rng = np.random.default_rng(seed)
    ours, theirs = UNARY[name]
    compare(ours, theirs, [rng.standard_normal(shape)], rng)


BINARY = {
    "add": lambda lib, a, b: a + b,
    "subtract": lambda lib, a, b: a - b,
    "multiply": lambda lib, a, b: a * b,
    "divide": lambda lib, a, b: a / (b * b + 0.5),
    "power": lambda lib, a, b: (a * a + 0.1) ** b,
    "maximum": lambda lib, a, b: lib.maximum(a, b),
    "where": lambda lib, a, b: lib.where(a > b, a, b * 2.0),
}


@pytest.mark.parametrize("name", BINARY)
@given(shapes=ms.broadcast_pairs(), seed=seeds)
def test_operations_of_two_tensors_broadcast(name, shapes, seed):
    rng = np.random.default_rng(seed)
    operation = BINARY[name]
    compare(
        lambda a, b: operation(mr, a, b),
        lambda a, b: operation(torch, a, b),
        [rng.standard_normal(shape) for shape in shapes],
        rng,
    )


@pytest.mark.parametrize("batch", [((), ()), ((2,), ()), ((), (3,)), ((2, 1), (3,))])
@given(sizes=st.tuples(*[st.integers(1, 4)] * 3), seed=seeds)
def test_matmul(batch, sizes, seed):
    rng = np.random.default_rng(seed)
    (I, K, J), (left, right) = sizes, batch
    arrays = [rng.standard_normal((*left, I, K)), rng.standard_normal((*right, K, J))]
    compare(lambda a, b: a @ b, lambda a, b: a @ b, arrays, rng)
