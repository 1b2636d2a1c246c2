import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minires.data import Dataset
from minires.errors import DataError, DtypeError, ShapeError

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 2, 3, 5), np.uint8)
LABELS = np.array([0, 1, 2, 1], np.uint8)
NAMES = ("a", "b", "c")


def test_a_data_set_is_a_sequence_of_images_and_labels():
    dataset = Dataset(IMAGES, LABELS, NAMES)
    assert len(dataset) == 4
    assert dataset.classes == NAMES
    assert dataset.labels.dtype == np.int64
    image, label = dataset[2]
    assert np.array_equal(image, IMAGES[2])
    assert label == 2
    assert type(label) is int
    assert [label for _, label in dataset] == LABELS.tolist()
    assert repr(dataset) == "Dataset(4 images of 2×3×5, 3 classes)"


def test_a_data_set_cannot_be_written_through_and_leaves_the_callers_array_alone():
    images = IMAGES.copy()
    dataset = Dataset(images, LABELS, NAMES)
    for array in (dataset.images, dataset.labels):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    assert images.flags.writeable


@given(seed=st.integers(0, 999), channels=st.integers(1, 3), count=st.integers(1, 4))
def test_mean_and_std_are_those_of_the_pixels(seed, channels, count):
    images = np.random.default_rng(seed).integers(0, 256, (count, channels, 3, 4), np.uint8)
    dataset = Dataset(images, np.zeros(count, int), ["a"])
    for channel in range(channels):
        values = [int(v) / 255 for v in images[:, channel].ravel()]
        mean = sum(values) / len(values)
        var = sum((v - mean) ** 2 for v in values) / len(values)
        # Sums of at most 256 terms below 1 in double precision: errors below 256 · 2⁻⁵³ < 1e-13. The standard
        # deviation is a square root, so it is compared squared.
        assert abs(dataset.mean[channel] - mean) < 1e-13
        assert abs(dataset.std[channel] ** 2 - var) < 1e-12


def test_given_statistics_are_kept():
    dataset = Dataset(IMAGES, LABELS, NAMES, mean=(0.1, 0.2), std=(1, 2))
    assert dataset.mean == (0.1, 0.2)
    assert dataset.std == (1.0, 2.0)


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_out_of_range_is_an_error_that_names_the_image(label):
    with pytest.raises(DataError, match=f"label {label} of image 1 is out of range.*0 to 2"):
        Dataset(IMAGES, [0, label, label, 0], NAMES)


@pytest.mark.parametrize(
    ("images", "labels", "error"),
    [
        (IMAGES[0], LABELS, ShapeError),
        (IMAGES, LABELS[:3], ShapeError),
        (IMAGES, LABELS[:, None], ShapeError),
        (IMAGES[:0], LABELS[:0], ShapeError),
        (IMAGES.astype(np.float32), LABELS, DtypeError),
        (IMAGES, LABELS.astype(float), DtypeError),
    ],
)
def test_arrays_of_another_kind_are_an_error(images, labels, error):
    with pytest.raises(error, match="a data set needs"):
        Dataset(images, labels, NAMES)


def test_what_is_said_about_arrays_of_another_kind_helps():
    with pytest.raises(ShapeError, match=r"grey images need an axis of one channel, images\[:, None\]"):
        Dataset(IMAGES[:, 0], LABELS, NAMES)
    with pytest.raises(DtypeError, match=r"a DataLoader as a tuple, DataLoader\(\(images, labels\), batch_size\)"):
        Dataset(IMAGES / 255, LABELS, NAMES)
    with pytest.raises(ShapeError, match="images of one shape"):
        Dataset([[1], [1, 2]], LABELS, NAMES)


@pytest.mark.parametrize("classes", ["abc", 3, None])
def test_classes_are_a_list_of_names(classes):
    with pytest.raises(TypeError, match=rf"classes must be a list of names, as \['cat', 'dog'\], got {classes!r}"):
        Dataset(IMAGES, LABELS, classes)


@pytest.mark.parametrize(
    "statistics", [{"mean": 0.5}, {"std": 0.5}, {"mean": "ab"}, {"mean": [0.5, float("nan")]}, {"std": [1, None]}]
)
def test_statistics_are_finite_numbers_one_a_channel(statistics):
    ((name, _),) = statistics.items()
    with pytest.raises(DataError, match=f"{name} must be one (finite )?number a channel"):
        Dataset(IMAGES, LABELS, NAMES, **statistics)


def test_statistics_of_another_number_of_channels_are_an_error():
    with pytest.raises(ShapeError, match="2 channels"):
        Dataset(IMAGES, LABELS, NAMES, mean=(0.5,), std=(0.5,))


@pytest.mark.parametrize("names", [["cat", "dog", "cat"], ["caf\u00e9", "dog", "cafe\u0301"]])
def test_a_class_that_is_named_twice_is_an_error(names):
    images = np.zeros((3, 3, 2, 2), np.uint8)
    with pytest.raises(DataError, match="twice, as labels 0 and 2: give each class once"):
        Dataset(images, np.arange(3), names, (0, 0, 0), (1, 1, 1))
