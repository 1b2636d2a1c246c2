import gc
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minires as mr
from minires.errors import DtypeError, GraphError, ShapeError


def leaf(values):
    return mr.tensor(np.asarray(values, np.float64), requires_grad=True)


class Square(mr.Op):
    """The example of the design: an operation of a user's own."""

    def forward(self, x, *, scale=1.0):
        self.save(x)
        self.scale = scale
        return scale * x * x

    def backward(self, gy):
        (x,) = self.saved
        return (2 * self.scale * x * gy,)


def test_an_operation_of_ones_own_has_derivatives_of_every_order():
    x = leaf(3.0)
    y = Square.apply(x, scale=5.0)
    (first,) = mr.grad(y, x, create_graph=True)
    (second,) = mr.grad(first, x, create_graph=True)
    assert (y.item(), first.item(), second.item()) == (45.0, 30.0, 10.0)
    assert not second.requires_grad  # it is a constant


@st.composite
def programs(draw):
    """Integer-valued programs on three leaves: each step adds, multiplies or negates earlier values."""
    steps = []
    for n in range(3, 3 + draw(st.integers(1, 12))):
        steps.append((draw(st.sampled_from("+*-")), draw(st.integers(0, n - 1)), draw(st.integers(0, n - 1))))
    return steps, draw(st.lists(st.integers(-2, 2), min_size=3, max_size=3))


def by_forward_mode(steps, values, which):
    """(value, derivative by leaf ``which``) with dual numbers of Python integers."""
    duals = [(value, int(i == which)) for i, value in enumerate(values)]
    for kind, i, j in steps:
        (a, da), (b, db) = duals[i], duals[j]
        duals.append({"+": (a + b, da + db), "*": (a * b, a * db + da * b), "-": (-a, -da)}[kind])
    return duals[-1]


@given(program=programs())
def test_gradients_of_random_graphs_equal_forward_mode_in_python_integers(program):
    steps, values = program
    exact = [by_forward_mode(steps, values, i) for i in range(3)]
    bound = max(abs(v) for pair in exact for v in pair)
    leaves = [leaf(float(v)) for v in values]
    tensors = list(leaves)
    for kind, i, j in steps:
        a, b = tensors[i], tensors[j]
        tensors.append({"+": lambda a, b: a + b, "*": lambda a, b: a * b, "-": lambda a, b: -a}[kind](a, b))
    tensors[-1].backward()
    if bound < 2**53:  # beyond it, float64 rounds what Python's integers do not
        for variable, (value, derivative) in zip(leaves, exact, strict=True):
            assert tensors[-1].item() == value
            assert (0.0 if variable.grad is None else variable.grad.item()) == derivative


def test_a_chain_of_100000_operations_goes_forward_and_backward_and_is_freed():
    x = leaf(1.0)
    y = x
    for _ in range(100_000):
        y = y + 1.0
    middle = weakref.ref(y)
    y.backward()
    assert x.grad.item() == 1.0
    z = x
    for _ in range(100_000):
        z = -z
    del y, z
    gc.collect()
    assert middle() is None


def test_a_graph_is_used_once_unless_it_is_retained():
    x = leaf([1.0, 2.0])
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.numpy().tolist() == [4.0, 8.0]
    with pytest.raises(GraphError, match="retain_graph=True"):
        y.backward()
    assert x.grad.numpy().tolist() == [4.0, 8.0]


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


def test_what_was_not_saved_may_change():
    x = leaf([1.0, 2.0])
    y = (x + 1.0).sum()
    x.assign_(9.0)
    y.backward()
    assert x.grad.numpy().tolist() == [1.0, 1.0]


def test_tensors_own_a_read_only_copy():
    source = np.zeros(3)
    x = mr.tensor(source)
    source[:] = 7
    assert x.numpy().tolist() == [0.0, 0.0, 0.0]
    with pytest.raises(ValueError, match="read-only"):
        x.array[0] = 1.0
    with pytest.raises(TypeError):
        x[0] = 1.0


def test_a_tensor_keeps_the_memory_order_of_its_data():
    images = np.zeros((4, 5, 2, 3)).transpose(2, 3, 0, 1)
    assert mr.tensor(images).array.strides == images.strides


def test_saving_an_intermediate_names_save_constant():
    class Careless(mr.Op):
        def forward(self, x):
            self.save(x + 1)
            return x * 2

        def backward(self, gy):
            return (gy * 2.0,)

    with pytest.raises(GraphError, match=r"neither an input nor an output.*save_constant"):
        Careless.apply(leaf([1.0]))


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
    with pytest.raises(GraphError, match="no output depends on input 1"):
        mr.grad((x * 2.0).sum(), [x, leaf(1.0)])


def test_a_backward_with_the_wrong_number_or_shape_of_gradients_is_named():
    class TooMany(Square):
        def backward(self, gy):
            return gy, gy

    class WrongShape(Square):
        def backward(self, gy):
            return (gy.sum(),)

    with pytest.raises(GraphError, match=r"TooMany.backward returned 2 gradients for 1 inputs"):
        TooMany.apply(leaf([1.0])).backward()
    with pytest.raises(ShapeError, match=r"WrongShape.backward gave a gradient of shape \(\)"):
        WrongShape.apply(leaf([1.0])).backward()


def test_mixed_dtypes_raise_and_scalars_change_nothing():
    x = mr.tensor(np.ones(2, np.float32))
    with pytest.raises(DtypeError, match="different dtypes: float32, float64"):
        x + mr.tensor(np.ones(2))
    assert (x * 2).dtype == (2.5 * x).dtype == (x / np.float64(3)).dtype == np.float32
    with pytest.raises(DtypeError, match="would change the dtype of a int64 tensor"):
        mr.tensor([1, 2]) * 1.5
    with pytest.raises(TypeError, match=r"mr\.tensor"):
        np.ones(2, np.float32) * x


def test_nothing_is_recorded_inside_no_grad():
    x = leaf(2.0)
    with mr.no_grad():
        assert not (x * x).requires_grad

    @mr.no_grad()
    def squared(value):
        return value * value

    assert not squared(x).requires_grad
    assert (x * x).requires_grad


def test_hooks_see_the_complete_gradient_and_may_replace_it():
    x = leaf(3.0)
    y = x * 2.0
    seen = []
    y.register_hook(lambda g: seen.append(g.item()))
    remove = y.register_hook(lambda g: g * 10.0)
    (y * y + y).backward()
    assert seen == [13.0]
    assert x.grad.item() == 260.0
    remove()


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


def test_unused_gradients_are_not_computed():
    asked = []

    class Product(mr.Op):
        def forward(self, a, b):
            self.save(a, b)
            return a * b

        def backward(self, gy):
            a, b = self.saved
            asked.append(self.needs_grad)
            return gy * b, gy * a

    a, b = leaf(2.0), leaf(3.0)
    Product.apply(a, mr.tensor(np.float64(3.0))).backward()
    mr.grad(Product.apply(a, b), b)
    assert asked == [(True, False), (False, True)]


def test_an_array_that_backward_does_not_need_is_freed_during_the_forward_pass():
    x = leaf(np.ones(10))
    y = x * 2.0
    array = weakref.ref(y._array)
    z = y + 1.0
    del y
    assert array() is None
    z.sum().backward()
    assert x.grad.numpy().tolist() == [2.0] * 10


def test_no_two_gradients_share_their_memory():
    a, b, gy = leaf([1.0, 2.0]), leaf([3.0, 4.0]), mr.tensor(np.array([5.0, 6.0]))
    (a + b).backward(gy)
    a.grad.assign_(0.0)
    assert (b.grad.numpy().tolist(), gy.numpy().tolist()) == ([5.0, 6.0], [5.0, 6.0])
    gy.assign_(1.0)
    assert b.grad.numpy().tolist() == [5.0, 6.0]


def test_a_leaf_can_be_frozen_and_thawed():
    x = leaf([1.0])
    assert x.requires_grad_(False) is x
    assert not (x * 2.0).requires_grad
    (x.requires_grad_() * 2.0).backward()
    assert x.grad.item() == 2.0
    with pytest.raises(GraphError, match=r"only a leaf can be told .* use x\.detach\(\)"):
        (x * 2.0).requires_grad_()
    with pytest.raises(DtypeError, match="only floating-point tensors have gradients, not int64"):
        mr.tensor([1]).requires_grad_()
