"""Tensors on a GPU are written in place, pickled and copied like tensors on the CPU."""

import copy
import operator
import pickle

import numpy as np
import pytest

import minires as mr
from minires import optim
from minires.device import available, device_of
from minires.errors import DeviceError, GraphError, IndexingError, ShapeError

DEVICES = ["cuda:0", "cuda:1"] if available("cuda:1") else ["cuda:0"]
A = np.arange(1.0, 7.0).reshape(3, 2)
CHANGES = {
    **{name: getattr(operator, name) for name in ("iadd", "isub", "imul", "itruediv", "imatmul")},
    "a power": lambda x, y: operator.ipow(x, 2),
    "alpha": lambda x, y: x.add_(y, alpha=3) if isinstance(x, mr.Tensor) else operator.iadd(x, 3 * y),
}
INDICES = (
    *(1, slice(None, None, -2), ..., None, (0, 1), (slice(1, 3), None, 0), [0, 2], [[0, 2], [1, 0]], [], range(2)),
    *(
        ([0, 2], [1, 0]),
        ([], slice(1)),
        np.array([2, 0]),
        np.int64(1),
        np.zeros(3, bool),
        np.array([True, False, True]),
    ),
    *((np.ones((3, 2), bool),), (slice(np.int32(1), None), np.uint8(0)), ((0, 2), 1)),
)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", ["float64", "float16"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_in_place_is_numpys(change, dtype, device):
    a, b = A[:2].astype(dtype), A[1:].astype(dtype)
    x, y = mr.tensor(a, device=device), mr.tensor(b, device=device)
    assert CHANGES[change](x, y) is x
    expected = CHANGES[change](a.copy(), b)
    assert x.device == device
    np.testing.assert_allclose(x.numpy(), expected, rtol=float(np.finfo(dtype).eps))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("index", INDICES, ids=str)
def test_an_index_reads_and_writes_as_in_numpy(index, device):
    a = A.copy()
    x = mr.tensor(a, device=device)
    part = a[index].copy()
    assert np.array_equal(x[index].numpy(), part)
    for value in (7, part + 10, mr.tensor(part * 2, device=device)):
        a[index] = value.numpy() if isinstance(value, mr.Tensor) else value
        x[index] = value
        assert np.array_equal(x.numpy(), a)


@pytest.mark.parametrize("device", DEVICES)
def test_tensors_are_indices(device):
    x = mr.tensor(A, device=device)
    x[x > 4] = 0
    x[mr.tensor([0, 1], device=device), mr.tensor([1, 0])] = mr.tensor([8.0, 9.0], device=device)
    assert x.numpy().tolist() == [[1.0, 8.0], [9.0, 4.0], [0.0, 0.0]]


@pytest.mark.parametrize("device", DEVICES)
def test_what_is_written_is_read_before(device):
    a = np.arange(10_000.0)
    x = mr.tensor(a, device=device)
    x[1:] = x[:-1]
    a[1:] = a[:-1].copy()
    x.assign_(x[::-1])
    x += x[::-1]
    assert np.array_equal(x.numpy(), a + a[::-1])


@pytest.mark.parametrize("device", DEVICES)
def test_views_write_and_count(device):
    w = mr.tensor(A, device=device, requires_grad=True)
    y = (w * w).sum()
    with mr.no_grad():
        for row in w:
            row -= 1
        w[0] += 5
    assert w.numpy().tolist() == [[5.0, 6.0], [2.0, 3.0], [4.0, 5.0]]
    with pytest.raises(GraphError, match="changed 5 time"):
        y.backward()
    with pytest.raises(GraphError, match="no_grad"):
        w *= 2


def test_devices_are_not_mixed_but_by_copying():
    x, y = mr.zeros(2, device="cuda:0"), mr.ones(2)
    for change in (lambda: operator.iadd(x, y), lambda: x.__setitem__(0, y[0]), lambda: y.__setitem__(0, x[0])):
        with pytest.raises(DeviceError, match="different devices"):
            change()
    x.copy_(y)
    assert y.fill_(5).copy_(x).numpy().tolist() == x.numpy().tolist() == [1.0, 1.0]
    with pytest.raises(IndexingError):
        x[2] = 1
    with pytest.raises(ShapeError):
        x[0] = [1.0, 2.0]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("copied", [lambda value: pickle.loads(pickle.dumps(value)), copy.deepcopy])
def test_a_copy_is_on_its_device_in_its_memory_order(copied, device):
    net = mr.nn.Sequential(mr.nn.Conv2d(2, 3, 3), mr.nn.BatchNorm2d(3)).to(device)
    optimizer = optim.Adam(net.parameters())
    for p in net.parameters():
        p.grad = p.detach() * 0.5
    optimizer.step()
    twin, other = copied((net, optimizer))
    for p, q in zip(net.state_dict().values(), twin.state_dict().values(), strict=True):
        assert (p.device, p.dtype, p.array.strides) == (q.device, q.dtype, q.array.strides)
        assert np.array_equal(p.numpy(), q.numpy())
    for place, kept in optimizer.state.items():
        for name in optimizer.arrays:
            mine, its = kept[name], other.state[place][name]
            assert device_of(its) == device
            assert mine.strides == its.strides
    for p in twin.parameters():
        assert p.grad.device == device
    other.step()
    optimizer.step()
    for p, q in zip(net.parameters(), twin.parameters(), strict=True):
        assert np.array_equal(p.numpy(), q.numpy())
