import gzip
import struct
from hashlib import sha256

import numpy as np
import pytest

from minires.data import FashionMNIST, fashion_mnist
from minires.data import make_fashion_mnist_mini as make
from minires.errors import DataError


def idx_bytes(array):
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def write(root, seed=0, per_class=3, shape=(28, 28), zipped=False):
    """Write a small Fashion-MNIST in the real format; return {prefix: (images, labels)}."""
    rng, arrays = np.random.default_rng(seed), {}
    root.mkdir(parents=True, exist_ok=True)
    for prefix in ("train", "t10k"):
        labels = rng.permutation(np.repeat(np.arange(10, dtype=np.uint8), per_class))
        images = rng.integers(0, 256, (len(labels), *shape), np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            file = root / f"{prefix}-{kind}-ubyte{'.gz' if zipped else ''}"
            file.write_bytes(gzip.compress(idx_bytes(array)) if zipped else idx_bytes(array))
        arrays[prefix] = images, labels
    return arrays


@pytest.mark.parametrize(("train", "count"), [(True, 5000), (False, 1000)])
def test_the_embedded_set_has_as_many_images_of_each_class(train, count):
    dataset = FashionMNIST(train=train)
    assert dataset.images.shape == (count, 1, 28, 28)
    assert dataset.images.dtype == np.uint8
    assert dataset.labels.dtype == np.int64
    assert np.bincount(dataset.labels).tolist() == [count // 10] * 10
    assert len(dataset.classes) == 10


def test_the_embedded_set_has_no_image_twice():
    images = np.concatenate([FashionMNIST(train=train).images for train in (True, False)])
    assert len({image.tobytes() for image in images}) == len(images)


def test_the_embedded_sets_statistics_are_near_the_full_sets():
    dataset = FashionMNIST()
    pixels = dataset.images / 255
    # 5,000 of 60,000 images: the mean brightness of an image varies by less than 0.2, so that of 5,000 by 0.003.
    assert abs(pixels.mean() - dataset.mean[0]) < 0.01
    assert abs(pixels.std() - dataset.std[0]) < 0.01


def test_the_provenance_quotes_the_checksums_of_what_is_there():
    text = fashion_mnist.MINI.with_name("FASHION_MNIST.md").read_text(encoding="utf-8")
    assert sha256(fashion_mnist.MINI.read_bytes()).hexdigest() == fashion_mnist.MINI_SHA256
    assert f"`fashion_mnist_mini.npz` | `{fashion_mnist.MINI_SHA256}`" in text
    with np.load(fashion_mnist.MINI) as arrays:
        assert sorted(arrays) == ["test_images", "test_labels", "train_images", "train_labels"]
        for name in arrays:
            shape = str(arrays[name].shape)
            assert f"`{name}`, uint8 {shape} | `{sha256(arrays[name].tobytes()).hexdigest()}`" in text
    assert "Permission is hereby granted, free of charge" in text
    assert "Zalando SE" in text


@pytest.mark.parametrize("damage", ["flipped bit", "truncated", "missing", "empty"])
def test_a_damaged_embedded_file_is_an_error(tmp_path, monkeypatch, damage):
    content = bytearray(fashion_mnist.MINI.read_bytes())
    content[len(content) // 2] ^= 1
    file = tmp_path / "fashion_mnist_mini.npz"
    monkeypatch.setattr(fashion_mnist, "MINI", file)
    if damage != "missing":
        file.write_bytes({"flipped bit": content, "truncated": content[:1000], "empty": b""}[damage])
    with pytest.raises(DataError, match=f"{file}.*{fashion_mnist.MINI_SHA256}"):
        FashionMNIST()


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("folder", ["", "FashionMNIST/raw"])
def test_the_full_sets_files_are_read(tmp_path, zipped, folder):
    arrays = write(tmp_path / folder, zipped=zipped)
    for train, prefix in ((True, "train"), (False, "t10k")):
        dataset = FashionMNIST(tmp_path, train=train)
        assert np.array_equal(dataset.images[:, 0], arrays[prefix][0])
        assert np.array_equal(dataset.labels, arrays[prefix][1])
        assert FashionMNIST(str(tmp_path), train).mean == dataset.mean == (0.286,)


def test_a_missing_file_is_an_error_that_names_it(tmp_path):
    write(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    FashionMNIST(tmp_path)
    with pytest.raises(DataError, match="t10k-labels-idx1-ubyte is missing"):
        FashionMNIST(tmp_path, train=False)


@pytest.mark.parametrize(
    ("file", "hint"),
    [
        ("train-images.idx3-ubyte", r"found train-images\.idx3-ubyte: rename it"),
        ("train-images-idx3-ubyte/train-images-idx3-ubyte", "train-images-idx3-ubyte is a directory, not the file"),
        ("raw/train-images-idx3-ubyte", r"did you mean .*/raw\?"),
        ("archive.zip", r"found archive\.zip: unpack it there"),
        ("fashion-mnist_train.csv", r"found fashion-mnist_train\.csv$"),
    ],
)
def test_what_is_there_in_place_of_a_missing_file_is_told(tmp_path, file, hint):
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).touch()
    with pytest.raises(DataError, match=rf"train-images-idx3-ubyte is missing; .*; .*{hint}"):
        FashionMNIST(tmp_path)


def test_arguments_of_the_wrong_kind_are_named():
    with pytest.raises(TypeError, match="train must be True or False, got 'test'"):
        FashionMNIST(train="test")
    with pytest.raises(TypeError, match="root must be a path, as a string or a Path, got 3"):
        FashionMNIST(3)


def test_the_home_directory_may_be_written_as_a_tilde(tmp_path, monkeypatch):
    write(tmp_path / "data")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(FashionMNIST("~/data")) == 30


def test_images_of_another_size_are_an_error(tmp_path):
    write(tmp_path, shape=(32, 32))
    with pytest.raises(DataError, match=r"train-images.*\(30, 32, 32\); expected \(N, 28, 28\)"):
        FashionMNIST(tmp_path)


def test_another_number_of_labels_is_an_error(tmp_path):
    write(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx_bytes(np.zeros(29, np.uint8)))
    with pytest.raises(DataError, match=r"train-labels.*29 labels; expected 30"):
        FashionMNIST(tmp_path)


def test_a_label_out_of_range_is_an_error(tmp_path):
    write(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx_bytes(np.full(30, 10, np.uint8)))
    with pytest.raises(DataError, match=r"train-labels.*label 10; expected 0 to 9"):
        FashionMNIST(tmp_path)


def test_the_first_of_each_class_are_taken_and_stay_in_file_order(tmp_path, monkeypatch):
    monkeypatch.setattr(make, "PER_CLASS", {"train": 3, "test": 2})
    written = write(tmp_path, per_class=5)
    arrays = make.subset(tmp_path)
    for split, prefix, count in (("train", "train", 3), ("test", "t10k", 2)):
        images, labels, seen = [], [], [0] * 10
        for image, label in zip(*written[prefix], strict=True):
            if seen[label] < count:
                images.append(image)
                labels.append(label)
            seen[label] += 1
        assert np.array_equal(arrays[f"{split}_images"], images)
        assert np.array_equal(arrays[f"{split}_labels"], labels)


def test_the_script_writes_the_same_bytes_each_time(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(make, "PER_CLASS", {"train": 2, "test": 1})
    write(tmp_path)
    for name in ("a.npz", "b.npz"):
        make.main([str(tmp_path), str(tmp_path / name)])
    content = (tmp_path / "a.npz").read_bytes()
    assert content == (tmp_path / "b.npz").read_bytes()
    assert sha256(content).hexdigest() in capsys.readouterr().out
    with np.load(tmp_path / "a.npz") as arrays:
        assert arrays["train_images"].shape == (20, 28, 28)


def test_the_embedded_arrays_make_the_embedded_file_whatever_compresses_it(tmp_path):
    with np.load(fashion_mnist.MINI) as arrays:
        again = tmp_path / "again.npz"
        again.write_bytes(make.npz({name: arrays[name] for name in arrays}))
        with np.load(again) as copies:
            assert list(copies) == list(arrays)
            assert all(np.array_equal(copies[name], arrays[name]) for name in arrays)


def test_too_few_images_of_a_class_are_an_error(tmp_path):
    write(tmp_path, per_class=5)
    with pytest.raises(DataError, match="'T-shirt/top' has 5 images; expected at least 500"):
        make.subset(tmp_path)
