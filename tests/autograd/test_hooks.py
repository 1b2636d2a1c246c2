import numpy as np
import pytest

import minires as mr
from minires.errors import DtypeError, GraphError, ShapeError


def leaf(values):
    return mr.tensor(np.asarray(values, np.float64), requires_grad=True)


def test_hooks_see_the_complete_gradient_and_may_replace_it():
    x = leaf(3.0)
    y = x * 2.0
    seen = []
    y.register_hook(lambda g: seen.append(g.item()))
    y.register_hook(lambda g: g * 10.0)
    y.register_hook(lambda g: seen.append(g.item()))
    (y * y + y).backward()
    assert seen == [13.0, 130.0]
    assert x.grad.item() == 260.0


def test_a_hook_is_called_once_a_pass_on_leaves_too():
    x, seen = leaf([1.0, 2.0]), []
    x.register_hook(lambda g: seen.append(g.numpy().tolist()))
    y = (x * x).sum() + x.sum()
    y.backward(retain_graph=True)
    mr.grad(y, x)
    assert seen == [[3.0, 5.0]] * 2


def test_hooks_run_only_where_a_gradient_is_asked_for():
    x, w, seen = leaf(2.0), leaf(3.0), []
    w.register_hook(lambda g: seen.append("w"))
    x.register_hook(lambda g: seen.append("x"))
    mr.grad(x * w, x)
    assert seen == ["x"]


def test_a_removed_hook_is_gone_and_no_other():
    def double(gradient):
        return gradient * 2.0

    x = leaf(1.0)
    first, second = x.register_hook(double), x.register_hook(double)
    first()
    first()  # nothing more to remove
    (x * 1.0).backward()
    assert x.grad.item() == 2.0
    second()
    (x * 1.0).backward()
    assert x.grad.item() == 3.0


def test_a_hook_may_remove_itself():
    x, seen = leaf(1.0), []

    def once(gradient):
        seen.append(gradient.item())
        remove()

    remove = x.register_hook(once)
    x.register_hook(lambda g: seen.append(-g.item()))
    for _ in range(2):
        (x * 2.0).backward()
    assert seen == [2.0, -2.0, -2.0]


def test_what_a_hook_does_is_differentiated_with_create_graph_and_only_then():
    x, recorded = leaf(3.0), []
    y = x * x
    y.register_hook(lambda g: recorded.append((g * x).requires_grad))
    y.register_hook(lambda g: g * x)  # dz/dx becomes 2x · x
    (first,) = mr.grad(y * 1.0, x, create_graph=True)
    (second,) = mr.grad(first, x, retain_graph=True)
    assert (first.item(), second.item()) == (18.0, 12.0)
    with mr.no_grad():  # where the call stands does not matter
        (first,) = mr.grad(y, x, create_graph=True)
    assert first.requires_grad
    y.backward()
    assert not x.grad.requires_grad
    assert recorded == [True, True, False]


@pytest.mark.parametrize(
    ("returned", "error"),
    [
        (np.ones(2), GraphError),
        (mr.tensor(np.ones(3)), ShapeError),
        (mr.tensor(np.ones(2, np.float32)), DtypeError),
    ],
)
def test_a_hook_that_returns_no_gradient_of_its_tensor_is_named(returned, error):
    x = leaf([1.0, 2.0])
    x.register_hook(lambda g: returned)
    with pytest.raises(error, match="a hook gave a"):
        (x * 2.0).sum().backward()
    assert x.grad is None


def test_a_backward_pass_may_be_run_inside_a_hook():
    x, inner = leaf(3.0), leaf(2.0)
    y, z = x * x, inner * inner
    y.register_hook(lambda g: z.backward())
    (y * 2.0).backward()
    assert (x.grad.item(), inner.grad.item()) == (12.0, 4.0)


def test_hooks_stay_while_the_gradient_is_switched_off_and_on_again():
    x = leaf([1.0, 2.0])
    x.register_hook(lambda g: g * 10.0)
    removed = x.register_hook(lambda g: g * 3.0)
    for _ in range(2):
        x.requires_grad = False
        x.requires_grad = True
    x.requires_grad_(False)
    removed.remove()
    x.requires_grad_()
    (x * 2.0).sum().backward()
    assert x.grad.numpy().tolist() == [20.0, 20.0]
