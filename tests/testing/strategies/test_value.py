"""Arrays have the values of their kind, and a failing example shows them in a short text."""

import numpy as np
import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from minires.testing import strategies as ms

SEARCH = settings(max_examples=20_000, database=None, derandomize=True)
REACH = settings(SEARCH, phases=[Phase.generate])  # any example will do, not the smallest


@given(ms.shapes(min_side=0), ms.kinds(), ms.dtypes(), ms.memory_orders(), ms.seeds())
def test_arrays_are_functions_of_their_seed(shape, kind, dtype, order, seed):
    x = ms.array(shape, seed, kind, dtype, order)
    assert (x.shape, x.dtype) == (shape, dtype)
    assert np.isfinite(x).all()
    np.testing.assert_array_equal(x, ms.array(shape, seed, kind, dtype))


@given(ms.shapes(), ms.seeds(), ms.memory_orders())
def test_kinds_of_values_keep_their_bounds(shape, seed, order):
    values = {kind: ms.array(shape, seed, kind, order=order) for kind in ms.KINDS}
    assert set(values["integers"].flat) <= set(range(-8, 9))
    assert set(values["tied"].flat) <= {-1.0, 0.0, 1.0}
    from_a_tie = np.abs(values["near_ties"] - np.round(values["near_ties"]))
    assert ((from_a_tie > 0.9e-12) & (from_a_tie < 1.1e-3)).all()
    assert ((values["positive"] >= 0.01) & (values["positive"] <= 100)).all()


@pytest.mark.parametrize(("shape", "distance"), [((), 1), ((3, 5), 1), ((4, 4), 1), ((17,), 0.5), ((5,) * 4, 1 / 64)])
def test_values_apart_are_far_from_zero_and_from_each_other(shape, distance):
    x = ms.array(shape, 0, "apart")
    assert np.abs(x).max() < 8
    assert np.abs(x).min() == distance / 2
    assert (np.diff(np.sort(x, axis=None)) == distance).all()


def test_values_near_kinks_lie_on_zero_close_to_it_and_elsewhere():
    # Of 24,000 values each, a twelfth is 0, and 11/36 are near it: four standard deviations are below 0.012.
    values = np.concatenate([ms.array((24,), seed, "near_kinks") for seed in range(1000)])
    near = (values != 0) & (np.abs(values) < 1e-3)
    assert abs(np.mean(values == 0) - 1 / 12) < 0.012
    assert abs(np.mean(near) - 11 / 36) < 0.013
    assert (np.abs(values[near]) < 1e-11).any()
    assert (np.abs(values[near]) > 1e-4).any()
    assert {-1.0, 1.0} == set(np.sign(values[near]))


def test_tied_values_tie_and_other_kinds_do_not():
    for kind in ms.KINDS:
        x = ms.array((100,), 0, kind)
        ties = np.unique(x).size < x.size
        assert ties == (kind in ("integers", "tied", "near_kinks")), kind  # near kinks, several zeros
    x = ms.array((100,), 0, "near_ties")
    assert np.diff(np.sort(x)).min() < 1e-9  # about 33 of them lie at each integer, evenly on a logarithmic scale


def test_positive_values_are_of_all_sizes():
    x = ms.array((1000,), 0, "positive")
    assert x.min() < 0.02
    assert x.max() > 50


def test_another_stream_gives_other_values():
    assert not np.array_equal(ms.array((9,), 0), ms.array((9,), 0, stream=1))


def test_an_unknown_kind_or_order_is_refused_before_anything_is_drawn():
    with pytest.raises(ValueError, match="'rough' is not one of smooth"):
        ms.array((3,), 0, "rough")
    with pytest.raises(ValueError, match="'rough' is not one of smooth"):
        ms.arrays(kinds=["smooth", "rough"])
    with pytest.raises(ValueError, match="'D' is not one of C"):
        ms.arrays(orders="D")


@given(ms.arrays())
def test_arrays_are_float64_of_at_least_one_element(x):
    assert x.dtype == np.float64
    assert x.ndim <= 4
    assert x.size >= 1


@given(
    ms.arrays((2, 3), "tied", np.float32, "F"), ms.arrays(ms.shapes(1, 1), ms.kinds(), ms.dtypes(), ms.memory_orders())
)
def test_arrays_are_what_was_asked_for(x, y):
    assert (x.shape, x.dtype, x.strides) == ((2, 3), np.float32, (4, 8))
    assert set(x.flat) <= {-1, 0, 1}
    assert y.ndim == 1
    assert y.dtype in (np.float32, np.float64)


@given(ms.arrays(kinds="integers", dtype="int64"))
def test_arrays_of_integers_may_have_an_integer_dtype(x):
    assert x.dtype == np.int64
    assert (np.abs(x) <= 8).all()


@pytest.mark.parametrize(
    "corner",
    [
        lambda x: x.shape == (),
        lambda x: x.ndim == 4,
        lambda x: x.ndim == 2 and x.flags.f_contiguous and not x.flags.c_contiguous,
        lambda x: x.ndim == 2 and x.size > 1 and min(x.strides) < 0,
        lambda x: x.ndim == 1 and x.size > 1 and x.strides == (16,),
        lambda x: x.ndim == 4 and x.strides[0] < x.strides[2] and x.shape[0] > 1,
        lambda x: x.size > 1 and np.unique(x).size == 1,
        lambda x: (x == 0).any() and (x != np.round(x)).any(),
        lambda x: x.size > 3 and (x == np.round(x)).all() and np.abs(x).max() > 2,
        lambda x: np.abs(x).max() > 50,
        lambda x: (np.abs(x) > 0).all() and np.abs(x).min() < 1e-9,
    ],
)  # fmt: skip
def test_every_corner_of_arrays_is_reached(corner):
    find(ms.arrays(), corner, settings=REACH)


def test_empty_arrays_are_drawn_where_they_are_asked_for():
    assert find(ms.arrays(ms.shapes(min_side=0)), lambda x: not x.size, settings=SEARCH).shape == (0,)


def test_the_smallest_array_is_one_number_of_seed_0():
    x = find(ms.arrays(), lambda x: True, settings=SEARCH)
    np.testing.assert_array_equal(x, ms.array((), 0))
    x = find(ms.arrays(), lambda x: x.size >= 2, settings=SEARCH)
    np.testing.assert_array_equal(x, ms.array((2,), 0))
    assert x.flags.c_contiguous


def test_two_arrays_of_one_example_differ_although_their_seeds_shrink_to_0():
    x, y = find(st.tuples(ms.arrays((4,)), ms.arrays((4,))), lambda pair: True, settings=SEARCH)
    np.testing.assert_array_equal(x, ms.array((4,), 0))
    np.testing.assert_array_equal(y, ms.array((4,), 0, stream=1))


def shown(strategy, corner):
    """Return the text of the smallest example in the corner."""

    @settings(SEARCH, print_blob=False)
    @given(strategy)
    def test(x):
        assert not corner(x)

    with pytest.raises(AssertionError) as failure:
        test()
    (note,) = [note for note in failure.value.__notes__ if "test(" in note]
    return "".join(note.partition("test(")[2].split())


def test_a_failing_example_shows_how_an_array_is_made():
    assert shown(ms.arrays(), lambda x: x.shape == (5, 5)) == "x=array(shape=(5,5),seed=0),)"
    wanted = "x=array(shape=(3,3),seed=0,kind='tied',dtype='float32',order='F'),)"
    strategy = ms.arrays(ms.shapes(2, 2), "tied", "float32", "F")
    assert shown(strategy, lambda x: x.shape == (3, 3)) == wanted


def test_labels_are_class_numbers_or_ignored():
    @given(st.integers(1, 6), st.integers(1, 5), st.data())
    def labels_are_legal(batch, classes, data):
        labels = data.draw(ms.labels(batch, classes, ignore_index=-100))
        assert labels.dtype == np.int64
        assert all(label == -100 or 0 <= label < classes for label in labels)

    labels_are_legal()


@pytest.mark.parametrize("corner", [lambda y: (y == -1).all(), lambda y: (y >= 0).all(), lambda y: len(set(y)) == 4])
def test_labels_are_all_ignored_none_or_some(corner):
    find(ms.labels(6, 3, ignore_index=-1), corner, settings=REACH)


def test_dtypes_and_orders_are_all_reached():
    assert find(ms.dtypes(), lambda dtype: True, settings=SEARCH) == np.float64
    assert find(ms.memory_orders(), lambda order: True, settings=SEARCH) == "C"
    assert find(ms.kinds(), lambda kind: True, settings=SEARCH) == "smooth"
    for strategy, all_of_them in (
        (ms.kinds(), ms.KINDS),
        (ms.memory_orders(), ("C", "F", "HWNC", "sliced", "reversed")),
    ):
        for one in all_of_them:
            assert find(strategy, lambda drawn, one=one: drawn == one, settings=REACH) == one
