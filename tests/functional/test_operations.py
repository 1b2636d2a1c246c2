import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minires as mr
from minires import testing
from minires.errors import ShapeError

F = mr.functional


def MEAN(x):
    return mr.tensor([0.5, 1.0, 1.5], dtype=x.dtype)


CASES = {
    "add": (lambda a, b: a + b, [(3, 4), (4,)]),
    "subtract": (lambda a, b: a - b, [(3, 1), (1, 4)]),
    "multiply": (lambda a, b: a * b, [(2, 3), (2, 1)]),
    "divide": (lambda a, b: a / b, [(2, 3), (3,)]),
    "power": (lambda a, b: a**b, [(2, 3), (3,)]),
    "power by a number": (lambda a: a**3.0, [(5,)]),
    "exp": (lambda a: a.exp(), [(2, 3)]),
    "log": (lambda a: a.log(), [(2, 3)]),
    "sqrt": (lambda a: a.sqrt(), [(2, 3)]),
    "mean": (lambda a: a.mean((0, 2), keepdim=True), [(2, 3, 4)]),
    "sum": (lambda a: a.sum(1), [(2, 3, 4)]),
    "var": (lambda a: a.var((0, 2), correction=0, keepdim=True), [(2, 3, 4)]),
    "var of all": (lambda a: a.var(), [(2, 3)]),
    "sigmoid": (lambda a: a.sigmoid(), [(2, 3)]),
    "tanh": (lambda a: a.tanh(), [(2, 3)]),
    "transpose": (lambda a: a.transpose(0, -1) * 2.0, [(2, 3, 4)]),
    "flatten": (lambda a: a.flatten(1) * 2.0, [(2, 3, 4)]),
    "pad": (lambda a: F.pad(a, (1, 0, 0, 2), value=3.0), [(2, 3, 2)]),
    "concatenate": (lambda a, b: mr.concatenate([a, b, a], 1), [(2, 3), (2, 1)]),
    "stack": (lambda a, b: mr.stack([a, b], -1), [(2, 3), (2, 3)]),
    "where": (lambda a, b: mr.where(mr.tensor([True, False, True]), a, b), [(2, 3), (3,)]),
    "dropout": (lambda a: F.dropout(a, 0.3, rng=np.random.default_rng(0)), [(4, 5)]),
    "permute": (lambda a: a.permute(2, 0, 1) * 2.0, [(2, 3, 4)]),
    "getitem": (lambda a: a[np.array([0, 1, 1]), 1:], [(2, 3)]),
    "matmul": (lambda a, b: a @ b, [(2, 3, 4), (4, 2)]),
    "matrix times vector": (lambda a, b: a @ b, [(3, 4), (4,)]),
    "vector times batch": (lambda a, b: a @ b, [(3,), (2, 3, 4)]),
    "batch norm, training": (
        lambda x, g, b: F.batch_norm(x, None, None, g, b, training=True, eps=0.1),
        [(2, 3, 2, 2), (3,), (3,)],
    ),
    "batch norm, inference": (
        lambda x, g, b: F.batch_norm(x, MEAN(x), MEAN(x) + 1.0, g, b),
        [(2, 3, 2, 2), (3,), (3,)],
    ),
    "avg pool": (lambda x: F.avg_pool2d(x, (3, 2), (1, 2), (1, 0)), [(2, 3, 4, 5)]),
    "adaptive avg pool": (lambda x: F.adaptive_avg_pool2d(x, (3, None)), [(2, 3, 4, 5)]),
    "batch norm and shortcut, training": (
        lambda x, g, b, s: F.batch_norm_act(x, None, None, g, b, True, eps=0.1, shortcut=s, relu=False),
        [(2, 3, 2, 2), (3,), (3,), (2, 3, 2, 2)],
    ),
    "batch norm and shortcut, inference": (
        lambda x, g, b, s: F.batch_norm_act(x, MEAN(x), MEAN(x) + 1.0, g, b, shortcut=s, relu=False),
        [(2, 3, 2, 2), (3,), (3,), (2, 3, 2, 2)],
    ),
    "linear": (lambda x, w, b: F.linear(x, w, b), [(2, 3), (4, 3), (4,)]),
    "log softmax": (lambda x: F.log_softmax(x, 0), [(4, 3)]),
    "softmax": (lambda x: F.softmax(x), [(4, 3)]),
    "cross entropy": (
        lambda x: F.cross_entropy(x, mr.tensor([2, -100, 0]), label_smoothing=0.25) * 3.0,
        [(3, 4)],
    ),
    "conv2d": (lambda x, w, b: F.conv2d(x, w, b, (2, 1), (1, 0), 1, 2), [(2, 4, 5, 4), (4, 2, 3, 2), (4,)]),
}


# Functions with corners: no complex step, and inputs drawn away from the corners.
CORNERED = {
    "abs": (lambda a: (a - 1.25).abs(), [(2, 3)]),
    "clip": (lambda a: a.clip(0.8, 1.7) * a, [(2, 3)]),
    "clip from below": (lambda a: a.clip(1.1), [(2, 3)]),
    "maximum": (lambda a, b: mr.maximum(a, b) * b, [(2, 3), (3,)]),
    "max": (lambda a: a.max(), [(2, 3)]),
    "min": (lambda a: a.min(), [(2, 3)]),
    "max along an axis": (lambda a: a.max(1).values * 2.0, [(2, 3, 2)]),
    "min along an axis": (lambda a: a.min(-1, keepdim=True).values, [(2, 3)]),
    "relu": (lambda a: F.relu(a - 1.25), [(2, 3)]),
    "max pool": (lambda x: F.max_pool2d(x, (2, 3), (1, 2), (1, 1)), [(2, 2, 4, 4)]),
    "batch norm, shortcut and relu, training": (
        lambda x, g, b, s: F.batch_norm_act(x, None, None, g, b - 1.5, True, eps=0.1, shortcut=s),
        [(2, 3, 2, 2), (3,), (3,), (2, 3, 2, 2)],
    ),
    "batch norm and relu, inference": (
        lambda x, g, b: F.batch_norm_act(x, MEAN(x), MEAN(x) + 1.0, g, b - 1.0),
        [(2, 3, 2, 2), (3,), (3,)],
    ),
}


@pytest.mark.parametrize("name", CORNERED)
def test_operations_with_corners_have_right_gradients_of_both_orders(name):
    function, shapes = CORNERED[name]
    rng = np.random.default_rng(1)
    tensors = [mr.tensor(rng.uniform(0.5, 2.0, shape), requires_grad=True) for shape in shapes]
    testing.check_gradient(function, *tensors, order=2, rng=rng)


def complex_step(function, arrays, direction):
    """d/dt function(arrays + t · direction) at t = 0, exact to the last digits: Im f(a + i·h·d) / h."""
    h = 1e-20
    with mr.no_grad():
        moved = [mr.tensor(a + 1j * h * d) for a, d in zip(arrays, direction, strict=True)]
        return function(*moved).numpy().imag / h


def pairing(function, arrays, direction, rng):
    """⟨vjp(gy), d⟩ beside ⟨gy, directional derivative⟩, and the sum of the terms' sizes."""
    tensors = [mr.tensor(a, requires_grad=True) for a in arrays]
    y = function(*tensors)
    gy = rng.standard_normal(y.shape)
    gradients = mr.grad(y, tensors, mr.tensor(gy))
    terms = [g.numpy() * d for g, d in zip(gradients, direction, strict=True)]
    numerical = gy * complex_step(function, arrays, direction)
    scale = sum(np.abs(t).sum() for t in terms) + np.abs(numerical).sum()
    return sum(t.sum() for t in terms), numerical.sum(), scale


# Each side is a sum of at most a few hundred products, each rounded a few dozen times: γ_400 ≈ 400·2⁻⁵³.
GAMMA = 400 * 2.0**-53


@pytest.mark.parametrize("name", CASES)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_gradient_is_the_complex_steps_derivative(name, seed):
    function, shapes = CASES[name]
    rng = np.random.default_rng(seed)
    arrays = [rng.uniform(0.5, 2.0, shape) for shape in shapes]
    claimed, numerical, scale = pairing(function, arrays, [rng.standard_normal(s) for s in shapes], rng)
    assert abs(claimed - numerical) <= GAMMA * scale


@pytest.mark.parametrize("name", CASES)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_gradient_of_the_gradient_is_the_complex_steps_derivative(name, seed):
    function, shapes = CASES[name]
    rng = np.random.default_rng(seed)
    arrays = [rng.uniform(0.5, 2.0, shape) for shape in shapes]
    with mr.no_grad():
        gy_shape = function(*(mr.tensor(a) for a in arrays)).shape
    weights = [mr.tensor(rng.uniform(0.5, 2.0, shape)) for shape in shapes]

    def weighted_gradient(gy, *tensors):
        """⟨weights, vjp(gy)⟩ as a function of everything, so its derivative is the second."""
        with mr.autograd.op.enable_grad():
            leaves = [t if t.requires_grad else mr.tensor(t, requires_grad=True) for t in tensors]
            y = function(*leaves)
            gradients = mr.grad(y, leaves, gy, create_graph=True)
            total = None
            for g, weight in zip(gradients, weights, strict=True):
                term = (g * mr.tensor(weight, dtype=g.dtype)).sum()
                total = term if total is None else total + term
        # Adding 0·y keeps every input in the graph of a function that is linear in it.
        return total + (y * 0.0).sum() + (gy * 0.0).sum()

    everything = [rng.uniform(0.5, 2.0, gy_shape), *arrays]
    direction = [rng.standard_normal(a.shape) for a in everything]
    claimed, numerical, scale = pairing(weighted_gradient, everything, direction, rng)
    assert abs(claimed - numerical) <= 10 * GAMMA * scale  # two passes, each through an intermediate sum


def test_convolution_computes_no_gradient_for_images():
    x, w = mr.tensor(np.ones((1, 2, 4, 4))), mr.tensor(np.ones((3, 2, 3, 3)), requires_grad=True)
    F.conv2d(x, w).sum().backward()
    assert w.grad.numpy().tolist() == np.full((3, 2, 3, 3), 4.0).tolist()


def test_operations_keep_their_kernel_set_for_the_backward_pass():
    x = mr.tensor(np.ones((1, 1, 3, 3)), requires_grad=True)
    with mr.kernels.using("reference"):
        y = F.conv2d(x, x)
    assert y._op.kernels.name == "reference"


def test_bad_shapes_are_named():
    x, w = mr.tensor(np.ones((1, 2, 4, 4))), mr.tensor(np.ones((3, 2, 3, 3)))
    with pytest.raises(ShapeError, match=r"bias of shape \(2,\) does not fit 3 output channels"):
        F.conv2d(x, w, mr.tensor(np.ones(2)))
    with pytest.raises(ShapeError, match=r"\(K, C / groups, R, S\), got \(2, 3, 3\)"):
        F.conv2d(x, w[0])
