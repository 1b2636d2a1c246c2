import numpy as np
import pytest

import minires as mr
from minires.errors import DtypeError, GraphError, ShapeError

F = mr.functional


def leaf(rng, *shape):
    return mr.tensor(rng.standard_normal(shape), requires_grad=True)


def test_the_recorded_second_derivative_equals_the_hand_written_one():
    rng = np.random.default_rng(1)
    x, gamma, beta = leaf(rng, 3, 2, 2, 2), leaf(rng, 2), leaf(rng, 2)
    seeds = [mr.tensor(rng.standard_normal(t.shape)) for t in (x, gamma, beta)]
    y = F.batch_norm(x, None, None, gamma, beta, training=True, eps=0.1)
    gradients = mr.grad((y * y * y).sum(), (x, gamma, beta), create_graph=True)
    by_hand = mr.grad(gradients, (x, gamma), seeds, retain_graph=True)
    recorded = mr.grad(gradients, (x, gamma), seeds, create_graph=True)
    for a, b in zip(by_hand, recorded, strict=True):
        # Two orders of the same few hundred additions of terms at most 10⁴ in size: 300 · 2⁻⁵³ · 10⁴.
        assert np.abs(a.numpy() - b.numpy()).max() <= 3.4e-10
        assert b.requires_grad


def test_the_third_derivative_is_the_second_ones_difference_quotient():
    rng = np.random.default_rng(2)
    point, d, gamma, beta = (
        rng.standard_normal((2, 1, 2, 2)),
        rng.standard_normal((2, 1, 2, 2)),
        np.ones(1),
        np.zeros(1),
    )

    def second(values, record):
        x = mr.tensor(values, requires_grad=True)
        y = F.batch_norm(x, None, None, mr.tensor(gamma), mr.tensor(beta), training=True, eps=0.5)
        (g,) = mr.grad((y * y * y).sum(), x, create_graph=True)
        (h,) = mr.grad(g, x, mr.tensor(d), create_graph=record)
        return x, h

    x, h = second(point, True)
    third = (mr.grad(h, x, mr.tensor(d))[0].numpy() * d).sum()
    step = 2.0**-13
    above, below = ((second(point + sign * step * d, False)[1].numpy() * d).sum() for sign in (1, -1))
    # A central difference errs by step²/6 times the fifth derivative, here some hundreds at most.
    assert abs((above - below) / (2 * step) - third) <= 1e3 * step**2


def test_the_recorded_second_derivative_needs_no_graph_of_gy():
    rng = np.random.default_rng(3)
    x, gamma, beta = leaf(rng, 3, 2, 2, 2), leaf(rng, 2), leaf(rng, 2)
    gy, seed = (mr.tensor(rng.standard_normal(x.shape)) for _ in range(2))
    (g,) = mr.grad(F.batch_norm(x, None, None, gamma, beta, training=True), x, gy, create_graph=True)
    by_hand = mr.grad(g, (x, gamma), seed, retain_graph=True)
    recorded = mr.grad(g, (x, gamma), seed, create_graph=True)
    for a, b in zip(by_hand, recorded, strict=True):
        # Two orders of some dozen additions of terms at most 10² in size: 50 · 2⁻⁵³ · 10².
        assert np.abs(a.numpy() - b.numpy()).max() <= 5.6e-13


def test_running_statistics_follow_pytorchs_convention():
    x = mr.tensor(np.arange(16.0).reshape(2, 2, 2, 2))
    mean, var = mr.tensor(np.array([1.0, 2.0])), mr.tensor(np.array([3.0, 4.0]))
    F.batch_norm(x, mean, var, training=True, momentum=0.25)
    for c in range(2):
        values = x.numpy()[:, c].ravel()
        assert mean.numpy()[c] == pytest.approx(0.75 * (1.0 + c) + 0.25 * values.mean(), rel=1e-15)
        assert var.numpy()[c] == pytest.approx(0.75 * (3.0 + c) + 0.25 * values.var(ddof=1), rel=1e-15)


def test_a_failed_call_changes_no_running_statistics():
    x, mean, var = mr.tensor(np.ones((1, 2, 1, 1))), mr.tensor(np.zeros(2)), mr.tensor(np.ones(2))
    with pytest.raises(ShapeError, match="more than one value per channel"):
        F.batch_norm(x, mean, var, training=True)
    with pytest.raises(ShapeError, match=r"running_var has shape \(3,\)"):
        F.batch_norm(x, mean, mr.tensor(np.ones(3)), training=True)
    with pytest.raises(GraphError, match="needs running_mean and running_var"):
        F.batch_norm(x, None, None)
    assert (mean.numpy().tolist(), var.numpy().tolist()) == ([0.0, 0.0], [1.0, 1.0])


def test_relu_has_gradients_of_gradients():
    x = mr.tensor(np.array([-1.0, 0.0, 2.0]), requires_grad=True)
    y = F.relu(x)
    (g,) = mr.grad((y * y * y).sum(), x, create_graph=True)
    (h,) = mr.grad(g.sum(), x)
    assert (g.numpy().tolist(), h.numpy().tolist()) == ([0.0, 0.0, 12.0], [0.0, 0.0, 12.0])


def test_options_and_operands_that_are_impossible_are_named():
    x = mr.tensor(np.ones((2, 1, 2, 2)))
    with pytest.raises(ValueError, match="eps must be a finite number that is not negative, got -1"):
        F.batch_norm(x, None, None, training=True, eps=-1)
    with pytest.raises(DtypeError, match="batch norm needs a float tensor, got int64"):
        F.batch_norm(x.to("int64"), None, None, training=True)
    with pytest.raises(TypeError, match="running_mean must be a Tensor, not a ndarray"):
        F.batch_norm(x, np.zeros(1), np.ones(1))


def test_nan_reaches_the_input_through_relu():
    x = mr.tensor([np.nan, -1.0, 1.0], requires_grad=True)
    F.relu(x).sum().backward()
    assert x.grad.numpy().tolist() == [1.0, 0.0, 1.0]  # as in PyTorch, where a NaN is not below the threshold
