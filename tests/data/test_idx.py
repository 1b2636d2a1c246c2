import gzip
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minires.data import read_idx
from minires.errors import DataError, ShapeError


def idx_bytes(array):
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("idx") / "array"


@given(shape=st.lists(st.integers(0, 5), min_size=1, max_size=4), seed=st.integers(0, 99), zipped=st.booleans())
def test_a_written_array_comes_back(file, shape, seed, zipped):
    array = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    file.write_bytes(gzip.compress(idx_bytes(array)) if zipped else idx_bytes(array))
    read = read_idx(file, len(shape))
    assert read.dtype == np.uint8
    assert np.array_equal(read, array)
    assert not read.flags.writeable


@given(cut=st.integers(1, 31), zipped=st.booleans())
def test_a_file_cut_anywhere_is_an_error(file, cut, zipped):
    array = np.arange(24, dtype=np.uint8).reshape(4, 6)
    content = idx_bytes(array)[: 36 - cut]
    file.write_bytes(gzip.compress(content) if zipped else content)
    with pytest.raises(DataError, match="expected"):
        read_idx(file, 2)


@given(data=st.data())
def test_a_gzip_file_cut_anywhere_is_an_error(file, data):
    content = gzip.compress(idx_bytes(np.arange(200, dtype=np.uint8)))
    file.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(DataError, match=str(file)):
        read_idx(file, 1)


def test_a_damaged_gzip_file_is_an_error(file):
    content = bytearray(gzip.compress(idx_bytes(np.arange(200, dtype=np.uint8))))
    content[-6] ^= 1  # its checksum
    file.write_bytes(content)
    with pytest.raises(DataError, match="damaged gzip"):
        read_idx(file, 1)


def test_a_file_longer_than_it_says_is_an_error(file):
    file.write_bytes(idx_bytes(np.zeros((2, 3), np.uint8)) + b"\0")
    with pytest.raises(DataError, match=r"holds 19 bytes uncompressed; expected 18.*\(2, 3\)"):
        read_idx(file, 2)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\0\x08",
        b"\x89PNG\r\n\x1a\n" + bytes(50),
        struct.pack(">HBBI", 0, 8, 1, 3) + b"abc",  # one axis
        struct.pack(">HBBII", 0, 13, 2, 1, 1) + bytes(4),  # floats
    ],
)
def test_a_foreign_file_is_an_error_that_names_the_magic_number(file, content):
    file.write_bytes(content)
    with pytest.raises(DataError, match=f"{file} starts with.*0x00000802"):
        read_idx(file, 2)


def test_a_missing_file_or_a_directory_is_an_error_that_names_it(tmp_path):
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(DataError, match=f"cannot read {path}.*IDX"):
            read_idx(path, 1)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "nothing: it is empty"),
        (b"<!DOCTYPE html><html>", r"3c21444f \(b'<!DOCTYPE html><'\)"),
        (idx_bytes(np.zeros(3, np.uint8)), "00000801, an IDX file of 1 axes"),
    ],
)
def test_a_foreign_file_shows_how_it_starts(file, content, found):
    file.write_bytes(content)
    with pytest.raises(DataError, match=f"starts with {found}.*; expected an IDX file of unsigned bytes with 3 axes"):
        read_idx(file, 3)


@pytest.mark.parametrize("ndim", [0, "3", 1.5])
def test_a_bad_number_of_axes_is_an_error(file, ndim):
    with pytest.raises(ShapeError, match="ndim must be a positive integer"):
        read_idx(file, ndim)
