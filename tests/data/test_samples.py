"""Test a DataLoader of arrays and of the user's own data sets."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minires as mr
from minires import random
from minires.data import DataLoader, Dataset, HorizontalFlip, Normalize, RandomCrop, default_collate
from minires.errors import DataError, DtypeError, ShapeError

IMAGES = np.random.default_rng(0).random((10, 3, 8, 8), np.float32)
LABELS = np.arange(10)


class Squares:
    """Samples (array of i, i squared), and a list of the requested indices."""

    def __init__(self, count=10):
        self.count, self.asked = count, []

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        self.asked.append(index)
        return np.full(3, index, np.float32), index**2


def values(batches):
    return [tuple(part.numpy() for part in batch) for batch in batches]


def equal(first, second):
    return len(first) == len(second) and all(
        np.array_equal(a, b) and a.dtype == b.dtype
        for x, y in zip(first, second, strict=True)
        for a, b in zip(x, y, strict=True)
    )


@pytest.mark.parametrize("pair", [(IMAGES, LABELS), [IMAGES, LABELS], (mr.tensor(IMAGES), LABELS.tolist())])
def test_a_pair_of_arrays_comes_in_batches_of_tensors(pair):
    batches = list(DataLoader(pair, 4))
    assert [len(x) for x, _ in batches] == [4, 4, 2]
    assert all(isinstance(part, mr.Tensor) for batch in batches for part in batch)
    assert np.array_equal(np.concatenate([x.numpy() for x, _ in batches]), IMAGES)
    assert [label for _, y in batches for label in y.numpy().tolist()] == list(range(10))


def test_any_number_of_arrays_is_taken_with_their_dtypes():
    three = (IMAGES.astype(np.float64), LABELS.astype(np.uint8), LABELS % 2 == 0)
    ((x, y, z),) = DataLoader(three, 10)
    assert [x.dtype, y.dtype, z.dtype] == [np.float64, np.uint8, np.bool_]
    ((only,),) = DataLoader((IMAGES,), 10)
    assert np.array_equal(only.numpy(), IMAGES)
    (bare,) = DataLoader(IMAGES, 10)
    assert isinstance(bare, mr.Tensor)
    ((x, y, _),) = DataLoader(three, 10, dtype=np.float32)
    assert [x.dtype, y.dtype] == [np.float32, np.uint8]


@given(seed=st.integers(0, 99), batch_size=st.integers(1, 12), epoch=st.integers(0, 3), start=st.integers(0, 2))
def test_order_and_augmentation_are_those_of_a_data_set_and_a_pass_goes_on_anywhere(seed, batch_size, epoch, start):
    pixels = (IMAGES * 255).astype(np.uint8)
    options = {"shuffle": True, "augment": [RandomCrop(1), HorizontalFlip()], "seed": seed}
    loaders = [
        DataLoader(Dataset(pixels, LABELS, list("abcdefghij")), batch_size, normalize=False, **options),
        DataLoader((pixels, LABELS), batch_size, normalize=False, prefetch=0, **options),
        DataLoader(list(zip(pixels, LABELS, strict=True)), batch_size, normalize=False, **options),
    ]
    expected = list(loaders[0].arrays(epoch))
    for loader in loaders[1:]:
        assert equal(list(loader.arrays(epoch)), expected)
        assert equal(list(loader.arrays(epoch, start)), expected[start:])


def test_two_passes_are_two_epochs():
    loader = DataLoader((IMAGES, LABELS), 4, shuffle=True, seed=0)
    first, second = values(loader), values(loader)
    assert loader.epoch == 2
    assert not equal(first, second)
    assert equal(second, list(loader.arrays(1)))
    order = random.draws("data.shuffle", 0, seed=0).permutation(10)
    assert np.concatenate([y for _, y in first]).tolist() == order.tolist()


def test_plain_arrays_are_left_as_they_are_unless_normalisation_is_asked_for():
    ((x, _),) = DataLoader((IMAGES, LABELS), 10, normalize=Normalize([0.5] * 3, [0.25] * 3)).arrays(0)
    assert np.allclose(x, (IMAGES - 0.5) / 0.25, atol=4 * 4 * 2.0**-24)  # results up to 4 in size, a few roundings
    with pytest.raises(TypeError, match=r"normalize=True takes the mean and std of a Dataset, which tuple has not"):
        DataLoader((IMAGES, LABELS), 4, normalize=True)
    with pytest.raises(ShapeError, match=r"need batches that begin with images \(N, C, H, W\), got shape \(4,\)"):
        list(DataLoader((LABELS, IMAGES), 4, normalize=False))


def test_a_data_set_of_ones_own_is_asked_for_each_sample():
    mine = Squares()
    batches = values(DataLoader(mine, 4))
    assert mine.asked == list(range(10))
    assert all(type(index) is int for index in mine.asked)
    assert [x.tolist() for x, _ in batches][2] == [[8.0] * 3, [9.0] * 3]
    assert [y.tolist() for _, y in batches][1] == [16, 25, 36, 49]


def test_a_subclass_of_dataset_may_bring_samples_of_its_own():
    class Mine(Squares, Dataset):
        pass

    assert len(list(DataLoader(Mine(), 4))) == 3


def test_a_collate_function_makes_the_batch():
    class Padded(Squares):
        def __getitem__(self, index):
            return np.ones(index + 1), index

    def collate(samples):
        x = np.zeros((len(samples), 10))
        for row, (sample, _) in zip(x, samples, strict=True):
            row[: len(sample)] = sample
        return {"x": x, "names": [str(label) for _, label in samples]}

    batches = list(DataLoader(Padded(), 5, collate=collate))
    assert batches[1]["x"].numpy().sum(axis=1).tolist() == [6.0, 7.0, 8.0, 9.0, 10.0]
    assert batches[1]["names"] == ["5", "6", "7", "8", "9"]
    samples = []
    list(DataLoader((IMAGES, LABELS), 10, collate=lambda rows: samples.extend(rows) or default_collate(rows)))
    assert [int(label) for _, label in samples] == list(range(10))


@pytest.mark.parametrize("prefetch", [0, 2])
def test_an_error_in_a_data_set_says_which_sample_and_keeps_its_cause(prefetch):
    class Broken(Squares):
        def __getitem__(self, index):
            if index == 6:
                raise KeyError("no such file")
            return super().__getitem__(index)

    batches = iter(DataLoader(Broken(), 4, prefetch=prefetch))
    next(batches)
    with pytest.raises(DataError, match="sample 6 of Broken cannot be had: KeyError: 'no such file'") as told:
        next(batches)
    assert isinstance(told.value.__cause__, KeyError)


def test_samples_that_do_not_fit_are_told_by_their_index_in_the_data_set():
    samples = [np.zeros(3)] * 7 + [np.zeros(4)]
    with pytest.raises(DataError, match=r"sample 7 has shape \(4,\), but sample 6 has \(3,\)"):
        list(DataLoader(samples, 2))


class Nothing:
    def __len__(self):
        return 0

    def __getitem__(self, index):
        raise IndexError(index)


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ((IMAGES, LABELS[:9]), ShapeError, r"the arrays have 10 and 9 rows.* \(10, 3, 8, 8\), \(9,\)"),
        ((IMAGES, 3), ShapeError, "element 1 of the tuple is a single number, 3"),
        (
            (IMAGES, ["cat"] * 10),
            DtypeError,
            r"element 1 of the tuple has dtype <U3; expected numbers: give classes as",
        ),
        ((IMAGES, [[1], [1, 2]]), DataError, "element 1 of the tuple, of type list, is no array"),
        ((IMAGES[:0], LABELS[:0]), DataError, "the data set is empty"),
        ([], DataError, "the data set is empty"),
        ((), DataError, "an empty tuple holds no arrays"),
        (Nothing(), DataError, "the data set is empty.*Nothing of 0"),
        (IMAGES[:0], DataError, "the data set is empty"),
        ({"x": IMAGES}, TypeError, "got a dict; give its arrays as a tuple"),
        ("images", TypeError, "got the path 'images'; did you mean ImageFolder"),
        (Path("images"), TypeError, "did you mean ImageFolder"),
        (Squares, TypeError, "got the class Squares; call it first"),
        (iter([1]), TypeError, "an object with __len__ and __getitem__"),
        (None, TypeError, "got None"),
    ],
)
def test_what_is_no_data_set_is_told_for_what_it_is(given, error, text):
    with pytest.raises(error, match=text):
        DataLoader(given, 4)


def test_the_representation_says_what_is_loaded():
    assert repr(DataLoader((IMAGES, LABELS), 4)) == (
        "DataLoader((float32 array (10, 3, 8, 8), int64 array (10,)), 3 batches of 4)"
    )
    assert repr(DataLoader(Squares(), 4)) == "DataLoader(Squares of 10, 3 batches of 4)"
