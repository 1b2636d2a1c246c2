import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minires.data import Augmentation, Dataset, HorizontalFlip, Normalize, PixelMean, RandomCrop
from minires.errors import DataError, DtypeError, ShapeError

EPS = {np.float32: 2.0**-24, np.float64: 2.0**-53}  # the largest relative error of one rounding
shapes = st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 6), st.integers(1, 6))
seeds = st.integers(0, 9999)
kinds = st.sampled_from([np.uint8, np.float32, np.float64])


def batch(shape, seed, kind=np.uint8):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, shape, np.uint8) if kind is np.uint8 else rng.random(shape).astype(kind)


@given(shape=shapes, seed=seeds, kind=kinds, padding=st.integers(0, 3))
def test_a_crop_shows_the_padded_image_from_its_offset_on(shape, seed, kind, padding):
    images, crop = batch(shape, seed, kind), RandomCrop(padding)
    rows = crop.draw(np.random.default_rng(seed), shape[0])
    cropped = crop.apply(images, rows)
    N, C, H, W = shape
    for n in range(N):
        dy, dx = rows[n]
        for c in range(C):
            for i in range(H):
                for j in range(W):
                    h, w = i + dy - padding, j + dx - padding
                    expected = images[n, c, h, w] if 0 <= h < H and 0 <= w < W else 0
                    assert cropped[n, c, i, j] == expected
    assert cropped.dtype == kind
    assert cropped.flags.c_contiguous


@given(shape=shapes, seed=seeds, kind=kinds)
def test_a_flip_mirrors_the_columns_of_the_images_that_it_drew(shape, seed, kind):
    images, flip = batch(shape, seed, kind), HorizontalFlip()
    rows = flip.draw(np.random.default_rng(seed), shape[0])
    flipped = flip.apply(images, rows)
    N, C, H, W = shape
    for n in range(N):
        for c in range(C):
            for i in range(H):
                for j in range(W):
                    assert flipped[n, c, i, j] == images[n, c, i, W - 1 - j if rows[n] else j]
    assert flipped.dtype == kind


@given(shape=shapes, seed=seeds)
def test_two_flips_are_none_and_a_crop_at_the_padding_is_none(shape, seed):
    images = batch(shape, seed)
    everything, flags = HorizontalFlip(1.0), np.ones(shape[0], bool)
    assert np.array_equal(everything.apply(everything(images, np.random.default_rng(0)), flags), images)
    assert np.array_equal(RandomCrop(4).apply(images, np.full((shape[0], 2), 4)), images)


@pytest.mark.parametrize("augmentation", [RandomCrop(2), HorizontalFlip()])
def test_an_augmentation_is_a_pure_function_of_images_and_generator(augmentation):
    images = batch((6, 2, 5, 4), 0)
    before = images.copy()
    images.flags.writeable = False
    first, second = (augmentation(images, np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(first, second)
    assert np.array_equal(images, before)
    assert not np.shares_memory(first, images)
    rows = augmentation.draw(np.random.default_rng(3), 6)
    for n in range(6):  # an image's result depends on its own row alone
        assert np.array_equal(augmentation.apply(images[n : n + 1], rows[n : n + 1])[0], first[n])
    assert isinstance(augmentation, Augmentation)


def test_every_crop_offset_and_both_flips_are_drawn_equally_often():
    # Counts of a binomial with share p of n = 81,000: within six standard deviations, sqrt(n·p·(1 − p)).
    n, rng = 81_000, np.random.default_rng(0)
    offsets = RandomCrop(4).draw(rng, n)
    assert offsets.shape == (n, 2)
    counts = np.bincount(offsets[:, 0] * 9 + offsets[:, 1], minlength=81)
    assert len(counts) == 81
    assert np.abs(counts - n / 81).max() < 6 * np.sqrt(n / 81 * (80 / 81))
    assert abs(HorizontalFlip().draw(rng, n).sum() - n / 2) < 6 * np.sqrt(n / 4)


@pytest.mark.parametrize(("probability", "flipped"), [(0.0, 0), (1.0, 100)])
def test_the_probabilities_zero_and_one_are_certain(probability, flipped):
    assert HorizontalFlip(probability).draw(np.random.default_rng(0), 100).sum() == flipped


@given(shape=shapes, seed=seeds, kind=kinds, dtype=st.sampled_from([np.float32, np.float64]))
def test_normalize_shifts_and_scales_each_channel(shape, seed, kind, dtype):
    images = batch(shape, seed, kind)
    rng = np.random.default_rng(seed + 1)
    mean, std = rng.uniform(0.2, 0.8, shape[1]), rng.uniform(0.1, 0.5, shape[1])
    y = Normalize(mean, std)(images, dtype)
    assert y.dtype == dtype
    unit = 255 if kind is np.uint8 else 1
    # x·scale − shift: each of the two terms is below 10 (1 / 0.1 and 0.8 / 0.1) and is rounded at most three
    # times (the pixel, the factor, the product; the shift once), their difference once: 7 roundings of 10.
    for n, c, h, w in np.ndindex(shape):
        expected = (float(images[n, c, h, w]) / unit - mean[c]) / std[c]
        assert abs(float(y[n, c, h, w]) - expected) <= 7 * 10 * EPS[dtype]


@given(shape=shapes, seed=seeds, kind=kinds, dtype=st.sampled_from([np.float32, np.float64]))
def test_pixel_mean_is_subtracted_from_each_pixel(shape, seed, kind, dtype):
    images = batch(shape, seed, kind)
    mean = np.random.default_rng(seed + 1).random(shape[1:])
    y = PixelMean(mean)(images, dtype)
    assert y.dtype == dtype
    unit = 255 if kind is np.uint8 else 1
    for n, c, h, w in np.ndindex(shape):
        expected = float(images[n, c, h, w]) / unit - mean[c, h, w]
        assert abs(float(y[n, c, h, w]) - expected) <= 5 * EPS[dtype]  # five roundings of numbers up to 1


def test_the_mean_image_of_a_data_set_centres_it():
    images = batch((50, 2, 3, 4), 1)
    dataset = Dataset(images, np.zeros(50, int), ["a"])
    centred = PixelMean.of(dataset)(images, np.float64)
    assert np.abs(centred.sum(axis=0)).max() <= 50 * 5 * EPS[np.float64]


def test_the_data_sets_own_statistics_make_mean_zero_and_std_one():
    dataset = Dataset(batch((50, 2, 3, 4), 1), np.zeros(50, int), ["a"])
    y = Normalize(dataset.mean, dataset.std)(dataset.images, np.float64)
    # 600 pixels a channel, none above 10 in size, each wrong by at most 70 roundings.
    assert np.abs(y.mean(axis=(0, 2, 3))).max() < 100 * EPS[np.float64]
    assert np.abs(y.var(axis=(0, 2, 3)) - 1).max() < 2000 * EPS[np.float64]


@pytest.mark.parametrize("padding", [-1, 1.5, "4", True, None])
def test_a_bad_padding_is_an_error(padding):
    with pytest.raises(ShapeError, match="padding must be"):
        RandomCrop(padding)


@pytest.mark.parametrize("probability", [-0.1, 1.1, float("nan"), "0.5", None])
def test_a_bad_probability_is_an_error(probability):
    with pytest.raises(ShapeError, match="probability must be"):
        HorizontalFlip(probability)


@pytest.mark.parametrize(("mean", "std"), [((0.5,), (0.5, 0.5)), ((0.5,), (0.0,)), ((0.5,), (-1,))])
def test_bad_statistics_are_an_error(mean, std):
    with pytest.raises(DataError, match="positive std"):
        Normalize(mean, std)


@pytest.mark.parametrize("values", [0.5, "abc", [None], [], [float("nan")], [float("inf")]])
def test_statistics_that_are_no_finite_numbers_are_an_error(values):
    for name, both in (("mean", {"mean": values, "std": [1]}), ("std", {"mean": [0], "std": values})):
        with pytest.raises(DataError, match=f"{name} must be one (finite )?number a channel"):
            Normalize(**both)


@pytest.mark.parametrize("transform", [RandomCrop(1), HorizontalFlip()])
def test_one_image_without_a_batch_is_an_error_that_says_what_to_write(transform):
    with pytest.raises(ShapeError, match=r"\(N, C, H, W\), got shape \(3, 4, 4\); for one image write image\[None\]"):
        transform(np.zeros((3, 4, 4)), np.random.default_rng(0))


@pytest.mark.parametrize("normalization", [Normalize([0.5] * 3, [1] * 3), PixelMean(np.zeros((3, 4, 4)))])
def test_integers_are_not_normalised_as_if_they_were_floats(normalization):
    with pytest.raises(DtypeError, match=r"expected images of uint8, or of floats .*, got int64"):
        normalization(np.zeros((2, 3, 4, 4), np.int64))
    with pytest.raises(DtypeError, match="images are normalised to floats, got dtype int64"):
        normalization(np.zeros((2, 3, 4, 4), np.uint8), np.int64)
    with pytest.raises(ShapeError, match=r"expected an array of images \(N, C, H, W\), got list"):
        normalization([[1]])


def test_a_mean_image_is_made_of_floats_or_a_data_set():
    with pytest.raises(DataError, match="mean must be an array of floats"):
        PixelMean("a")
    with pytest.raises(TypeError, match=r"PixelMean\.of takes a Dataset, got ndarray"):
        PixelMean.of(np.zeros((2, 3, 4, 4), np.uint8))


def test_images_of_another_shape_are_an_error():
    images = batch((2, 3, 4, 4), 0)
    for normalization in (Normalize([0.5], [1]), PixelMean(np.zeros((3, 4, 5)))):
        with pytest.raises(ShapeError, match=r"\(2, 3, 4, 4\)"):
            normalization(images)
    with pytest.raises(ShapeError, match=r"\(C, H, W\), got \(3, 4\)"):
        PixelMean(np.zeros((3, 4)))
