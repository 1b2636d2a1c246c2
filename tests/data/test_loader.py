import threading

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import minires as mr
from minires import random
from minires.data import DataLoader, Dataset, FashionMNIST, HorizontalFlip, Normalize, PixelMean, RandomCrop
from minires.errors import DtypeError, ShapeError

COUNT = 23
AUGMENT = (RandomCrop(2), HorizontalFlip())


def small_dataset(count=COUNT):
    """Return images whose first pixel of the first channel is their index."""
    images = np.random.default_rng(0).integers(1, 256, (count, 2, 4, 5), np.uint8)
    images[:, 0, 0, 0] = np.arange(count)
    return Dataset(images, np.arange(count) % 3, ["a", "b", "c"])


DATASET = small_dataset()


def same(first, second):
    first, second = list(first), list(second)
    return len(first) == len(second) and all(
        np.array_equal(a, b) and a.dtype == b.dtype
        for x, y in zip(first, second, strict=True)
        for a, b in zip(x, y, strict=True)
    )


def order_of(loader, epoch=0):
    """Return the indices of the images of a pass, read from their first pixel."""
    plain = DataLoader(
        loader.dataset,
        loader.batch_size,
        shuffle=loader.shuffle,
        drop_last=loader.drop_last,
        normalize=False,
        seed=loader.seed,
        dtype=np.float64,
        indices=loader.indices,
    )
    return [round(float(image[0, 0, 0]) * 255) for images, _ in plain.arrays(epoch) for image in images]


def prefetching_threads():
    return [thread for thread in threading.enumerate() if thread.name == "minires-prefetch"]


@given(batch_size=st.integers(1, 30), drop_last=st.booleans(), prefetch=st.integers(0, 3))
def test_without_shuffling_the_images_come_in_order(batch_size, drop_last, prefetch):
    assume(batch_size <= COUNT or not drop_last)
    loader = DataLoader(DATASET, batch_size, drop_last=drop_last, prefetch=prefetch, normalize=False)
    batches = list(loader.arrays(0))
    sizes = [batch_size] * (COUNT // batch_size)
    if COUNT % batch_size and not drop_last:
        sizes.append(COUNT % batch_size)
    assert [len(images) for images, _ in batches] == sizes
    assert len(loader) == len(sizes)
    for start, (images, labels) in zip(range(0, COUNT, batch_size), batches, strict=False):
        expected = DATASET.images[start : start + batch_size]
        # The factor 1/255 and the product are rounded once each, and no pixel is above 1.
        assert np.abs(images - expected / 255).max() <= 3 * 2.0**-24
        assert np.array_equal(labels, DATASET.labels[start : start + batch_size])
        assert images.dtype == np.float32
        assert labels.dtype == np.int64
        assert images.flags.c_contiguous


@given(seed=st.integers(0, 999), epoch=st.integers(0, 50), batch_size=st.integers(1, 30))
def test_shuffling_gives_every_image_once_with_its_label(seed, epoch, batch_size):
    loader = DataLoader(DATASET, batch_size, shuffle=True, seed=seed)
    order = order_of(loader, epoch)
    assert sorted(order) == list(range(COUNT))
    labels = np.concatenate([labels for _, labels in loader.arrays(epoch)])
    assert np.array_equal(labels, DATASET.labels[order])


def test_epochs_and_seeds_give_different_orders():
    orders = {
        tuple(order_of(DataLoader(DATASET, 5, shuffle=True, seed=seed), epoch))
        for seed in range(4)
        for epoch in range(4)
    }
    assert len(orders) == 16


@given(seed=st.integers(0, 999), batch_size=st.integers(1, 30), epoch=st.integers(0, 9))
def test_the_prefetch_depth_changes_nothing(seed, batch_size, epoch):
    loaders = [
        DataLoader(DATASET, batch_size, shuffle=True, augment=AUGMENT, seed=seed, prefetch=prefetch)
        for prefetch in (0, 1, 4)
    ]
    passes = [list(loader.arrays(epoch)) for loader in loaders]
    assert same(passes[0], passes[1])
    assert same(passes[0], passes[2])


@given(seed=st.integers(0, 999), first=st.integers(1, 30), second=st.integers(1, 30))
def test_what_happens_to_an_image_depends_on_seed_epoch_and_its_index_alone(seed, first, second):
    def by_index(batch_size, indices, shuffle):
        loader = DataLoader(DATASET, batch_size, shuffle, augment=AUGMENT, seed=seed, indices=indices)
        images = np.concatenate([images for images, _ in loader.arrays(3)])
        return dict(zip(order_of(loader, 3), images, strict=True))

    everything = by_index(first, None, True)
    part = by_index(second, np.arange(COUNT)[::-2], False)
    assert len(part) == 12
    assert all(np.array_equal(everything[index], image) for index, image in part.items())


@given(seed=st.integers(0, 999), epoch=st.integers(0, 9))
def test_augmented_images_are_the_augmentations_of_their_draws(seed, epoch):
    loader = DataLoader(DATASET, COUNT, augment=AUGMENT, normalize=False, seed=seed)
    ((images, _),) = loader.arrays(epoch)
    expected = DATASET.images
    for place, augmentation in enumerate(AUGMENT):
        expected = augmentation(expected, random.draws("data.augment", place, epoch, seed=seed))
    assert np.array_equal(np.rint(images * 255), expected)


def test_augmentations_differ_between_epochs_and_images():
    loader = DataLoader(DATASET, COUNT, augment=[RandomCrop(2)], seed=0)
    passes = [next(loader.arrays(epoch))[0] for epoch in range(5)]
    assert len({images.tobytes() for images in passes}) == 5


@given(start=st.integers(0, 7), prefetch=st.integers(0, 2))
def test_a_pass_goes_on_from_any_batch(start, prefetch):
    loader = DataLoader(DATASET, 4, shuffle=True, augment=AUGMENT, seed=1, prefetch=prefetch)
    assert same(list(loader.arrays(2))[start:], loader.arrays(2, start=start))


def test_the_epoch_counts_up_after_each_pass_and_a_set_epoch_resumes():
    whole = DataLoader(DATASET, 4, shuffle=True, augment=AUGMENT, seed=1)
    passes = []
    for epoch in range(4):
        assert whole.epoch == epoch
        passes.append([(images.numpy(), labels.numpy()) for images, labels in whole])
    resumed = DataLoader(DATASET, 4, shuffle=True, augment=AUGMENT, seed=1, prefetch=0)
    resumed.epoch = 2
    for epoch in (2, 3):
        assert same([(images.numpy(), labels.numpy()) for images, labels in resumed], passes[epoch])
    assert resumed.epoch == 4


def test_a_pass_that_is_broken_off_ends_its_thread_and_is_not_counted():
    loader = DataLoader(DATASET, 4, prefetch=3)
    for _ in loader:
        assert len(prefetching_threads()) == 1
        break
    assert prefetching_threads() == []
    assert loader.epoch == 0


def test_tensors_are_the_arrays():
    loader = DataLoader(DATASET, 8, shuffle=True, seed=2, dtype=np.float64)
    for (images, labels), arrays in zip(loader, loader.arrays(0), strict=True):
        assert isinstance(images, mr.Tensor)
        assert images.dtype == np.float64
        assert labels.dtype == np.int64
        assert not images.requires_grad
        assert same([(images.numpy(), labels.numpy())], [arrays])


def test_the_default_seed_is_that_of_manual_seed_at_the_beginning_of_a_pass():
    state = random.get_state()
    try:
        loader = DataLoader(DATASET, 5, shuffle=True, augment=AUGMENT)
        mr.manual_seed(11)
        batches = loader.arrays(0)
        mr.manual_seed(12)
        assert same(batches, DataLoader(DATASET, 5, shuffle=True, augment=AUGMENT, seed=11).arrays(0))
        assert random.get_state() == {"seed": 12, "counters": {}}
    finally:
        random.set_state(state)


@pytest.mark.parametrize("prefetch", [0, 2])
def test_an_error_in_an_augmentation_reaches_the_consumer_and_ends_the_thread(prefetch):
    class Broken(HorizontalFlip):
        def apply(self, images, rows):
            if len(images) < 4:  # the last batch
                raise ArithmeticError("broken")
            return images

    loader = DataLoader(DATASET, 4, augment=[Broken()], prefetch=prefetch)
    batches = iter(loader)
    for _ in range(5):
        next(batches)
    with pytest.raises(ArithmeticError, match="broken"):
        next(batches)
    assert loader.epoch == 0
    assert prefetching_threads() == []


def test_true_normalizes_by_the_data_sets_statistics_and_others_as_they_say():
    for normalize, expected in (
        (True, Normalize(DATASET.mean, DATASET.std)),
        (PixelMean.of(DATASET), PixelMean.of(DATASET)),
    ):
        ((images, _),) = DataLoader(DATASET, COUNT, normalize=normalize).arrays(0)
        assert np.array_equal(images, expected(DATASET.images, np.float32))


def test_indices_take_a_part_and_leave_the_callers_array_alone():
    indices = np.array([5, 1, 5, 22], np.uint8)
    loader = DataLoader(DATASET, 3, indices=indices)
    assert order_of(loader) == [5, 1, 5, 22]
    assert len(loader) == 2
    assert len(DataLoader(DATASET, 3, indices=np.array([], int))) == 0


def test_the_embedded_set_makes_balanced_batches():
    images, labels = next(DataLoader(FashionMNIST(), 1000, shuffle=True, seed=0).arrays(0))
    assert images.shape == (1000, 1, 28, 28)
    # 1,000 of 5,000 without replacement: each class hypergeometric, mean 100, standard deviation 8.5; six of them.
    assert np.abs(np.bincount(labels, minlength=10) - 100).max() < 51


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"batch_size": 0}, ShapeError, "batch_size must be a positive integer, got 0"),
        ({"batch_size": 1.5}, ShapeError, "batch_size"),
        ({"prefetch": -1}, ShapeError, "prefetch must be an integer of at least 0, got -1"),
        ({"dtype": np.float16}, DtypeError, "float16"),
        ({"dtype": "int64"}, DtypeError, "int64"),
        ({"indices": [0, COUNT]}, ShapeError, f"index {COUNT} is out of range.*{COUNT} samples"),
        ({"indices": [-1]}, ShapeError, "index -1"),
        ({"indices": [0.5]}, ShapeError, "indices must be integers"),
        ({"indices": [[0]]}, ShapeError, "indices must be integers"),
        ({"augment": ["flip"]}, TypeError, "'flip' is no augmentation"),
        ({"augment": [HorizontalFlip]}, TypeError, "the class HorizontalFlip; did you mean to call it"),
        ({"augment": HorizontalFlip}, TypeError, "the class HorizontalFlip"),
        ({"augment": 3}, TypeError, "3 is no augmentation"),
        ({"normalize": "yes"}, TypeError, "normalize must be"),
        ({"normalize": Normalize}, TypeError, "normalize must be"),
        ({"seed": -1}, ValueError, "-1"),
        ({"seed": 0.5}, TypeError, r"0\.5"),
        ({"batch_size": True}, ShapeError, "batch_size must be a positive integer, got True"),
        ({"batch_size": np.array([4])}, ShapeError, "batch_size must be a positive integer, got array"),
        ({"batch_size": "4"}, ShapeError, "batch_size must be a positive integer, got '4'"),
        ({"dtype": "flaot32"}, DtypeError, "dtype must be float32 or float64, got 'flaot32'"),
        ({"shuffle": "no"}, TypeError, "shuffle must be True or False, got 'no'"),
        ({"drop_last": 2}, TypeError, "drop_last must be True or False, got 2"),
        ({"collate": "stack"}, TypeError, "collate must be a function of a list of samples, got 'stack'"),
        ({"batch_size": 24, "drop_last": True}, ValueError, "batch_size 24 is more than the 23 samples"),
        ({"drop_last": True, "indices": [1, 2]}, ValueError, "batch_size 4 is more than the 2 samples"),
    ],
)
def test_a_bad_parameter_is_an_error_at_once(options, error, text):
    with pytest.raises(error, match=text):
        DataLoader(DATASET, **{"batch_size": 4, **options})


def test_numbers_of_numpy_are_taken_as_pythons():
    plain = DataLoader(DATASET, 4, shuffle=True, seed=3, prefetch=1)
    other = DataLoader(DATASET, np.int64(4), np.True_, seed=np.uint8(3), prefetch=np.int32(1))
    assert same(plain.arrays(1), other.arrays(np.int16(1)))


def test_a_single_augmentation_needs_no_list():
    one, many = (DataLoader(DATASET, 4, augment=augment, seed=1) for augment in (HorizontalFlip(), [HorizontalFlip()]))
    assert same(one.arrays(0), many.arrays(0))


def test_a_batch_larger_than_the_data_holds_all_of_them():
    assert [len(labels) for _, labels in DataLoader(DATASET, COUNT + 1)] == [COUNT]


@pytest.mark.parametrize("epoch", [-1, 0.5, "1"])
def test_a_bad_epoch_is_an_error_and_changes_nothing(epoch):
    loader = DataLoader(DATASET, 4)
    with pytest.raises(ShapeError, match="epoch must be"):
        loader.epoch = epoch
    for arguments in ((epoch,), (0, epoch)):
        with pytest.raises(ShapeError, match="must be an integer of at least 0"):
            loader.arrays(*arguments)
    assert loader.epoch == 0
