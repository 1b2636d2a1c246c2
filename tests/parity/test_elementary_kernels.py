"""The conventions at corners, and the optimizers, against PyTorch."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minires.kernels.reference import arithmetic as ar
from minires.kernels.reference import reduction as red
from minires.kernels.reference.optim import adam_, sgd_

torch = pytest.importorskip("torch")
NAN = float("nan")
seeds = st.integers(0, 2**32 - 1)


def gradients(function, *arrays):
    tensors = [torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in arrays]
    function(*tensors).sum().backward()
    return [t.grad.numpy() for t in tensors]


def with_ties(seed, shape, nan):
    x = np.random.default_rng(seed).integers(-2, 3, shape).astype(np.float64)
    if nan:
        x.flat[seed % x.size] = NAN
    return x


@pytest.mark.parametrize(("low", "high"), [(-1, 1), (None, 1), (-1, None), (1, -1)])
@given(seed=seeds, nan=st.booleans())
def test_clip_and_its_derivative_are_pytorchs(low, high, seed, nan):
    x = with_ties(seed, (3, 4), nan)
    np.testing.assert_array_equal(ar.clip(x, low, high), torch.tensor(x).clamp(low, high).numpy())
    np.testing.assert_array_equal(ar.clip_mask(x, low, high), gradients(lambda a: a.clamp(low, high), x)[0])


@given(seed=seeds, nan=st.booleans())
def test_the_shares_of_maximum_and_minimum_are_pytorchs(seed, nan):
    a, b = with_ties(seed, (3, 4), nan), with_ties(seed + 1, (3, 4), nan)
    ga, gb = gradients(torch.maximum, a, b)
    np.testing.assert_array_equal(ar.maximum_mask(a, b), ga)
    np.testing.assert_array_equal(ar.maximum_mask(b, a), gb)
    ga, gb = gradients(torch.minimum, a, b)
    np.testing.assert_array_equal(ar.maximum_mask(b, a), ga)
    np.testing.assert_array_equal(ar.maximum_mask(a, b), gb)
    np.testing.assert_array_equal(ar.maximum(a, b), torch.maximum(torch.tensor(a), torch.tensor(b)).numpy())


@given(seed=seeds, nan=st.booleans())
def test_the_derivative_of_absolute_is_pytorchs(seed, nan):
    x = with_ties(seed, (3, 4), nan)
    np.testing.assert_array_equal(ar.sign(x), gradients(torch.abs, x)[0])


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
@given(seed=seeds, nan=st.booleans())
def test_the_shares_of_a_largest_and_a_smallest_element_are_pytorchs(axis, seed, nan):
    x = with_ties(seed, (3, 4), nan)
    largest, smallest = (
        (torch.max, torch.min) if axis is None else (lambda a: a.max(dim=axis).values, lambda a: a.min(dim=axis).values)
    )
    np.testing.assert_array_equal(red.amax_share(x, axis), gradients(largest, x)[0])
    np.testing.assert_array_equal(red.amin_share(x, axis), gradients(smallest, x)[0])
    np.testing.assert_array_equal(red.argmax(x, axis), torch.tensor(x).argmax(axis).numpy())
    np.testing.assert_array_equal(red.argmin(x, axis), torch.tensor(x).argmin(axis).numpy())


@pytest.mark.parametrize("axis", [None, 0, (1, 2)])
@pytest.mark.parametrize("correction", [0, 1, 2])
@given(seed=seeds)
def test_variance_is_pytorchs(correction, axis, seed):
    # Up to 60 additions of numbers of size 1 on either side: 60 ulp each.
    x = np.random.default_rng(seed).standard_normal((4, 3, 5))
    expected = torch.tensor(x).var(axis, correction=correction, keepdim=True).numpy()
    actual = red.var(x, axis, True, correction)
    np.testing.assert_allclose(actual, expected.reshape(actual.shape), rtol=120 * np.finfo(float).eps)


def trained(make, x, gs):
    p = torch.tensor(x, requires_grad=True)
    optimizer = make([p])
    for g in gs:
        p.grad = torch.tensor(g)
        optimizer.step()
    return p.detach().numpy()


@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
@pytest.mark.parametrize(
    ("momentum", "dampening", "nesterov"),
    [(0.0, 0.0, False), (0.9, 0.0, False), (0.9, 0.3, False), (0.9, 0.0, True)],
)
@given(seed=seeds)
def test_sgd_is_pytorchs(momentum, dampening, nesterov, weight_decay, seed):
    # A dozen roundings a step, four steps, numbers below 10.
    rng = np.random.default_rng(seed)
    p, gs = rng.standard_normal(6), rng.standard_normal((4, 6))
    expected = trained(lambda params: torch.optim.SGD(params, 0.1, momentum, dampening, weight_decay, nesterov), p, gs)
    velocity = np.empty(6)
    for step, g in enumerate(gs):
        sgd_([p], [g], [velocity] if momentum else None, 0.1, momentum, dampening, weight_decay, nesterov, step == 0)
    np.testing.assert_allclose(p, expected, rtol=0, atol=10 * 48 * np.finfo(float).eps)


@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
@given(seed=seeds)
def test_adam_is_pytorchs(weight_decay, decoupled, seed):
    # As above, and v carries the relative error of 1 − 0.999, about 1000 ulp, into a step of size 0.1.
    rng = np.random.default_rng(seed)
    p, gs = rng.standard_normal(6), rng.standard_normal((4, 6))
    kind = torch.optim.AdamW if decoupled else torch.optim.Adam
    expected = trained(lambda params: kind(params, 0.1, weight_decay=weight_decay), p, gs)
    m, v = np.zeros(6), np.zeros(6)
    for step, g in enumerate(gs, start=1):
        adam_([p], [g], [m], [v], step, 0.1, weight_decay=weight_decay, decoupled=decoupled)
    np.testing.assert_allclose(p, expected, rtol=0, atol=1000 * np.finfo(float).eps)
