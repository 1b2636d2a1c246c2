"""Backward never writes into an array that something else holds."""

import numpy as np
import pytest

import minires as mr


def leaf(values):
    return mr.tensor(np.asarray(values, np.float64), requires_grad=True)


def values(*tensors):
    return [t.numpy().tolist() for t in tensors]


class Scaled(mr.Op):
    """Σ w · x, whose gradient is the saved tensor itself."""

    def forward(self, x, w):
        self.save(w)
        return (x * w).sum()

    def backward(self, gy):
        return self.saved[0], None


class Handing(mr.Op):
    """x · 1; its backward hands on a gradient that it also keeps, as a user's operation may."""

    def forward(self, x):
        return x * 1.0

    def backward(self, gy):
        kept.append(gy)
        return (gy,)


kept = []


def test_accumulating_does_not_write_into_the_given_gradient():
    x, ones = leaf([1.0, 2.0]), mr.tensor(np.ones(2))
    y = x * 1.0
    mr.grad([y, y, y], x, [ones, ones, ones])
    (x + x + x + x).backward(ones)
    (x + x).backward(ones)
    assert values(ones, x.grad) == [[1.0, 1.0], [6.0, 6.0]]


def test_accumulating_does_not_write_into_what_an_operation_or_a_hook_keeps():
    kept.clear()
    x = leaf([1.0, 2.0])
    y = x * 1.0
    heard = []
    branches = [Handing.apply(y) for _ in range(4)]
    for branch in branches:
        branch.register_hook(heard.append)
    (branches[0] + branches[1] + branches[2] + branches[3]).sum().backward()
    assert values(*kept, *heard) == [[1.0, 1.0]] * 8
    assert values(x.grad) == [[4.0, 4.0]]


def test_accumulating_does_not_write_into_a_saved_array():
    x, w = leaf([1.0, 2.0]), mr.tensor(np.array([3.0, 4.0]))
    (Scaled.apply(x, w) + Scaled.apply(x, w) + Scaled.apply(x, w)).backward()
    assert values(w, x.grad) == [[3.0, 4.0], [9.0, 12.0]]


def test_the_gradient_that_add_hands_to_both_is_nobody_s_to_write():
    a, b, c = leaf([1.0, 2.0]), leaf([3.0, 4.0]), leaf([5.0, 6.0])
    (a + b + a + c + a).sum().backward()
    assert values(a.grad, b.grad, c.grad) == [[3.0, 3.0], [1.0, 1.0], [1.0, 1.0]]


def test_an_earlier_grad_that_somebody_holds_stays_as_it_was():
    x = leaf([1.0, 2.0])
    (x * 2.0).sum().backward()
    before = x.grad
    (x * 3.0).sum().backward()
    assert values(before, x.grad) == [[2.0, 2.0], [5.0, 5.0]]


PASSES = {
    "given": lambda a, b, g: (a + b).backward(g),
    "handed to both": lambda a, b, g: (a + b).sum().backward(),
    "broadcast": lambda a, b, g: (a.sum() + b.sum()).backward(),
    "reshaped": lambda a, b, g: (a.reshape(2, 1) + b.reshape(2, 1)).backward(mr.tensor(np.ones((2, 1)))),
    "reversed": lambda a, b, g: (a + b[::-1])[::-1].backward(g),
    "recorded": lambda a, b, g: (a + b).backward(g, create_graph=True),
    "saved": lambda a, b, g: (Scaled.apply(a, g) + b.sum()).backward(),
    "retained": lambda a, b, g: [s := a + b, s.retain_grad(), s.backward(g)],
}


@pytest.mark.parametrize("name", sorted(PASSES))
def test_every_grad_has_memory_of_its_own_and_may_be_written(name):
    a, b, g = leaf([1.0, 2.0]), leaf([3.0, 4.0]), mr.tensor(np.ones(2))
    PASSES[name](a, b, g)
    assert not np.shares_memory(a.grad.array, b.grad.array)
    a.grad.assign_(0.0)  # as a user who clips gradients does
    assert values(a.grad, b.grad, g) == [[0.0, 0.0], [1.0, 1.0], [1.0, 1.0]]


def test_writing_into_a_grad_does_not_change_what_a_hook_or_an_operation_keeps():
    kept.clear()
    x, heard = leaf([1.0, 2.0]), []
    x.register_hook(heard.append)
    Handing.apply(x).backward(mr.tensor(np.array([3.0, 4.0])))
    x.grad.assign_(0.0)
    assert values(*heard, *kept) == [[3.0, 4.0], [3.0, 4.0]]


def test_a_gradient_keeps_the_memory_order_of_its_tensor():
    images = mr.tensor(np.zeros((4, 5, 2, 3)).transpose(2, 3, 0, 1), requires_grad=True)
    for _ in range(2):
        (images * images + images).sum().backward()
        assert images.grad.array.strides == images.array.strides


def test_grads_with_a_history_accumulate_as_part_of_the_graph():
    x = leaf(3.0)
    for _ in range(2):
        y = x * x * x
        with mr.no_grad():  # create_graph decides, not where the call stands
            y.backward(create_graph=True)
    assert x.grad.item() == 54.0
    (second,) = mr.grad(x.grad, x)
    assert second.item() == 36.0  # 2 · 6x
    (x * 1.0).backward()
    assert not x.grad.requires_grad


def test_a_gradient_that_a_hook_returns_stays_the_hooks():
    """Batch norm overwrites a gradient that nothing else holds; this one is held."""
    x = leaf(np.random.default_rng(0).standard_normal((2, 3, 4, 4)))
    (held,) = mr.grad((x * x).sum(), [x])
    kept = held.array.copy()
    gamma, beta = leaf(np.ones(3)), leaf(np.zeros(3))
    y = mr.functional.batch_norm(x, None, None, gamma, beta, training=True)
    y.register_hook(lambda gradient: held)
    (y * 1.0).sum().backward()
    assert np.array_equal(held.array, kept)
