"""Backward adds in place to gradients that nothing else holds, and passes them on without a copy."""

import numpy as np
import pytest

import minires as mr
from minires import functional as F


@pytest.fixture
def filters():
    return [mr.tensor(np.random.default_rng(n).standard_normal((2, 2, 3, 3)), requires_grad=True) for n in range(3)]


def image(seed=9):
    return mr.tensor(np.random.default_rng(seed).standard_normal((1, 2, 5, 5)), requires_grad=True)


def place(x):
    return x.array.__array_interface__["data"][0]


def conv(x, w):
    return F.conv2d(x, w, padding=1)


def expected(build, leaves):
    """Return the gradients from a recorded backward pass, which adds nothing in place."""
    return [g.numpy() for g in mr.grad(build().sum(), leaves, create_graph=True)]


def test_gradients_of_several_users_are_added_up(filters):
    x = image()

    def build():
        return sum(conv(x, w) for w in filters) + x

    build().sum().backward()
    for leaf, g in zip([x, *filters], expected(build, [x, *filters]), strict=True):
        np.testing.assert_allclose(leaf.grad.numpy(), g, rtol=1e-13)


def test_an_addition_that_hands_one_gradient_to_both_gives_neither_away(filters):
    x, y = image(), image(8)

    def build():
        left, right = x * 1.0, y * 1.0
        return conv(left + right, filters[0]) + conv(left, filters[1]) + conv(right, filters[2])

    build().sum().backward()
    for leaf, g in zip((x, y), expected(build, [x, y]), strict=True):
        np.testing.assert_allclose(leaf.grad.numpy(), g, rtol=1e-13)


def test_what_a_hook_was_shown_stays_as_it_was(filters):
    x, shown = image(), []
    middle = x * 2.0
    middle.register_hook(lambda g: shown.append((g, g.numpy().copy())))
    x.register_hook(lambda g: shown.append((g, g.numpy().copy())))
    (conv(middle, filters[0]) + conv(middle, filters[1]) + conv(x, filters[2])).sum().backward()
    assert len(shown) == 2
    for gradient, then in shown:
        np.testing.assert_array_equal(gradient.numpy(), then)
    assert place(x.grad) != place(shown[1][0])


def test_a_second_pass_adds_to_a_gradient_and_leaves_the_first_alone(filters):
    x, (w, *_) = image(), filters
    conv(x, w).sum().backward()
    first, then = w.grad, w.grad.numpy().copy()
    conv(x, w).sum().backward()
    np.testing.assert_array_equal(first.numpy(), then)
    np.testing.assert_allclose(w.grad.numpy(), 2 * then, rtol=1e-15)


def test_a_retained_gradient_is_not_what_flows_on(filters):
    x = image()
    y = conv(x, filters[0])
    y.retain_grad()
    (y + conv(y, filters[1])).sum().backward()
    then = y.grad.numpy().copy()
    y.grad.assign_(0 * then)
    assert x.grad.numpy().any()
    assert len({place(t.grad) for t in (x, y, *filters[:2])}) == 4


@pytest.mark.parametrize("shortcut", [False, True])
@pytest.mark.parametrize("relu", [False, True])
def test_batch_norm_writes_over_no_gradient_that_was_asked_for_or_shown(filters, relu, shortcut):
    shown, g, b = [], mr.ones(2, dtype=np.float64), mr.zeros(2, dtype=np.float64)

    def build(watch):
        x = image()
        y = F.batch_norm_act(x, None, None, g, b, True, shortcut=x if shortcut else None, relu=relu)
        watch(y)
        (conv(y, filters[0]) * image(3)).sum().backward(retain_graph=True)
        return x, y

    plain, _ = build(lambda y: None)
    hooked, y = build(lambda y: (y.retain_grad(), y.register_hook(shown.append)))
    (gy,) = mr.grad((conv(y, filters[0]) * image(3)).sum(), y, create_graph=True)
    assert [t.numpy().tolist() for t in (y.grad, shown[0])] == [gy.numpy().tolist()] * 2
    np.testing.assert_array_equal(plain.grad.numpy(), hooked.grad.numpy())


def test_a_gradient_lies_in_its_parameters_memory_order():
    x, w = image(), mr.tensor(np.random.default_rng(0).standard_normal((2, 2, 3, 3)), requires_grad=True)
    layer = mr.nn.Conv2d(2, 2, 3, padding=1)
    conv(x, w).sum().backward()
    layer.to(np.float64)(x).sum().backward()
    assert w.grad.array.strides == w.array.strides
    assert layer.weight.grad.array.strides == layer.weight.array.strides


def test_filters_of_a_layer_lie_so_that_each_tap_is_a_matrix():
    layer = mr.nn.Conv2d(3, 5, 3)
    assert layer.weight.array.transpose(2, 3, 1, 0).flags.c_contiguous
    state = {name: np.ascontiguousarray(value.numpy()) for name, value in layer.state_dict().items()}
    layer.load_state_dict(state)
    assert layer.weight.array.transpose(2, 3, 1, 0).flags.c_contiguous
    assert layer.to(np.float64).weight.array.transpose(2, 3, 1, 0).flags.c_contiguous
