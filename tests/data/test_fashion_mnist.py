import gzip
import struct

import numpy as np
import pytest

from minires.data import Dataset, FashionMNIST, fashion_mnist
from minires.data.idx import read_idx
from minires.data.make_fashion_mnist_mini import first_of_each_class
from minires.errors import DataError, DtypeError, ShapeError


def idx(array):
    header = struct.pack(f">I{array.ndim}I", 0x800 + array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


@pytest.mark.parametrize(("train", "per_class"), [(True, 500), (False, 100)])
def test_the_embedded_images_are_balanced_and_read_only(train, per_class):
    data = FashionMNIST(train=train)
    assert data.images.shape == (10 * per_class, 1, 28, 28)
    assert np.bincount(data.labels).tolist() == [per_class] * 10
    assert not data.images.flags.writeable
    image, label = data[0]
    assert (image.shape, type(label), len(data.classes)) == ((1, 28, 28), int, 10)


def test_a_damaged_embedded_file_is_refused(tmp_path, monkeypatch):
    content = bytearray(fashion_mnist.MINI.read_bytes())
    content[1000] ^= 1
    damaged = tmp_path / "mini.npz"
    damaged.write_bytes(content)
    monkeypatch.setattr(fashion_mnist, "MINI", damaged)
    with pytest.raises(DataError, match="is damaged: its SHA-256 is"):
        FashionMNIST()


@pytest.mark.parametrize("compressed", [False, True])
def test_the_full_sets_files_are_read_compressed_or_not(tmp_path, compressed):
    images = np.arange(3 * 28 * 28).reshape(3, 28, 28) % 256
    for name, array in (("t10k-images-idx3-ubyte", images), ("t10k-labels-idx1-ubyte", np.array([1, 0, 9]))):
        path = tmp_path / (name + ".gz" * compressed)
        path.write_bytes(gzip.compress(idx(array)) if compressed else idx(array))
    data = FashionMNIST(tmp_path, train=False)
    assert np.array_equal(data.images[:, 0], images)
    assert data.labels.tolist() == [1, 0, 9]
    assert first_of_each_class(Dataset(data.images, [0, 1, 0], "ab"), 1).tolist() == [0, 1]


def test_missing_truncated_and_foreign_files_are_named(tmp_path):
    path = tmp_path / "train-images-idx3-ubyte"
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte is missing; expected this IDX file"):
        FashionMNIST(tmp_path)
    path.write_bytes(idx(np.zeros((2, 28, 28)))[:-1])
    with pytest.raises(DataError, match=r"holds 1583 bytes uncompressed; expected 1584"):
        read_idx(path, 3)
    path.write_bytes(b"\x89PNG and so on, long enough")
    with pytest.raises(DataError, match=r"starts with 89504e47; expected an IDX file.*0x00000803"):
        read_idx(path, 3)
    path.write_bytes(gzip.compress(idx(np.zeros((2, 28, 28))))[:-9])
    with pytest.raises(DataError, match="damaged gzip file"):
        read_idx(path, 3)


def test_arrays_that_are_no_data_set_are_named():
    images = np.zeros((2, 1, 3, 3), np.uint8)
    with pytest.raises(DataError, match="label 2 of image 1 is out of range: with 2 classes"):
        Dataset(images, [0, 2], "ab")
    with pytest.raises(ShapeError, match=r"labels of shape \(3,\)"):
        Dataset(images, [0, 1, 0], "ab")
    with pytest.raises(DtypeError, match="got float64"):
        Dataset(images * 1.0, [0, 1], "ab")
