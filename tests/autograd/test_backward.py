import gc
import inspect
import sys
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minires as mr
from minires.errors import DtypeError, GraphError, ShapeError


def leaf(values):
    return mr.tensor(np.asarray(values, np.float64), requires_grad=True)


def values(*tensors):
    return [t.numpy().tolist() for t in tensors]


class Square(mr.Op):
    def forward(self, x):
        self.save(x)
        return x * x

    def backward(self, gy):
        return (2 * self.saved[0] * gy,)


# What it computes


@st.composite
def programs(draw):
    """Draw a program of integers on three leaves; each step adds, multiplies or negates earlier values."""
    steps = []
    for n in range(3, 3 + draw(st.integers(1, 12))):
        steps.append((draw(st.sampled_from("+*-")), draw(st.integers(0, n - 1)), draw(st.integers(0, n - 1))))
    return steps, draw(st.lists(st.integers(-2, 2), min_size=3, max_size=3))


def by_forward_mode(steps, numbers, which):
    """Return all values and their derivatives by leaf ``which``, from dual numbers of Python integers."""
    duals = [(number, int(i == which)) for i, number in enumerate(numbers)]
    for kind, i, j in steps:
        (a, da), (b, db) = duals[i], duals[j]
        duals.append({"+": (a + b, da + db), "*": (a * b, a * db + da * b), "-": (-a, -da)}[kind])
    return duals


@given(program=programs())
def test_gradients_of_random_graphs_equal_forward_mode_in_python_integers(program):
    steps, numbers = program
    exact = [by_forward_mode(steps, numbers, i) for i in range(3)]
    bound = max(abs(v) for duals in exact for pair in duals for v in pair)
    leaves = [leaf(float(v)) for v in numbers]
    tensors = list(leaves)
    for kind, i, j in steps:
        a, b = tensors[i], tensors[j]
        tensors.append({"+": lambda a, b: a + b, "*": lambda a, b: a * b, "-": lambda a, b: -a}[kind](a, b))
    tensors[-1].backward()
    if bound < 2**53:  # beyond it, float64 rounds what Python's integers do not
        for variable, duals in zip(leaves, exact, strict=True):
            assert tensors[-1].item() == duals[-1][0]
            assert (0.0 if variable.grad is None else variable.grad.item()) == duals[-1][1]


def test_gradients_reach_tensors_that_are_not_leaves():
    x = leaf(3.0)
    y = x * 2.0
    z = y * y
    (gy,) = mr.grad(z, y, retain_graph=True)
    assert gy.item() == 12.0
    assert x.grad is None
    y.retain_grad()
    z.backward()
    assert (y.grad.item(), x.grad.item()) == (12.0, 24.0)


def test_the_gradient_of_several_outputs_is_that_of_their_weighted_sum():
    x = leaf([1.0, 2.0])
    y, z = x * 3.0, (x * x).sum()
    (gx,) = mr.grad([y, z, y], x, [mr.tensor(np.array([1.0, 10.0])), None, mr.tensor(np.array([100.0, 0.0]))])
    assert values(gx) == [[305.0, 34.0]]
    assert values(*mr.grad(x * 1.0, [x, x], mr.tensor(np.ones(2)))) == [[1.0, 1.0]] * 2
    (unused,) = mr.grad(x.sum(), leaf(1.0), allow_unused=True)
    assert unused is None


def test_a_leaf_is_its_own_gradient_s_place():
    x = leaf(3.0)
    x.backward()
    assert x.grad.item() == mr.grad(x, x)[0].item() == 1.0


def test_the_gradient_with_respect_to_the_given_gradient_is_recorded_too():
    x, g = leaf([1.0, 2.0]), leaf([10.0, 20.0])
    (gx,) = mr.grad((x * x), x, g, create_graph=True)
    assert values(*mr.grad(gx.sum(), [x, g])) == [[20.0, 40.0], [2.0, 4.0]]
    (gx,) = mr.grad(x + 1.0, x, g)
    assert not gx.requires_grad  # without create_graph, no result has a history


def test_a_part_of_the_backward_pass_can_be_done_after_the_other():
    x = leaf([1.0, 2.0])
    y = x * x
    (gy,) = mr.grad((y * y).sum(), y)  # frees what is after y alone
    y.backward(gy)
    assert values(x.grad) == [[4.0, 32.0]]


@pytest.mark.parametrize("length", [20_000, pytest.param(100_000, marks=pytest.mark.long)])
def test_a_long_chain_of_operations_touches_no_recursion_limit_on_any_way(length):
    x, limit = leaf(1.0), sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 100)
    try:
        y, links = x, []
        for i in range(length):
            y = y + 1.0 if i % 2 else -y
            if i % (length // 10) == 0:
                links.append(weakref.ref(y._op))
        y.backward(retain_graph=True)
        (gx,) = mr.grad(y, x, create_graph=True)  # whose history is as long
        assert x.grad.item() == gx.item() == 1.0
        gc.disable()
        del y, gx  # never used up: what is freed here is the whole chain
        assert [link() for link in links] == [None] * 10
    finally:
        gc.enable()
        sys.setrecursionlimit(limit)


def test_the_backward_pass_frees_as_it_goes():
    held = []

    class Watch(mr.Op):
        def forward(self, x):
            self.save(x)
            return x * 1.0

        def backward(self, gy):
            held.append([array() is not None for array in arrays])
            return (gy,)

    x, arrays = leaf(np.ones(3)), []
    y = x
    for _ in range(3):
        y = Watch.apply(y * 2.0)
        arrays.append(weakref.ref(y._op._kept[0][0]._array))
    y.sum().backward()
    assert held == [[True, True, True], [True, True, False], [True, False, False]]


# The same graph again


def test_a_graph_is_used_once_unless_it_is_retained():
    x = leaf([1.0, 2.0])
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert values(x.grad) == [[4.0, 8.0]]
    for again in (y.backward, lambda: mr.grad(y, x), (y * 2.0).backward):
        with pytest.raises(GraphError, match="retain_graph=True"):
            again()
    assert values(x.grad) == [[4.0, 8.0]]


def test_create_graph_retains_unless_told_otherwise():
    x = leaf(2.0)
    y = x * x * x
    y.backward(create_graph=True)
    y.backward(retain_graph=False, create_graph=True)
    assert (x.grad.item(), x.grad.requires_grad) == (24.0, True)
    with pytest.raises(GraphError, match="retain_graph=True"):
        y.backward()


def test_a_saved_value_that_changed_is_an_error_and_not_a_wrong_gradient():
    x = leaf([1.0, 2.0])
    y = (x * x).sum()
    x.assign_([5.0, 6.0])
    with pytest.raises(GraphError, match=r"a tensor of shape \(2,\).* that Multiply saved.*changed 1 time"):
        y.backward()
    assert x.grad is None


def test_a_change_through_a_view_or_a_detached_twin_is_noticed_too():
    x = leaf([1.0, 2.0])
    view = x.reshape(2, 1)
    y = (view * view).sum()
    x.detach().assign_(0.0)
    with pytest.raises(GraphError, match="changed"):
        y.backward()


def test_a_saved_output_that_changed_is_noticed():
    x = leaf(1.0)
    y = x.exp()
    y.detach().assign_(0.0)
    with pytest.raises(GraphError, match="that Exp saved"):
        y.backward()


def test_what_was_not_saved_may_change():
    x = leaf([1.0, 2.0])
    y = (x + 1.0).sum()
    x.assign_(9.0)
    y.backward()
    assert values(x.grad) == [[1.0, 1.0]]


# Misuse


def test_each_misuse_of_backward_says_what_to_do():
    x = leaf([1.0, 2.0])
    with pytest.raises(GraphError, match="has no graph"):
        mr.tensor([1.0]).backward()
    with pytest.raises(GraphError, match=r"shape \(2,\) must be given"):
        (x * 2.0).backward()
    with pytest.raises(ShapeError, match=r"gave a gradient of shape \(3,\).*for a tensor of shape \(2,\)"):
        (x * 2.0).backward(mr.tensor(np.ones(3)))
    with pytest.raises(DtypeError, match=r"gave a gradient of .* float32 on cpu for a tensor of .* float64 on cpu"):
        (x * 2.0).backward(mr.tensor(np.ones(2, np.float32)))
    for plain in (np.ones(2), 1.0, [1.0, 1.0]):
        with pytest.raises(GraphError, match=f"gave a {type(plain).__name__} as a gradient, not a Tensor"):
            (x * 2.0).backward(plain)
    with pytest.raises(GraphError, match="no output depends on input 1"):
        mr.grad((x * 2.0).sum(), [x, leaf(1.0)])
    with pytest.raises(GraphError, match="2 grad_outputs were given for 1 outputs"):
        mr.grad((x * 2.0).sum(), x, [None, None])
    with pytest.raises(GraphError, match="has no graph"):
        mr.grad((x * 2.0).sum(), mr.tensor(1.0))
    assert x.grad is None


def test_a_refused_call_leaves_the_graph_as_it_was():
    x, other, heard = leaf([1.0, 2.0]), leaf(1.0), []
    x.register_hook(heard.append)
    y = (x * x).sum()
    with pytest.raises(GraphError, match="no output depends on input 1"):
        mr.grad(y, [x, other])
    with pytest.raises(ShapeError, match=r"shape \(2,\)"):
        y.backward(mr.tensor(np.ones(2)))
    assert heard == []
    y.backward()
    assert values(x.grad) == [[2.0, 4.0]]


def test_a_backward_with_the_wrong_number_or_kind_of_gradients_is_named():
    class TooMany(Square):
        def backward(self, gy):
            return gy, gy

    class WrongShape(Square):
        def backward(self, gy):
            return (gy.sum(),)

    class Plain(Square):
        def backward(self, gy):
            return (gy.array,)

    with pytest.raises(GraphError, match=r"TooMany.backward returned 2 gradients for 1 inputs"):
        TooMany.apply(leaf([1.0])).backward()
    with pytest.raises(ShapeError, match=r"WrongShape.backward gave a gradient of shape \(\)"):
        WrongShape.apply(leaf([1.0])).backward()
    with pytest.raises(GraphError, match=r"Plain.backward gave a ndarray as a gradient, not a Tensor"):
        Plain.apply(leaf([1.0])).backward()


def test_an_error_in_the_middle_of_the_pass_fills_no_gradient():
    class Broken(Square):
        def backward(self, gy):
            raise ZeroDivisionError

    x, w = leaf(2.0), leaf(3.0)
    with pytest.raises(ZeroDivisionError):
        (Broken.apply(x) * w).backward()
    assert (x.grad, w.grad) == (None, None)


def test_a_backward_that_answers_none_claims_zero():
    class Flat(Square):
        def backward(self, gy):
            return (None,)

    x = leaf([1.0, 2.0])
    assert mr.grad(Flat.apply(x).sum(), x)[0].numpy().tolist() == [0.0, 0.0]
    assert mr.grad(Flat.apply(x).sum(), x, allow_unused=True) == (None,)


def test_a_leaf_frozen_after_the_forward_pass_gets_no_gradient():
    x, w, seen = leaf([1.0, 2.0]), leaf([3.0, 4.0]), []
    x.register_hook(lambda g: seen.append("x"))
    y = (x * w).sum()
    x.requires_grad = False
    y.backward(retain_graph=True)
    assert x.grad is None
    assert w.grad.numpy().tolist() == [1.0, 2.0]
    x.requires_grad = True  # as before the graph was made
    y.backward()
    assert x.grad.numpy().tolist() == [3.0, 4.0]
    assert seen == ["x", "x"]  # hooks are called all the same, as in PyTorch
