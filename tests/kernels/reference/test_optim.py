import copy
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minires.errors import DtypeError, ShapeError
from minires.kernels.reference.optim import adam_, sgd_

seeds = st.integers(0, 2**32 - 1)
shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=1, max_side=4)
STEPS = 4
# Each step is a dozen roundings of numbers of size about 1 to 10, STEPS of them: 200 ulp hold them all.
TOLERANCE = 200 * np.finfo(np.float64).eps


def sgd_scalar(p, gs, lr, momentum, dampening, weight_decay, nesterov):
    """Return one parameter and its buffer after all steps, in Python floats, by PyTorch's documentation."""
    buffer = None
    for g in gs:
        if weight_decay != 0:
            g = g + weight_decay * p
        if momentum != 0:
            buffer = g if buffer is None else momentum * buffer + (1 - dampening) * g
            g = g + momentum * buffer if nesterov else buffer
        p = p - lr * g
    return p, buffer


def adam_scalar(p, gs, lr, beta1, beta2, eps, weight_decay, decoupled):
    m = v = 0.0
    for t, g in enumerate(gs, start=1):
        if decoupled:
            p = p - lr * weight_decay * p
        else:
            g = g + weight_decay * p
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        m_hat = m / (1 - beta1**t)
        v_hat = v / (1 - beta2**t)
        p = p - lr * m_hat / (math.sqrt(v_hat) + eps)
    return p, m, v


def problem(seed, shape, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return rng.standard_normal(shape).astype(dtype), rng.standard_normal((STEPS, *shape)).astype(dtype)


@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize(("momentum", "dampening"), [(0.0, 0.0), (0.9, 0.0), (0.9, 0.3)])
@given(shape=shapes, seed=seeds)
def test_sgd_agrees_with_a_scalar_loop(momentum, dampening, nesterov, weight_decay, shape, seed):
    p0, gs = problem(seed, shape)
    p = np.array(p0)
    velocity = np.full(shape, np.nan) if momentum else None
    for step, g in enumerate(gs):
        sgd_(
            [p],
            [g],
            [velocity] if momentum else None,
            0.1,
            momentum,
            dampening,
            weight_decay,
            nesterov,
            first=step == 0,
        )
    for where in np.ndindex(shape):
        g = [float(x[where]) for x in gs]
        expected = sgd_scalar(float(p0[where]), g, 0.1, momentum, dampening, weight_decay, nesterov)
        assert p[where] == pytest.approx(expected[0], rel=TOLERANCE, abs=TOLERANCE * 10)
        if velocity is not None:
            assert velocity[where] == pytest.approx(expected[1], rel=TOLERANCE, abs=TOLERANCE * 10)


@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
@given(shape=shapes, seed=seeds)
def test_adam_agrees_with_a_scalar_loop(weight_decay, decoupled, shape, seed):
    p0, gs = problem(seed, shape)
    p, m, v = np.array(p0), np.zeros(shape), np.zeros(shape)
    for step, g in enumerate(gs, start=1):
        adam_([p], [g], [m], [v], step, 0.01, 0.8, 0.95, 1e-6, weight_decay, decoupled)
    for where in np.ndindex(shape):
        g = [float(x[where]) for x in gs]
        expected = adam_scalar(float(p0[where]), g, 0.01, 0.8, 0.95, 1e-6, weight_decay, decoupled)
        for actual, number in zip((p, m, v), expected, strict=True):
            assert actual[where] == pytest.approx(number, rel=TOLERANCE, abs=TOLERANCE * 10)


def test_velocity_under_a_constant_gradient_is_a_geometric_sum():
    # Powers of ½: exact.
    p, velocity, g = np.zeros(3), np.empty(3), np.array([1.0, -2.0, 4.0])
    for step in range(5):
        sgd_([p], [g], [velocity], 0.5, momentum=0.5, first=step == 0)
        np.testing.assert_array_equal(velocity, g * (1 - 0.5 ** (step + 1)) / (1 - 0.5))


@given(seed=seeds)
def test_adams_first_step_does_not_depend_on_the_size_of_the_gradient(seed):
    # lr · g / (|g| + eps), up to the roundings of m, v and their corrections (1 − beta loses 3 digits in v).
    g = np.random.default_rng(seed).standard_normal(5) * 10.0 ** np.arange(-2, 3)
    p = np.zeros(5)
    adam_([p], [g], [np.zeros(5)], [np.zeros(5)], 1, 0.1, eps=1e-8)
    np.testing.assert_allclose(p, -0.1 * g / (np.abs(g) + 1e-8), rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_steps_are_in_place_and_leave_the_gradient_and_the_dtype(dtype):
    p, gs = problem(0, (3, 4), dtype)
    g, before = gs[0], gs[0].copy()
    state = [np.zeros_like(p) for _ in range(3)]
    addresses = [x.ctypes.data for x in (p, *state)]
    start = p.copy()
    sgd_([p], [g], [state[0]], np.float64(0.1), np.float64(0.9), 0.0, 0.01, True, first=True)
    adam_([p], [g], [state[1]], [state[2]], 1, np.float64(0.1), weight_decay=0.01)
    assert [x.ctypes.data for x in (p, *state)] == addresses
    assert {x.dtype for x in (p, *state)} == {np.dtype(dtype)}
    assert (p != start).all()
    np.testing.assert_array_equal(g, before)


def test_numbers_of_numpy_and_of_python_give_the_same_bits():
    results = []
    for number in (float, np.float64):
        p, gs = problem(0, (50,), np.float32)
        velocity = np.zeros_like(p)
        for step, g in enumerate(gs):
            sgd_([p], [g], [velocity], number(0.1), number(0.9), number(0.1), number(0.01), False, step == 0)
        results.append(p)
    np.testing.assert_array_equal(*results)


def test_any_memory_order_gives_the_same_step():
    p, gs = problem(0, (3, 4))
    q = np.asfortranarray(p.copy())[::-1]
    sgd_([p], [gs[0]], None, 0.1)
    sgd_([q], [gs[0][::-1]], None, 0.1)
    np.testing.assert_array_equal(p, q[::-1])


def test_parameters_of_one_call_are_updated_as_by_calls_of_their_own():
    shapes = [(), (3, 4), (0,), (5,)]
    for step in (
        lambda p, g, a, b: sgd_(p, g, a, 0.1, 0.9, 0.1, 0.01),
        lambda p, g, a, b: sgd_(p, g, None, 0.1),
        lambda p, g, a, b: adam_(p, g, a, b, 3, 0.1, weight_decay=0.01),
    ):
        rng = np.random.default_rng(0)
        together = [[rng.random(shape) for shape in shapes] for _ in range(4)]
        apart = copy.deepcopy(together)
        step(*together)
        for arrays in zip(*apart, strict=True):
            step(*([array] for array in arrays))
        for mine, expected in zip(together[0] + together[2], apart[0] + apart[2], strict=True):
            np.testing.assert_array_equal(mine, expected)


def test_a_call_without_parameters_does_nothing():
    sgd_([], [], [], 0.1, 0.9)
    adam_([], [], [], [], 1, 0.1)


def test_an_empty_parameter_has_nothing_to_learn():
    p = np.zeros((0, 3))
    sgd_([p], [p.copy()], [p.copy()], 0.1, 0.9, first=True)
    adam_([p], [p.copy()], [p.copy()], [p.copy()], 1, 0.1)
    assert p.shape == (0, 3)


def test_without_momentum_the_velocity_is_left_alone():
    p, velocity = np.ones(2), np.full(2, 7.0)
    sgd_([p], [np.ones(2)], [velocity], 0.5)
    assert p.tolist() == [0.5, 0.5]
    assert velocity.tolist() == [7, 7]


def test_what_does_not_fit_raises_and_changes_nothing():
    p, g = np.ones((2, 3)), np.ones((2, 3))
    other, narrow = np.ones((3,)), np.ones((2, 3), np.float32)
    calls = [
        (ShapeError, r"\(2, 3\).*\(3,\)", lambda: sgd_([p], [other], None, 0.1)),
        (ShapeError, r"\(2, 3\).*\(3,\)", lambda: sgd_([p], [g], [other], 0.1, 0.9)),
        (ShapeError, "momentum 0.9 needs a velocity", lambda: sgd_([p], [g], None, 0.1, 0.9)),
        (DtypeError, "float64, float32", lambda: sgd_([p], [narrow], None, 0.1)),
        (ShapeError, r"\(2, 3\).*\(3,\)", lambda: adam_([p], [g], [g * 0], [other], 1, 0.1)),
        (ShapeError, "got step 0", lambda: adam_([p], [g], [g * 0], [g * 0], 0, 0.1)),
        (ShapeError, "2 parameters need as many arrays beside them, got 2 and 1", lambda: sgd_([p, p], [g, g], [g], 1)),
        (ShapeError, r"\(2, 3\).*\(3,\)", lambda: sgd_([p, p], [g, other], None, 0.1)),
        (DtypeError, "one dtype, got float32 and float64", lambda: sgd_([p, narrow], [g, narrow], None, 0.1)),
        (DtypeError, "float64, float64, float32", lambda: adam_([p], [g], [narrow], [g * 0], 1, 0.1)),
    ]
    for error, text, call in calls:
        with pytest.raises(error, match=text):
            call()
    assert (p == 1).all()
    assert (other == 1).all()
