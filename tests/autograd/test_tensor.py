import copy
import inspect
import operator
import pickle
import re

import numpy as np
import pytest

import minires as mr
from minires import values
from minires.autograd import ownership
from minires.autograd.tensor import Tensor
from minires.errors import DeviceError, DtypeError, GraphError, ShapeError


def leaf(numbers):
    return mr.tensor(np.asarray(numbers, np.float64), requires_grad=True)


def on_gpu(shape=(2,), index=0):
    """Return a double of a CuPy array, with the attributes that minires reads before it computes."""
    members = {"__module__": "cupy", "shape": shape, "dtype": np.dtype(float), "ndim": len(shape), "base": None}
    members["device"] = type("Device", (), {"id": index})
    return type("ndarray", (), {**members, "__getitem__": lambda self, index: self})()


# What it holds


def test_tensors_own_a_copy():
    source = np.zeros(3)
    x, y = mr.tensor(source), mr.tensor(mr.tensor(source))
    source[:] = 7
    assert x.numpy().tolist() == y.numpy().tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("view", [lambda x: x.array, lambda x: x.numpy(), lambda x: x.reshape(3, 1).array[:, 0]])
def test_nobody_writes_through_the_arrays_that_a_tensor_gives_out(view):
    x = mr.tensor(np.zeros(3))
    with pytest.raises(ValueError, match="read-only"):
        view(x)[0] = 1.0
    with pytest.raises(ValueError, match="cannot set WRITEABLE"):
        view(x).setflags(write=True)
    x.assign_(1.0)  # opens the array for a moment, and closes it
    with pytest.raises(ValueError, match="read-only"):
        view(x)[0] = 2.0


def test_an_augmented_assignment_of_a_computed_tensor_makes_a_new_one():
    x = before = leaf([1.0, 2.0])
    x = x + 1
    x *= 3
    assert x is not before
    assert (x.numpy().tolist(), before.numpy().tolist()) == ([6.0, 9.0], [1.0, 2.0])
    x.sum().backward()
    assert before.grad.numpy().tolist() == [3.0, 3.0]


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (2, 3, 0, 1), (3, 2, 1, 0)])
def test_a_tensor_keeps_the_memory_order_of_its_data(order):
    images = np.arange(120.0).reshape(4, 5, 2, 3).transpose(order)
    assert mr.tensor(images).array.strides == images.strides
    assert mr.tensor(images, dtype=np.float32).array.strides == tuple(n // 2 for n in images.strides)


@pytest.mark.parametrize("source", [np.arange(6.0)[::-1], np.arange(6.0)[::2], np.broadcast_to(1.0, (2, 3))])
def test_data_of_any_strides_is_copied_into_memory_of_its_own(source):
    x = mr.tensor(source)
    assert x.numpy().tolist() == source.tolist()
    x.assign_(5.0)
    assert set(x.numpy().ravel().tolist()) == {5.0}


def test_plain_numbers_are_float32_or_int64_and_arrays_keep_their_dtype():
    assert mr.tensor([1.0, 2.0]).dtype == mr.tensor(1.5).dtype == np.float32
    assert mr.tensor([1, 2]).dtype == np.int64
    assert mr.tensor([True]).dtype == np.bool_
    assert mr.tensor(np.float64(1)).dtype == mr.tensor(np.ones(2)).dtype == np.float64
    assert mr.tensor(np.ones(2), dtype="float32").dtype == np.float32
    with pytest.raises(DtypeError, match="holds numbers, not <U1"):
        mr.tensor(["a"])
    with pytest.raises(DtypeError, match="only floating-point tensors have gradients, not int64"):
        mr.tensor([1, 2], requires_grad=True)


def test_a_result_without_axes_is_an_array_too():
    class Total(mr.Op):
        def forward(self, x):
            y = x.sum()  # NumPy gives a scalar, not an array
            self.save(y)
            return y

        def backward(self, gy):
            return (gy * self.saved[0] * mr.tensor(np.ones(2)),)

    x = leaf([1.0, 2.0])
    y = Total.apply(x)
    assert isinstance(y.array, np.ndarray)
    assert (-y).item() == -3.0
    y.backward()
    assert x.grad.numpy().tolist() == [3.0, 3.0]
    assert y.detach().assign_(5.0).item() == 5.0


def test_a_tensor_says_what_it_is():
    x = leaf([[1.0, 2.0]])
    assert (x.shape, x.ndim, x.numel(), len(x), x.device) == ((1, 2), 2, 2, 1, "cpu")
    assert (x.size(), x.size(0), x.size(-1), x.size(dim=1)) == ((1, 2), 1, 2, 2)
    assert x.view(-1).shape == x.view((2,)).shape == (2,)
    for dim, text in ((2, "axis 2 is out of range for a tensor with 2 axes"), ("a", "must be an integer, got 'a'")):
        with pytest.raises(ShapeError, match=text):
            x.size(dim)
    assert repr(x) == "tensor([[1., 2.]], dtype=float64, requires_grad=True)"
    assert repr(x * x) == "tensor([[1., 4.]], dtype=float64, op=Multiply)"
    assert [row.numpy().tolist() for row in leaf([[1.0], [2.0]])] == [[1.0], [2.0]]
    assert (float(leaf(2.5)), int(leaf([3.0])), bool(leaf(0.0))) == (2.5, 3, False)
    for ask in (lambda: x.item(), lambda: bool(x), lambda: float(x)):
        with pytest.raises(ShapeError, match=r"exactly one element, but the shape is \(1, 2\)"):
            ask()
    with pytest.raises(TypeError, match="0-d"):
        len(leaf(1.0))


# What it mixes with

BINARY = ("+", "-", "*", "/", "**", "@", "<", "<=", ">", ">=", "==", "!=")


@pytest.mark.parametrize("sign", BINARY)
def test_an_array_and_a_tensor_do_not_mix_silently(sign):
    for names in ("a", "x"), ("x", "a"):
        with pytest.raises(TypeError, match=r"mr\.tensor"):
            eval(f" {sign} ".join(names), {"a": np.ones((2, 2)), "x": leaf(np.ones((2, 2)))})


def test_an_array_does_not_swallow_a_tensor():
    array = np.ones(2)
    with pytest.raises(TypeError):
        array += leaf([1.0, 2.0])
    with pytest.raises(TypeError, match=r"x\.array"):
        np.asarray(leaf([1.0, 2.0]))
    assert array.tolist() == [1.0, 1.0]


NUMPY_CALLS = {
    **{
        f"np.{name}(x)": rf"np\.{name} does not take a Tensor: use x\.{name}\(…\)"
        for name in ("sum", "mean", "exp", "tanh")
    },
    "np.concatenate([x, x])": r"np\.concatenate .* use mr\.concatenate\(…\)",
    "np.maximum(x, 0)": r"np\.maximum .* use mr\.maximum\(…\)",
    "np.array_equal(x, x)": r"use \(x == y\)\.min\(\)",
    "np.add(x, x)": r"np\.add .* use x \+ y",
    "np.add.reduce(x)": r"use x \+ y, or x\.numpy\(\)",
    "np.isnan(x)": r"np\.isnan does not take a Tensor: use x\.numpy\(\), an array without a history",
    "np.linalg.norm(x)": r"np\.linalg\.norm does not take a Tensor: use x\.numpy\(\)",
    "np.asarray(x)": r"use x\.array, x\.numpy\(\)",
    "np.array([x, x])": r"use x\.array, x\.numpy\(\)",
    "np.add(np.ones(2), x)": r"cannot combine an array with a Tensor: wrap the array with mr\.tensor\(…\)",
}


@pytest.mark.parametrize("call", NUMPY_CALLS)
def test_a_function_of_numpy_says_what_to_write_instead(call):
    with pytest.raises(TypeError, match=NUMPY_CALLS[call]):
        eval(call, {"np": np, "x": leaf([1.0, 2.0])})


def test_numpy_may_ask_for_the_shape():
    x = leaf([[1.0, 2.0]])
    assert (np.shape(x), np.ndim(x), np.size(x)) == ((1, 2), 2, 2)


@pytest.mark.parametrize("sign", BINARY)
def test_a_numpy_scalar_may_stand_on_either_side(sign):
    x = leaf([1.0, 2.0])
    for n in (2.0, np.float64(2), np.float32(2), np.int8(2), np.array(2.0)):
        for text in (f"x {sign} n", f"n {sign} x"):
            if sign == "@":
                with pytest.raises(TypeError, match=r"mr\.tensor"):
                    eval(text, {"x": x, "n": n})
            else:
                got, expected = eval(text, {"x": x, "n": n}), eval(text, {"x": x.numpy(), "n": 2.0})
                assert isinstance(got, Tensor)
                assert np.array_equal(got.numpy(), expected)


@pytest.mark.parametrize("other", [None, "a", b"a", object(), {}, {1.0}, mr])
def test_a_tensor_is_not_equal_to_what_holds_no_numbers(other):
    x = leaf([1.0, 2.0])
    assert ((x == other), (other == x), (x != other), (other != x)) == (False, False, True, True)
    assert x not in [other]
    with pytest.raises(TypeError):
        operator.lt(x, other)


def test_mixed_dtypes_raise_and_scalars_change_nothing():
    x = mr.tensor(np.ones(2, np.float32))
    with pytest.raises(DtypeError, match="different dtypes: float32, float64"):
        x + mr.tensor(np.ones(2))
    scalars = (2, 2.5, True, np.float64(3), np.float32(3), np.int64(2), np.bool_(True))
    assert {(x * n).dtype for n in scalars} == {(n - x).dtype for n in scalars} == {np.dtype(np.float32)}
    with pytest.raises(DtypeError, match="would change the dtype of a int64 tensor"):
        mr.tensor([1, 2]) * 1.5


def test_mixed_devices_raise():
    x, gpu = leaf([1.0, 2.0]), Tensor(on_gpu())
    assert gpu.device == "cuda:0"
    with pytest.raises(DeviceError, match=r"different devices: cpu, cuda:0; move one with \.to\(device\)"):
        x * gpu
    with pytest.raises(DeviceError, match="different devices: cuda:1, cuda:0"):
        Tensor(on_gpu(index=1)) + gpu
    with pytest.raises(DeviceError, match=r"gradient of .* on cuda:0 for a tensor of .* on cpu"):
        (x * 2.0).backward(gpu)
    assert x.grad is None


def test_every_method_that_is_looked_up_by_name_is_there():
    source = inspect.getsource(values) + inspect.getsource(ownership)
    looked_up = set(re.findall(r'(?:METHODS\[|_operator\(|_reflected\()"(\w+)"', source))
    assert looked_up == set(values.METHODS)
    assert len(looked_up) > 30


# What changes it


def test_assigning_keeps_dtype_and_memory_order():
    x = mr.tensor(np.zeros((2, 3), np.float32, order="F"))
    strides = x.array.strides
    assert x.assign_(np.arange(6.0).reshape(2, 3)) is x
    assert (x.dtype, x.array.strides, x.numpy().tolist()) == (np.float32, strides, [[0, 1, 2], [3, 4, 5]])
    x.assign_(mr.tensor(np.ones((2, 3))))
    assert x.assign_(x.detach()).numpy().tolist() == [[1, 1, 1], [1, 1, 1]]


def test_a_refused_assignment_changes_nothing():
    x, whole = leaf([1.0, 2.0]), mr.tensor([1, 2])
    y = (x * x).sum()
    with pytest.raises(ShapeError, match=r"shape \(3,\) to a tensor of shape \(2,\)"):
        x.assign_(np.ones(3))
    with pytest.raises(ShapeError, match=r"shape \(1,\)"):
        x.assign_([1.0])  # no broadcasting but of a scalar
    with pytest.raises(DtypeError, match="complex128 values to a float64 tensor"):
        x.assign_(1j)
    with pytest.raises(DtypeError, match="float64 values to a int64 tensor"):
        whole.assign_(1.5)
    with pytest.raises(GraphError, match="only a leaf can be changed"):
        (x * 2.0).assign_(0.0)
    assert (x.numpy().tolist(), whole.numpy().tolist()) == ([1.0, 2.0], [1, 2])
    y.backward()  # x does not count as changed
    assert x.grad.numpy().tolist() == [2.0, 4.0]


def test_an_update_that_fails_leaves_the_array_read_only_and_counts_as_a_change():
    def write():
        with x.writable() as array:
            array[0] = 9.0
            raise KeyboardInterrupt

    x = leaf([1.0, 2.0])
    y = (x * x).sum()
    with pytest.raises(KeyboardInterrupt):
        write()
    assert not x.array.flags.writeable
    with pytest.raises(GraphError, match="changed 1 time"):
        y.backward()


def test_a_detached_twin_shares_values_but_not_history():
    x = leaf([1.0, 2.0])
    twin = (x * 2.0).detach()
    assert (twin.requires_grad, twin.is_leaf, twin.grad) == (False, True, None)
    twin = x.detach()
    x.assign_([3.0, 4.0])
    assert twin.numpy().tolist() == [3.0, 4.0]


def test_a_leaf_can_be_frozen_and_thawed():
    x = leaf([1.0, 2.0])
    assert x.requires_grad_(False) is x
    assert not (x * 2).requires_grad
    (x.requires_grad_() * 3).sum().backward()
    assert x.grad.numpy().tolist() == [3.0, 3.0]
    with pytest.raises(GraphError, match="only a leaf"):
        (x * 2).requires_grad_(False)
    with pytest.raises(DtypeError, match="only floating-point"):
        mr.tensor([1]).requires_grad_()


def test_a_deep_copy_is_a_leaf_of_its_own():
    x = leaf([1.0, 2.0])
    x.register_hook(lambda g: g * 100.0)
    (x * x).sum().backward()
    y = copy.deepcopy(x)
    (y * 3.0).sum().backward()
    y.assign_(0.0)
    y.grad.assign_(0.0)
    assert (x.numpy().tolist(), x.grad.numpy().tolist()) == ([1.0, 2.0], [200.0, 400.0])
    assert y.requires_grad
    assert not copy.deepcopy(x.detach()).requires_grad
    assert not y.array.flags.writeable
    with pytest.raises(GraphError, match="only a leaf can be copied"):
        copy.deepcopy(x * 2.0)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (2, 3, 0, 1), (3, 2, 1, 0)])
def test_a_pickled_tensor_is_a_leaf_of_its_own_in_the_same_memory_order(order):
    array = np.arange(120.0).reshape(4, 5, 2, 3).transpose(order)
    x = mr.tensor(array, requires_grad=True)
    (x * x).sum().backward()
    y = pickle.loads(pickle.dumps(x))
    for one, other in ((x, y), (x.grad, y.grad)):
        assert np.array_equal(one.array, other.array)
        assert (one.dtype, one.array.strides) == (other.dtype, other.array.strides)
        assert one.requires_grad == other.requires_grad
        assert not other.array.flags.writeable
    with mr.no_grad():
        y[0, 0] += 1
        y.grad.zero_()
    assert np.array_equal(x.numpy(), array)
    assert x.grad.numpy().any()
    (y * 3.0).sum().backward()
    assert set(y.grad.numpy().ravel().tolist()) == {3.0}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_of_any_protocol_holds_tensors_of_any_kind(protocol):
    part = mr.tensor(np.arange(6))[::2]
    for x in (mr.tensor(2.5), mr.zeros(0, 3), mr.tensor([True, False]), part, mr.zeros(2, dtype=np.float16)):
        y, z = pickle.loads(pickle.dumps((x, x), protocol))
        assert y is z
        assert (y.shape, y.dtype, y.numpy().tolist()) == (x.shape, x.dtype, x.numpy().tolist())


def test_a_pickle_takes_memory_from_elsewhere_and_leaves_it_alone():
    buffers = []
    x = mr.tensor(np.arange(3.0))
    bytes_of_it = pickle.dumps(x, 5, buffer_callback=buffers.append)
    y = pickle.loads(bytes_of_it, buffers=[bytes(buffer) for buffer in buffers])
    y += 1
    assert (x.numpy().tolist(), y.numpy().tolist()) == ([0.0, 1.0, 2.0], [1.0, 2.0, 3.0])


def test_a_computed_tensor_is_not_pickled():
    for pack in (pickle.dumps, copy.copy):
        with pytest.raises(GraphError, match=r"only a leaf can be pickled or copied; .* use x.detach\(\)"):
            pack(leaf([1.0, 2.0]) * 2.0)


def test_hooks_and_retained_gradients_need_a_graph():
    for call in (lambda x: x.register_hook(print), lambda x: x.retain_grad(), lambda x: x.backward()):
        with pytest.raises(GraphError, match="has no graph"):
            call(mr.tensor(1.0))
