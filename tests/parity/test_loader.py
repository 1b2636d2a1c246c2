"""Batches are those of PyTorch's DataLoader, without shuffling, since the random orders differ."""

from collections import namedtuple

import numpy as np
import pytest

from minires.data import DataLoader

torch = pytest.importorskip("torch")
from torch.utils import data as theirs  # noqa: E402 (needs torch)

Point = namedtuple("Point", "x y")
X, Y = np.random.default_rng(0).random((7, 3, 2)), np.arange(7)
SAMPLES = [
    [(x, int(y)) for x, y in zip(X, Y, strict=True)],
    [{"x": x, "name": str(y), "list": [float(y), bool(y % 2)]} for x, y in zip(X, Y, strict=True)],
    [Point(np.float32(y), y) for y in Y],
    [float(y) for y in Y],
    list(X),
]


def same(ours, other):
    if isinstance(other, torch.Tensor):
        assert ours.dtype == other.numpy().dtype
        assert np.array_equal(ours.numpy(), other.numpy())
    elif isinstance(other, dict):
        assert list(ours) == list(other)
        for key in other:
            same(ours[key], other[key])
    elif isinstance(other, tuple | list):
        for part, expected in zip(ours, other, strict=True):
            same(part, expected)
    else:
        assert ours == other


@pytest.mark.parametrize("samples", SAMPLES)
@pytest.mark.parametrize("options", [{"batch_size": 3}, {"batch_size": 3, "drop_last": True}, {"batch_size": 9}])
def test_samples_are_collated_as_pytorch_does(samples, options):
    same(list(DataLoader(samples, **options)), list(theirs.DataLoader(samples, **options)))


def test_data_sets_and_tensors_of_pytorch_are_loaded():
    tensors = torch.tensor(X), torch.tensor(Y)
    expected = list(theirs.DataLoader(theirs.TensorDataset(*tensors), 3))
    same(list(DataLoader(theirs.TensorDataset(*tensors), 3)), expected)
    same(list(DataLoader(tensors, 3)), expected)
