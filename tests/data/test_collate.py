from collections import namedtuple

import numpy as np
import pytest

import minires as mr
from minires.data import default_collate
from minires.data.collate import arrays_of, mapped, with_arrays
from minires.errors import DataError

Point = namedtuple("Point", "x y")


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ([np.zeros((2, 3)), np.ones((2, 3))], np.stack([np.zeros((2, 3)), np.ones((2, 3))])),
        ([mr.tensor([1.0]), mr.tensor([2.0])], np.array([[1.0], [2.0]], np.float32)),
        ([1, 2], np.array([1, 2])),
        ([1.5, 2.5], np.array([1.5, 2.5])),
        ([True, False], np.array([True, False])),
        ([np.float32(1), np.float32(2)], np.array([1, 2], np.float32)),
        ([np.array(1), np.array(2)], np.array([1, 2])),
    ],
)
def test_arrays_and_numbers_become_one_array(samples, expected):
    batch = default_collate(samples)
    assert np.array_equal(batch, expected)
    assert batch.dtype == expected.dtype


def test_tuples_lists_dictionaries_and_strings_are_collated_element_by_element():
    sample = {"x": np.zeros(2), "where": Point(1, 2.0), "name": "a", "list": [1, (2, 3)]}
    batch = default_collate([sample, sample, sample])
    assert batch["x"].shape == (3, 2)
    assert batch["where"].x.tolist() == [1, 1, 1]
    assert batch["where"].y.tolist() == [2.0, 2.0, 2.0]
    assert batch["name"] == ["a", "a", "a"]
    assert isinstance(batch["list"], list)
    assert batch["list"][1][1].tolist() == [3, 3, 3]


@pytest.mark.parametrize(
    ("samples", "error", "text"),
    [
        (
            [(np.zeros(2), 1), (np.zeros(3), 1)],
            DataError,
            r"sample 5\[0\] has shape \(3,\), but sample 4\[0\] has \(2,\)",
        ),
        ([(1, 2), (1, 2, 3)], DataError, "sample 5 has length 3, but sample 4 has 2"),
        ([{"a": 1}, {"b": 1}], DataError, r"sample 5 has keys \['b'\], but sample 4 has \['a'\]"),
        (
            [{"a": (1, 2)}, {"a": (1, "2")}],
            DataError,
            r"sample 5\['a'\]\[1\] is a string, but sample 4\['a'\]\[1\] is a num",
        ),
        ([1, None], TypeError, "sample 5 is of type NoneType, of which no batch can be made: return arrays, numbers"),
        ([object(), 1], TypeError, "sample 4 is of type object"),
    ],
)
def test_samples_that_do_not_fit_are_told_by_index_and_place(samples, error, text):
    with pytest.raises(error, match=text):
        default_collate(samples, [4, 5])


def test_every_array_of_a_batch_is_found_and_put_back():
    names = np.array(["a", "b"])
    batch = {"x": (np.zeros(2), [mr.tensor([1.0]), "text", 7]), "names": names, "point": Point(np.ones(1), None)}
    arrays = arrays_of(batch)
    assert [array.tolist() for array in arrays] == [[0.0, 0.0], [1.0], [1.0]]
    again = with_arrays(batch, ["first", "second", "third"])
    assert again == {"x": ("first", ["second", "text", 7]), "names": names, "point": Point("third", None)}
    assert mapped(5, str) == 5


@pytest.mark.parametrize(("large", "small"), [(2**70, 1), (np.array([2**70, 1]), np.array([1, 1]))])
def test_an_integer_that_no_dtype_holds_is_an_error(large, small):
    with pytest.raises(DataError, match=r"sample 7\[0\] is .*1180591620717411303424.*, which no dtype of NumPy holds"):
        default_collate([(small, 0), (large, 1)], [3, 7])
