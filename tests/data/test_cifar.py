import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minires.data import CIFAR10, CIFAR100
from minires.data.cifar import CIFAR10_CLASSES, CIFAR100_CLASSES
from minires.errors import DataError, ShapeError

TRAIN10 = [f"data_batch_{i}.bin" for i in range(1, 6)]


def record(labels, image):
    """Return the bytes of one record: the labels, then the red, green and blue plane row by row."""
    content = list(labels)
    for channel in range(3):
        for row in range(32):
            for column in range(32):
                content.append(int(image[channel, row, column]))
    return bytes(content)


def write(directory, names, count, labels_below, seed=0):
    """Write small files in the real format; return all images and label bytes in file order."""
    rng = np.random.default_rng(seed)
    directory.mkdir(parents=True, exist_ok=True)
    images = rng.integers(0, 256, (len(names) * count, 3, 32, 32), np.uint8)
    labels = np.stack([rng.integers(0, below, len(images)) for below in labels_below], axis=1)
    for i, name in enumerate(names):
        rows = range(i * count, (i + 1) * count)
        (directory / name).write_bytes(b"".join(record(labels[n], images[n]) for n in rows))
    return images, labels


@given(count=st.integers(1, 2), seed=st.integers(0, 99))
def test_cifar10_files_come_back(tmp_path_factory, count, seed):
    root = tmp_path_factory.mktemp("cifar10")
    images, labels = write(root, TRAIN10, count, [10], seed)
    dataset = CIFAR10(root, images_per_file=count)
    assert np.array_equal(dataset.images, images)
    assert np.array_equal(dataset.labels, labels[:, 0])
    images, labels = write(root, ["test_batch.bin"], count, [10], seed)
    assert np.array_equal(CIFAR10(root, train=False, images_per_file=count).images, images)


@given(count=st.integers(1, 4), seed=st.integers(0, 99))
def test_cifar100_files_come_back_with_their_fine_labels(tmp_path_factory, count, seed):
    root = tmp_path_factory.mktemp("cifar100")
    for train, name in ((True, "train.bin"), (False, "test.bin")):
        images, labels = write(root, [name], count, [20, 100], seed)
        dataset = CIFAR100(root, train=train, images_per_file=count)
        assert np.array_equal(dataset.images, images)
        assert np.array_equal(dataset.labels, labels[:, 1])


def test_the_archives_own_directory_is_found(tmp_path):
    write(tmp_path / "cifar-10-batches-bin", ["test_batch.bin"], 1, [10])
    write(tmp_path / "cifar-100-binary", ["test.bin"], 1, [20, 100])
    assert len(CIFAR10(str(tmp_path), train=False, images_per_file=1)) == 1
    assert len(CIFAR100(tmp_path, train=False, images_per_file=1)) == 1


def test_the_real_sets_sizes_are_expected_by_default(tmp_path):
    whole = np.zeros((10_000, 3073), np.uint8)
    whole[:, 0] = np.arange(10_000) % 10
    whole[:, 1025] = 9  # the first green pixel
    whole.tofile(tmp_path / "test_batch.bin")
    dataset = CIFAR10(tmp_path, train=False)
    assert dataset.images.shape == (10_000, 3, 32, 32)
    assert np.bincount(dataset.labels).tolist() == [1000] * 10
    assert np.all(dataset.images[:, 1, 0, 0] == 9)
    assert int(dataset.images.sum()) == 90_000
    for name, train, size in (("train.bin", True, 50_000), ("test.bin", False, 10_000)):
        (tmp_path / name).write_bytes(bytes(3074))
        with pytest.raises(DataError, match=f"{name} holds 3074 bytes; expected {size * 3074} bytes"):
            CIFAR100(tmp_path, train=train)


def test_a_file_cut_at_a_record_is_an_error_that_names_both_sizes(tmp_path):
    np.zeros((5_000, 3073), np.uint8).tofile(tmp_path / "test_batch.bin")
    with pytest.raises(DataError, match=r"test_batch.bin holds 15365000 bytes; expected 30730000 bytes: 10000"):
        CIFAR10(tmp_path, train=False)


@pytest.mark.parametrize("change", [-1, 1, -3073])
def test_one_file_of_another_size_is_an_error_that_names_it(tmp_path, change):
    write(tmp_path, TRAIN10, 2, [10])
    file = tmp_path / "data_batch_4.bin"
    file.write_bytes((file.read_bytes() + b"\0")[: 2 * 3073 + change])
    with pytest.raises(DataError, match=f"data_batch_4.bin holds {2 * 3073 + change} bytes; expected 6146"):
        CIFAR10(tmp_path, images_per_file=2)


@pytest.mark.parametrize(
    ("place", "byte", "text"),
    [(0, 20, "byte 0 of record 0 is 20.*0 to 19"), (3075, 100, "byte 1 of record 1 is 100.*0 to 99")],
)
def test_a_foreign_file_of_the_right_size_is_an_error(tmp_path, place, byte, text):
    content = bytearray(2 * 3074)
    content[place] = byte
    (tmp_path / "train.bin").write_bytes(content)
    with pytest.raises(DataError, match=f"train.bin is no CIFAR file: {text}"):
        CIFAR100(tmp_path, images_per_file=2)


def test_a_missing_file_is_an_error_that_names_it_and_the_archive(tmp_path):
    write(tmp_path, TRAIN10, 1, [10])
    (tmp_path / "data_batch_3.bin").unlink()
    with pytest.raises(DataError, match=r"data_batch_3.bin is missing.*cifar-10-binary.tar.gz"):
        CIFAR10(tmp_path, images_per_file=1)
    with pytest.raises(DataError, match=r"nowhere.train.bin is missing.*cifar-100-binary.tar.gz"):
        CIFAR100(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("file", "hint"),
    [
        ("cifar-10-batches-py/data_batch_1", "found cifar-10-batches-py, which is of the version for Python"),
        ("data_batch_1", "found data_batch_1, which is of the version for Python"),
        ("data_batch_1.mat", "found data_batch_1.mat, which is of the version for Matlab"),
        ("train.bin", "found train.bin, which is of CIFAR-100"),
        ("cifar-10-binary.tar.gz", r"found cifar-10-binary\.tar\.gz: unpack it there"),
        ("deep/data_batch_1.bin", r"did you mean .*/deep\?"),
        ("notes.txt", r"found notes\.txt$"),
        ("data_batch_1.bin/x", r".*data_batch_1\.bin is a directory, not the file"),
    ],
)
def test_what_is_there_in_place_of_a_missing_file_is_told(tmp_path, file, hint):
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).touch()
    with pytest.raises(DataError, match=rf"data_batch_1\.bin is missing; .*; {hint}"):
        CIFAR10(tmp_path)


def test_a_root_that_is_not_there_empty_or_a_file_is_told_so(tmp_path):
    with pytest.raises(DataError, match=f"; {tmp_path} is empty"):
        CIFAR100(tmp_path)
    with pytest.raises(DataError, match=r"; .*nowhere does not exist"):
        CIFAR100(tmp_path / "nowhere")
    (tmp_path / "a.tar.gz").touch()
    with pytest.raises(DataError, match=r"a\.tar\.gz is a file: unpack it, and give the directory"):
        CIFAR100(tmp_path / "a.tar.gz")


@pytest.mark.parametrize("kind", [CIFAR10, CIFAR100])
def test_arguments_of_the_wrong_kind_are_named(kind, tmp_path):
    with pytest.raises(TypeError, match="root must be a path, as a string or a Path, got None"):
        kind(None)
    with pytest.raises(DataError, match=r"root is an empty string; for the current directory write '\.'"):
        kind("")
    with pytest.raises(TypeError, match="train must be True or False, got 'test'"):
        kind(tmp_path, "test")
    with pytest.raises(ShapeError, match="images_per_file must be a positive integer, got 0"):
        kind(tmp_path, images_per_file=0)


def test_the_home_directory_may_be_written_as_a_tilde(tmp_path, monkeypatch):
    write(tmp_path / "data", ["test_batch.bin"], 1, [10])
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(CIFAR10("~/data", train=False, images_per_file=np.int64(1))) == 1


def test_class_names_are_sorted_and_as_many_as_the_labels():
    for classes, count in ((CIFAR10_CLASSES, 10), (CIFAR100_CLASSES, 100)):
        assert len(set(classes)) == count
        assert sorted(classes) == list(classes)
