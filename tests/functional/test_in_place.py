"""Which operations write in place, make a new tensor, or raise."""

import operator

import numpy as np
import pytest

import minires as mr
from minires.errors import DtypeError, GraphError, IndexingError, ShapeError

F = mr.functional
OPERATORS = {
    "+=": operator.iadd,
    "-=": operator.isub,
    "*=": operator.imul,
    "/=": operator.itruediv,
    "**=": operator.ipow,
    "@=": operator.imatmul,
}
METHODS = {"+=": "add_", "-=": "sub_", "*=": "mul_", "/=": "div_"}
CHANGES = {
    **{sign: lambda x, change=change: change(x, mr.ones(2, 2, dtype=x.dtype)) for sign, change in OPERATORS.items()},
    **{name: lambda x, name=name: getattr(x, name)(2) for name in METHODS.values()},
    "copy_": lambda x: x.copy_(np.ones((2, 2), np.float32)),
    "fill_": lambda x: x.fill_(3),
    "zero_": lambda x: x.zero_(),
    "[]=": lambda x: x.__setitem__(0, 3),
}


def leaf(numbers, dtype=np.float32):
    return mr.tensor(np.asarray(numbers, dtype), requires_grad=True)


def plain(numbers, dtype=np.float32):
    return mr.tensor(np.asarray(numbers, dtype))


@pytest.mark.parametrize("sign", OPERATORS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_an_operator_writes_into_a_leaf_as_numpy_does_into_an_array(sign, dtype):
    a, b = np.array([[1.0, 2.0], [0.5, 4.0]], dtype), np.array([[2.0, 1.0], [3.0, 0.5]], dtype)
    x = plain(a, dtype)
    memory, twin = x.array, x.detach()
    y = OPERATORS[sign](x, plain(b, dtype))
    assert y is x
    assert np.array_equal(x.numpy(), OPERATORS[sign](a.copy(), b))
    assert np.shares_memory(memory, x.array)
    assert np.array_equal(twin.numpy(), x.numpy())
    assert not x.array.flags.writeable


@pytest.mark.parametrize("sign", METHODS)
def test_a_method_does_what_the_operator_does_and_gives_the_tensor_back(sign):
    x, y = plain([3.0, 8.0]), plain([3.0, 8.0])
    assert getattr(x, METHODS[sign])(2) is x
    assert x.numpy().tolist() == OPERATORS[sign](y, 2).numpy().tolist()


def test_alpha_multiplies_what_is_added_or_subtracted():
    x = plain([1.0, 2.0])
    assert x.add_(plain([1.0, 10.0]), alpha=2).numpy().tolist() == [3.0, 22.0]
    assert x.sub_(1, alpha=np.float32(0.5)).numpy().tolist() == [2.5, 21.5]


def test_a_hand_written_update_moves_the_parameters():
    p = leaf([1.0, 2.0])
    (p * p).sum().backward()
    with mr.no_grad():
        for q in [p]:
            q -= 0.25 * q.grad
    assert p.numpy().tolist() == [0.5, 1.0]
    assert p.requires_grad


def test_a_moving_average_moves_its_buffer():
    norm = mr.nn.BatchNorm2d(2)
    buffer = norm.running_mean
    norm.running_mean *= 0.5
    norm.running_mean += 0.5 * mr.ones(2)
    assert norm.running_mean is buffer
    assert buffer.numpy().tolist() == [0.5, 0.5]


@pytest.mark.parametrize("change", CHANGES)
def test_a_leaf_that_requires_a_gradient_is_changed_inside_no_grad_alone(change):
    x = leaf(np.ones((2, 2)))
    with pytest.raises(GraphError, match=r"`with mr.no_grad\(\):`"):
        CHANGES[change](x)
    assert x.numpy().tolist() == [[1.0, 1.0], [1.0, 1.0]]
    y = (x * x).sum()
    with mr.no_grad():
        CHANGES[change](x)
    with pytest.raises(GraphError, match="changed 1 time"):
        y.backward()


@pytest.mark.parametrize("sign", OPERATORS)
def test_a_computed_tensor_makes_a_new_one_whose_gradient_is_right(sign):
    x = leaf([[1.0, 2.0], [3.0, 4.0]])
    y = before = x * 1.0
    other = plain([[2.0, 1.0], [1.0, 2.0]])
    y = OPERATORS[sign](y, other)
    assert y is not before
    assert before.numpy().tolist() == x.numpy().tolist()
    y.sum().backward()
    expected, x.grad = x.grad, None
    getattr(operator, OPERATORS[sign].__name__.removeprefix("i"))(x, other).sum().backward()
    assert x.grad.numpy().tolist() == expected.numpy().tolist()


@pytest.mark.parametrize("change", [name for name in CHANGES if name not in OPERATORS])
def test_what_has_no_result_to_give_refuses_a_computed_tensor(change):
    with pytest.raises(GraphError, match=r"was computed: make a new one, .* y.detach\(\).clone\(\)"):
        CHANGES[change](leaf(np.ones((2, 2))) * 1.0)


def test_a_loss_that_is_summed_up_keeps_its_history():
    w, total = leaf([1.0, 2.0]), mr.zeros(())
    for _ in range(3):
        total += (w * w).sum()
    total.backward()
    assert w.grad.numpy().tolist() == [6.0, 12.0]


def test_a_history_is_not_lost_in_silence():
    w, x = leaf([1.0, 2.0]), plain([0.0, 0.0])
    for write in (lambda: x.add_(w), lambda: x.copy_(w), lambda: x.__setitem__(0, w[0]), lambda: x.fill_(w.sum())):
        with pytest.raises(GraphError, match=r"history of what is written would be lost: write y.detach\(\)"):
            write()
    assert x.numpy().tolist() == [0.0, 0.0]
    x.add_(w.detach())
    with mr.no_grad():
        x.add_(w)
    assert x.numpy().tolist() == [2.0, 4.0]


def test_a_change_counts_where_an_operation_saved_the_value():
    x, w = plain([1.0, 2.0]), leaf([3.0, 4.0])
    y = (x * w).sum()
    x += 1
    with pytest.raises(GraphError, match="changed 1 time"):
        y.backward()


# Views


def test_a_view_of_a_leaf_writes_into_the_leaf():
    x = plain(np.zeros((2, 3)))
    for row in x:
        row += 1
    x.reshape(3, 2).permute(1, 0)[0] *= 3
    assert x.numpy().tolist() == [[3.0, 1.0, 3.0], [1.0, 3.0, 1.0]]
    x.detach()[0].fill_(0)
    assert x.numpy().tolist() == [[0.0, 0.0, 0.0], [1.0, 3.0, 1.0]]
    assert not x[0].array.flags.writeable


def test_an_item_is_updated_as_python_writes_it():
    x = plain([1.0, 2.0, 3.0])
    x[0] += 1
    x[[1, 2]] *= 2
    x[x.numpy() > 5] -= 1
    assert x.numpy().tolist() == [2.0, 4.0, 5.0]
    p = leaf([1.0, 2.0])
    with mr.no_grad():
        p[1] -= 1
    assert p.numpy().tolist() == [1.0, 1.0]
    with pytest.raises(GraphError, match="no_grad"):
        p[0] += 1
    with pytest.raises(GraphError, match="history"):
        x[0] += p[0]
    assert (p.numpy().tolist(), x.numpy().tolist()) == ([1.0, 1.0], [2.0, 4.0, 5.0])


def test_a_change_through_a_view_counts():
    w = leaf([1.0, 2.0])
    y = (w * w).sum()
    with mr.no_grad():
        w[0] = 5
    with pytest.raises(GraphError, match="changed 1 time"):
        y.backward()


def test_elements_that_are_one_number_in_memory_are_not_changed():
    x = mr.zeros(1)
    y = F.broadcast_to(x, (3,))
    for write in (lambda: y.add_(1), lambda: y.assign_(1.0), lambda: y.__setitem__(0, 1)):
        with pytest.raises(GraphError, match="one number in memory"):
            write()
    assert F.broadcast_to(x, (1, 1)).fill_(2).shape == (1, 1)
    assert x.item() == 2.0


def test_a_tensor_changed_by_itself_is_read_before_it_is_written():
    x = plain([1.0, 2.0, 4.0])
    x += x
    x -= x[::-1] * 0.5
    assert x.numpy().tolist() == [-2.0, 2.0, 7.0]
    x[1:] = x[:-1]
    assert x.numpy().tolist() == [-2.0, -2.0, 2.0]
    x.copy_(x[::-1])
    assert x.numpy().tolist() == [2.0, -2.0, -2.0]
    x[[0, 1]] = x[[1, 0]]
    assert x.assign_(x[::-1]).numpy().tolist() == [-2.0, 2.0, -2.0]


# What does not fit


def test_a_leaf_keeps_its_shape():
    x = plain([1.0, 2.0])
    x += mr.ones(1, dtype=np.float32)
    for change, sign in ((operator.iadd, r"\+"), (operator.imul, r"\*")):
        with pytest.raises(
            ShapeError, match=rf"x {sign}= y gives shape \(3, 2\) for x of shape \(2,\).* x = x {sign} y"
        ):
            change(x, mr.ones(3, 2))
    m = mr.ones(2, 2)
    with pytest.raises(ShapeError, match=r"x @= y gives shape \(2, 3\)"):
        m @= mr.ones(2, 3)
    assert (x.numpy().tolist(), m.numpy().tolist()) == ([2.0, 3.0], [[1.0, 1.0], [1.0, 1.0]])


def test_a_leaf_keeps_its_dtype():
    whole, x = mr.tensor([4, 5]), plain([1.0, 2.0])
    whole += 2
    whole **= 2
    x *= 3
    x += np.float64(1)
    assert (whole.dtype, whole.numpy().tolist()) == (np.int64, [36, 49])
    assert (x.dtype, x.numpy().tolist()) == (np.float32, [4.0, 7.0])
    for change, value in ((operator.itruediv, 2), (operator.iadd, 2.5), (operator.imul, x)):
        with pytest.raises(DtypeError, match="int64"):
            change(whole, value)
    for value in (mr.ones(2, dtype=np.float64), mr.ones(2, dtype=np.float16), whole):
        with pytest.raises(DtypeError, match="different dtypes: float32"):
            x += value
    small = mr.tensor(np.array([1, 2], np.int8))
    with pytest.raises(DtypeError, match="different dtypes: int8, uint8"):
        small += mr.tensor(np.array([1, 2], np.uint8))
    with pytest.raises(TypeError, match=r"mr.tensor\(…\)"):
        x += np.ones(2)


# x[i] = v

INDICES = (
    *(1, -1, slice(None), slice(0, 0), slice(None, None, -2), ..., None, (0, 1), (slice(1, 3), None, 0), (..., 1)),
    *([0, 2], [[0, 2], [1, 0]], [], ([0, 2], [1, 0]), ([], slice(1)), (slice(None), [1]), range(2), range(0)),
    *(np.array([2, 0]), np.int64(1), np.array(1), np.zeros(3, bool), np.array([True, False, True]), True, False),
    *((np.array([2, 0]), slice(None)), ((0, 2), 1), (np.ones((3, 2), bool),), (slice(np.int32(1), None), np.uint8(0))),
)


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_every_index_that_numpy_takes_reads_and_writes_as_there(index):
    a = np.arange(6.0).reshape(3, 2)
    x = plain(a, np.float64)
    part = a[index]
    assert np.array_equal(x[index].numpy(), part)
    for value in (7, np.arange(part.size).reshape(part.shape) + 10.0, plain(part * 2, np.float64)):
        a[index] = value.numpy() if isinstance(value, mr.Tensor) else value
        x[index] = value
        assert np.array_equal(x.numpy(), a)


def test_a_tensor_is_an_index():
    x = plain([[1.0, 2.0], [3.0, 4.0]])
    x[mr.tensor(1)] = 5
    x[mr.tensor([0, 0]), mr.tensor([1, 0])] = plain([6.0, 7.0])
    x[x < 6] = [8, 9]
    assert x.numpy().tolist() == [[7.0, 6.0], [8.0, 9.0]]
    assert x[mr.tensor([1, 1, 0])].shape == (3, 2)
    assert x[: mr.tensor(1)].shape == (1, 2)
    assert [10, 20][mr.tensor(1)] == 20
    with pytest.raises(TypeError, match=r"only one integer is an index, not a float32 tensor of shape \(\)"):
        [10, 20][mr.tensor(1.0)]


def test_the_gradient_of_an_index_in_a_tuple_counts_its_repetitions():
    x = leaf([1.0, 2.0])
    x[((0, 0, 1),)].sum().backward()
    assert x.grad.numpy().tolist() == [2.0, 1.0]


@pytest.mark.parametrize(
    ("index", "value", "error", "text"),
    [
        (3, 1, IndexingError, "index 3 is out of bounds for axis 0 with size 2"),
        ((0, 5), 1, IndexingError, "index 5 is out of bounds"),
        ((0, 0, 0), 1, IndexingError, "too many indices"),
        ("a", 1, IndexingError, "valid indices"),
        (1.0, 1, IndexingError, "valid indices"),
        ([True], 1, IndexingError, "boolean"),
        (0, [1, 2, 3], ShapeError, r"values of shape \(3,\) do not broadcast to \(2,\)"),
        (0, np.ones((2, 2)), ShapeError, r"\(2, 2\) do not broadcast to \(2,\)"),
        (0, "a", DtypeError, "<U1"),
        (0, None, DtypeError, "object"),
        (0, 1j, DtypeError, "1j"),
        (0, 1e60, DtypeError, "infinite in float32"),
    ],
)
def test_an_assignment_that_does_not_fit_is_told_and_changes_nothing(index, value, error, text):
    x, w = plain(np.zeros((2, 2))), leaf(1.0)
    y = (x * w).sum()
    with pytest.raises(error, match=text):
        x[index] = value
    assert not x.numpy().any()
    y.backward()  # x does not count as changed


def test_values_are_cast_within_their_kind():
    x, whole = plain([0.0, 0.0]), mr.tensor([0, 0])
    x[0] = np.float64(1.5)
    x[1] = mr.tensor(np.array(2.5))
    whole[0] = 2.0
    assert (x.numpy().tolist(), whole.numpy().tolist()) == ([1.5, 2.5], [2, 0])
    with pytest.raises(DtypeError, match=r"1.5 would change the dtype of a int64"):
        whole[0] = 1.5
    with pytest.raises(DtypeError, match="float64 values to a int64"):
        whole.copy_(np.ones(2))


def test_copying_broadcasts_and_filling_takes_one_number():
    x = plain(np.zeros((2, 2)))
    assert x.copy_(np.array([1.0, 2.0])) is x
    assert x.numpy().tolist() == [[1.0, 2.0], [1.0, 2.0]]
    assert x.fill_(plain(4.0)).numpy().tolist() == [[4.0, 4.0], [4.0, 4.0]]
    assert not x.zero_().numpy().any()
    with pytest.raises(ShapeError, match=r"fill_ takes one number, not values of shape \(2,\)"):
        x.fill_([1, 2])


def test_a_gradient_is_changed_where_it_is():
    x = leaf([1.0, 2.0])
    (x * x).sum().backward()
    gradient = x.grad
    x.grad *= 0.5
    assert x.grad is gradient
    assert gradient.numpy().tolist() == [1.0, 2.0]
    assert not x.grad.zero_().numpy().any()
    (x * x).sum().backward(create_graph=True)
    x.grad += 1  # it has a history now: a new one
    with pytest.raises(GraphError, match="was computed"):
        x.grad.zero_()


def test_gradients_that_were_asked_for_are_changed_one_at_a_time():
    a, b, gy = leaf([1.0, 2.0]), leaf([3.0, 4.0]), plain([1.0, 1.0])
    ga, gb = mr.grad(a + b, (a, b), gy)
    ga *= 3
    assert [t.numpy().tolist() for t in (ga, gb, gy)] == [[3.0, 3.0], [1.0, 1.0], [1.0, 1.0]]


FUNCTIONS = {
    name: getattr(F, name) for name in ("relu", "sigmoid", "tanh", "exp", "absolute", "softmax", "log_softmax")
} | {
    "clip": lambda x: x.clip(-9, 9),
    "conv2d": lambda x: F.conv2d(x, mr.ones(1, 1, 1, 1)),
    "max_pool2d": lambda x: F.max_pool2d(x, 1),
    "avg_pool2d": lambda x: F.avg_pool2d(x, 1),
    "adaptive_avg_pool2d": lambda x: F.adaptive_avg_pool2d(x, (2, 3)),
    "batch_norm": lambda x: F.batch_norm(x, mr.zeros(1), mr.ones(1)),
    "concatenate": lambda x: mr.concatenate([x]),
    "stack": lambda x: mr.stack([x]),
    "where": lambda x: mr.where(x > -1, x, 0),
    "pad": lambda x: F.pad(x, (0, 0)),
    "sum": lambda x: x.sum((0, 1), keepdim=True),
    "max": lambda x: x.max(1)[0],
    "integer index": lambda x: x[[0]],
    "clone": lambda x: x.clone(),
    "to": lambda x: x.to(np.float64),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_a_function_gives_may_be_changed_without_changing_its_input(name):
    x = plain(np.arange(6.0).reshape(1, 1, 2, 3))
    FUNCTIONS[name](x).fill_(-7)
    assert x.numpy().ravel().tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


# Inside a backward pass


def test_a_hook_or_an_operation_that_changes_its_gradient_in_place_is_an_error():
    class Doubled(mr.Op):
        def forward(self, x):
            return 2 * x

        def backward(self, gy):
            gy *= 2
            return gy

    def hook(gradient):
        gradient *= 2

    x, gy = leaf([1.0, 2.0]), plain([1.0, 1.0])
    with pytest.raises(GraphError, match=r"Doubled\.backward changed its gradient in place"):
        Doubled.apply(x).backward(gy)
    x.register_hook(hook)
    with pytest.raises(GraphError, match="a hook changed its gradient in place"):
        (x + gy).backward(plain([1.0, 1.0]))


def test_an_operation_that_changes_what_it_saved_is_an_error():
    class Squared(mr.Op):
        def forward(self, x):
            self.save(x)
            return x * x

        def backward(self, gy):
            (x,) = self.saved
            x *= 2
            return x * gy

    with pytest.raises(GraphError, match="Squared saved for its backward pass was changed"):
        Squared.apply(leaf([1.0, 2.0])).backward(plain([1.0, 1.0]))


def test_a_gradient_that_an_operation_cloned_is_its_own():
    class Masked(mr.Op):
        def forward(self, x):
            return x.copy()

        def backward(self, gy):
            gx = gy.clone()
            gx[0] = 0
            return gx

    x = leaf([1.0, 2.0])
    Masked.apply(x).backward(plain([3.0, 3.0]))
    assert x.grad.numpy().tolist() == [0.0, 3.0]
