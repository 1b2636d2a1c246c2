import numpy as np
import pytest

import minires as mr
from minires.errors import DtypeError, IndexingError, ShapeError

F = mr.functional


def test_joining_keeps_the_order_and_shares_the_gradient_out():
    a, b = mr.tensor(np.ones((2, 1)), requires_grad=True), mr.tensor(np.zeros((2, 2)))
    y = mr.concatenate([a, b, a], dim=-1)
    assert y.numpy().tolist() == [[1, 0, 0, 1]] * 2
    y.backward(mr.tensor(np.arange(8.0).reshape(2, 4)))
    assert a.grad.numpy().tolist() == [[3.0], [11.0]]
    assert mr.stack([b, b + 1.0]).shape == (2, 2, 2)
    assert mr.stack([b, b + 1.0], 2).numpy()[0, 0].tolist() == [0.0, 1.0]


def test_pad_counts_axes_from_the_last_as_pytorch_does():
    x = np.arange(6.0).reshape(1, 2, 3)
    assert np.array_equal(F.pad(mr.tensor(x), (1, 0, 0, 2), value=9.0).numpy(),
                          np.pad(x, ((0, 0), (0, 2), (1, 0)), constant_values=9.0))  # fmt: skip


def test_transposing_and_flattening_are_numpys():
    x = np.arange(24.0).reshape(2, 3, 4)
    t = mr.tensor(x)
    assert np.array_equal(t.transpose(0, 2).numpy(), x.swapaxes(0, 2))
    assert t.flatten().shape == (24,)
    assert t.flatten(1).shape == (2, 12)
    assert t.flatten(0, 1).shape == (6, 4)
    assert mr.tensor(1.0).flatten().shape == (1,)


def test_an_activation_in_pixel_order_keeps_it_through_pad_and_slice():
    x = mr.tensor(np.zeros((4, 5, 2, 3), np.float32).transpose(2, 3, 0, 1), requires_grad=True)  # H, W, N, C
    y = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 1, 2))
    (y * y).sum().backward()
    for array in (y.array, x.grad.array):
        assert array.transpose(2, 3, 0, 1).flags.c_contiguous


def test_impossible_shapes_are_named():
    x = mr.tensor(np.zeros((2, 3)))
    with pytest.raises(ShapeError, match="concatenate needs at least one tensor"):
        mr.concatenate([])
    with pytest.raises(ShapeError, match="differ on another axis"):
        mr.concatenate([x, mr.tensor(np.zeros((3, 2)))])
    with pytest.raises(ShapeError, match=r"stack needs arrays of one shape"):
        mr.stack([x, x[0]])
    with pytest.raises(DtypeError, match="different dtypes"):
        mr.stack([x, x.to("float32")])
    with pytest.raises(ShapeError, match=r"at most 2 pairs .* got \(1, 2, 3\)"):
        F.pad(x, (1, 2, 3))
    with pytest.raises(ShapeError, match="at least 0"):
        F.pad(x, (-1, 0))
    with pytest.raises(ValueError, match="'reflect' is not possible"):
        F.pad(x, (1, 1), mode="reflect")
    with pytest.raises(ShapeError, match="flatten from axis 1 to 0"):
        x.flatten(1, 0)
    with pytest.raises(ShapeError, match="axis 2 is out of range"):
        x.transpose(0, 2)
    with pytest.raises(ShapeError, match=r"reshape needs integers, got \(1.5,\)"):
        x.reshape(1.5)


def test_an_index_that_changes_later_does_not_change_the_gradient():
    x, index = mr.zeros(3, requires_grad=True), np.array([0, 2])
    y = x[index]
    index[0] = 1
    y.sum().backward()
    assert x.grad.numpy().tolist() == [1.0, 0.0, 1.0]


def test_tensors_are_indices_and_masks():
    x = mr.tensor([1.0, 2.0, 3.0], requires_grad=True)
    assert x[mr.tensor([2, 0])].numpy().tolist() == [3.0, 1.0]
    x[x > 1.5].sum().backward()
    assert x.grad.numpy().tolist() == [0.0, 1.0, 1.0]


def test_an_index_out_of_range_names_the_shape():
    with pytest.raises(IndexingError, match=r"cannot index an array of shape \(3,\): index 3 is out of bounds"):
        mr.zeros(3)[3]
    assert [t.item() for t in mr.tensor([1.0, 2.0])] == [1.0, 2.0]


def test_a_copy_has_memory_of_its_own_and_lets_gradients_through():
    x = mr.tensor([1.0, 2.0], requires_grad=True)
    y = x.clone()
    assert not np.shares_memory(x.array, y.array)
    (y * y).sum().backward()
    assert x.grad.numpy().tolist() == [2.0, 4.0]


def test_sizes_and_pads_that_mean_nothing_are_refused():
    with pytest.raises(ShapeError, match="at least 0, and one may be -1"):
        mr.zeros(6).reshape(-2, 3)
    with pytest.raises(DtypeError, match=r"int64 tensor cannot be padded with 0\.5"):
        F.pad(mr.tensor([1]), (1, 1), value=0.5)
    assert mr.concatenate(t for t in (mr.zeros(1), mr.ones(1))).shape == (2,)
