import errno
import io
import json
import os
import pickle
import re
import resource
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minires as mr
from minires import checkpoint, nn
from minires.checkpoint import load, load_metadata, save
from minires.errors import CheckpointError, DtypeError

DTYPES = ["float16", "float32", "float64", "int8", "int64", "uint8", "uint64", "bool", ">f4", ">i8"]
ORDERS = {
    "C": lambda a: a,
    "Fortran": np.asfortranarray,
    "HWNC": lambda a: np.ascontiguousarray(a.transpose(2, 3, 0, 1)).transpose(2, 3, 0, 1),
    "sliced": lambda a: np.repeat(a, 2, axis=3)[..., ::2],
    "reversed": lambda a: np.ascontiguousarray(a[::-1, ..., ::-1])[::-1, ..., ::-1],
    "broadcast": lambda a: np.broadcast_to(a[:1], a.shape),
}


def filled(dtype, shape=(2, 3, 4, 5)):
    return np.random.default_rng(0).integers(0, 100, shape).astype(dtype)


def assert_same(got, expected):
    assert isinstance(got, mr.Tensor)
    assert got.device == "cpu"
    assert got.dtype == expected.dtype.newbyteorder("=")
    assert got.shape == expected.shape
    assert np.array_equal(got.array, expected)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_come_back_with_values_shape_and_dtype_from_any_memory_order(tmp_path, dtype, order):
    array = ORDERS[order](filled(dtype))
    save({"x": array}, tmp_path / "a.safetensors")
    assert_same(load(tmp_path / "a.safetensors")["x"], array)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (1,), (0,), (3, 0, 2)])
def test_numbers_and_empty_arrays_keep_their_shape(tmp_path, dtype, shape):
    array = filled(dtype, shape)
    save({"x": array}, tmp_path / "a.safetensors")
    assert_same(load(tmp_path / "a.safetensors")["x"], array)


@given(st.binary(min_size=8, max_size=64))
def test_every_bit_of_a_float_survives(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("bits") / "a.safetensors"
    array = np.frombuffer(content[: len(content) // 8 * 8], np.float64)  # NaN with payload, -0, subnormals
    save({"x": array}, path)
    assert load(path)["x"].array.tobytes() == array.tobytes()


def test_tensors_and_what_a_module_knows_come_back(tmp_path):
    mr.manual_seed(1)
    model = mr.models.resnet20(in_channels=1)
    save(model.state_dict(), tmp_path / "m.safetensors")
    mr.manual_seed(2)
    other = mr.models.resnet20(in_channels=1)
    other.load_state_dict(load(tmp_path / "m.safetensors"))
    for (name, value), got in zip(model.state_dict().items(), other.state_dict().values(), strict=True):
        assert np.array_equal(value.array, got.array), name


def test_loaded_tensors_can_be_assigned_to(tmp_path):
    save({"x": np.zeros(3)}, tmp_path / "a.safetensors")
    assert load(tmp_path / "a.safetensors")["x"].assign_(1.0).array.tolist() == [1, 1, 1]


def test_metadata_come_back_without_reading_the_tensors(tmp_path):
    metadata = {"settings": json.dumps({"lr": 0.1}), "name": "Größe ≤ 3 \n 中", "": ""}
    save({"x": np.zeros(2)}, tmp_path / "a.safetensors", metadata)
    assert load_metadata(tmp_path / "a.safetensors") == metadata
    save({"x": np.zeros(2)}, tmp_path / "b.safetensors")
    assert load_metadata(tmp_path / "b.safetensors") == {}


def test_a_state_without_tensors_can_be_saved(tmp_path):
    save({}, tmp_path / "a.safetensors", {"a": "b"})
    assert load(tmp_path / "a.safetensors") == {}
    assert load_metadata(tmp_path / "a.safetensors") == {"a": "b"}


def test_saving_replaces_what_was_there_and_leaves_nothing_beside_it(tmp_path):
    for value in (1.0, 2.0):
        save({"x": np.array(value)}, str(tmp_path / "a.safetensors"))
    assert load(str(tmp_path / "a.safetensors"))["x"].item() == 2
    assert os.listdir(tmp_path) == ["a.safetensors"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, step):
    path = tmp_path / "a.safetensors"
    save({"x": np.array(1.0)}, path)
    before = path.read_bytes()

    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint.os, step, fail)
    with pytest.raises(
        CheckpointError, match=rf"^cannot write {re.escape(str(path))}: No space left on device; nothing was"
    ):
        save({"x": np.array(2.0)}, path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.safetensors"]


def test_a_full_disk_is_an_error_that_names_the_file_and_leaves_nothing(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(
            CheckpointError, match=r"^cannot write .*/a\.safetensors: File too large; nothing was changed"
        ):
            save({"x": np.zeros(10_000)}, tmp_path / "a.safetensors")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["nowhere/x", "file/x", ".", "", "a\0b"])
def test_a_path_that_cannot_be_written_is_named_as_it_was_given(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=f"^cannot write {re.escape(name)}: ") as told:
        save({"x": np.zeros(1)}, name)
    assert "partial" not in str(told.value)
    assert os.listdir(tmp_path) == ["file"]


def test_leftovers_are_the_half_files_of_one_name(tmp_path):
    for name in (".a.0123abcd.partial", ".b.0123abcd.partial", "a.partial", "a", ".a"):
        (tmp_path / name).write_text("")
    assert checkpoint.leftovers(tmp_path / "a") == [tmp_path / ".a.0123abcd.partial"]
    assert checkpoint.leftovers(tmp_path / "nowhere" / "a") == []


def test_the_name_that_the_format_keeps_for_itself_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="'__metadata__' is where the format keeps its metadata; rename"):
        save({"__metadata__": np.zeros(1)}, tmp_path / "a.safetensors")
    assert os.listdir(tmp_path) == []


def test_the_content_is_on_the_disk_before_the_file_appears(tmp_path, monkeypatch):
    calls = []
    real = {name: getattr(os, name) for name in ("fsync", "replace")}
    for name in real:
        monkeypatch.setattr(checkpoint.os, name, lambda *a, name=name: (calls.append(name), real[name](*a)))
    save({"x": np.zeros(2)}, tmp_path / "a.safetensors")
    assert calls == ["fsync", "replace"]


@pytest.mark.parametrize("value", [np.zeros(2, np.complex128), np.array(["a"]), np.array([None]), "text", None])
def test_what_the_format_cannot_hold_is_an_error_that_names_it(tmp_path, value):
    with pytest.raises(DtypeError, match=r"layer1\.weight is .*; a checkpoint holds floats"):
        save({"layer1.weight": value}, tmp_path / "a.safetensors")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("state", "metadata"),
    [({3: np.zeros(1)}, None), ({"x": np.zeros(1)}, {"epoch": 3}), ({"x": np.zeros(1)}, {3: "epoch"})],
)
def test_names_and_metadata_are_strings(tmp_path, state, metadata):
    with pytest.raises(TypeError, match="are strings, got 3"):
        save(state, tmp_path / "a.safetensors", metadata)
    assert os.listdir(tmp_path) == []


reads = pytest.mark.parametrize("read", [load, load_metadata])


@reads
def test_a_missing_file_is_an_error_that_names_it(tmp_path, read):
    with pytest.raises(CheckpointError, match=f"{tmp_path}/nowhere.safetensors is missing; expected a checkpoint"):
        read(tmp_path / "nowhere.safetensors")


@reads
def test_a_directory_is_told_with_the_files_in_it(tmp_path, read):
    with pytest.raises(CheckpointError, match=r"is a directory; there is no \.safetensors file in it"):
        read(tmp_path)
    for name in ("last", "best"):
        save({}, tmp_path / f"{name}.safetensors")
    with pytest.raises(CheckpointError, match=r"is a directory; name the file in it: best\.safetensors, last\.safe"):
        read(tmp_path)


@reads
def test_a_file_cut_anywhere_is_an_error_that_names_it(tmp_path, read):
    path = tmp_path / "a.safetensors"
    save({"x": np.arange(4.0), "y": np.ones(2, bool)}, path, {"k": "v"})
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        told = rf"truncated: it has {length} bytes.*; copy or download" if length else "empty: .*; write or download"
        with pytest.raises(CheckpointError, match=rf"a\.safetensors is {told}"):
            read(path)


def zipped(**files):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "/").replace("_", "."), text)
    return content.getvalue()


FOREIGN = {
    "a PyTorch file (a zip archive with a pickle": zipped(archive__data_pkl=b"\x80\x02}q\x00."),
    "a PyTorch file (in the format before 1.6)": pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2),
    "a pickle, maybe of PyTorch": pickle.dumps({"x": [1.0]}),
    "NumPy's .npz; read it with dict(np.load(": zipped(x_npy=b"", y_npy=b""),
    "a zip archive of readme.txt; unpack it first": zipped(readme_txt=b""),
    "a truncated zip archive": zipped(archive__data_pkl=bytes(100))[:80],
    "NumPy's .npy, a single array; read it with np.load": b"\x93NUMPY\x01\x00v\x00{'descr'",
    "an HDF5 file, as Keras writes": b"\x89HDF\r\n\x1a\n" + bytes(20),
    "truncated: it has 9 bytes of 648 or more; copy": (0x280).to_bytes(8, "little") + b"{",  # begins as a pickle does
    "compressed with gzip; unpack it first": b"\x1f\x8b\x08" + bytes(20),
    "a pointer of Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 7\n",
    "a web page, which a download gave": b"<!DOCTYPE html>\n<html><title>404</title>",
    "a text file, which begins with 'Größenordnung'": "Größenordnung".encode(),
    "a text file, which begins with 'hello'": b"hello",
    "not a checkpoint in the safetensors format, or damaged": bytes(100),
    "safetensors format, or damaged": (2**62).to_bytes(8, "little") + b"{}",
    "the safetensors format, or damaged": (2).to_bytes(8, "little") + b"{]",
    "format, or damaged": (9).to_bytes(8, "little") + b'{"x":"y"}',
}


@reads
@pytest.mark.parametrize("text", FOREIGN)
def test_a_file_of_another_format_says_what_it_is(tmp_path, read, text):
    path = tmp_path / "w.pth"
    path.write_bytes(FOREIGN[text])
    with pytest.raises(CheckpointError, match=rf"w\.pth is {'.*' if 'damaged' in text else ''}{re.escape(text)}"):
        read(path)


def test_a_pytorch_file_says_what_to_do(tmp_path):
    path = tmp_path / "w.pth"
    path.write_bytes(zipped(archive__data_pkl=b""))
    with pytest.raises(
        CheckpointError, match=r"torch\.load\('.*w\.pth', weights_only=True\).*load_state_dict\(state\)"
    ):
        load(path)


def test_a_path_is_what_open_takes(tmp_path):
    class Somewhere:
        def __fspath__(self):
            return str(tmp_path / "a.safetensors")

    for path in (tmp_path / "a.safetensors", str(tmp_path / "a.safetensors"), os.fsencode(Somewhere()), Somewhere()):
        save({"x": np.ones(1)}, path)
        assert load(path)["x"].item() == 1
        assert load_metadata(path) == {}
        os.remove(path)
    for act in (lambda: load(3), lambda: load_metadata(None), lambda: save({}, [1])):
        with pytest.raises(TypeError, match=r"path must be a string, bytes or a pathlib\.Path, got"):
            act()


@pytest.mark.parametrize(
    ("state", "path", "text"),
    [
        ("a.safetensors", {}, r"the state first and then the path: save\(state_dict, 'a\.safetensors'\)"),
        (Path("a"), {}, "the state first and then the path"),
        (nn.Linear(1, 1), "a", r"not a Linear: save\(model\.state_dict\(\), path\)"),
        ([np.ones(1)], "a", "a state is a dictionary of tensors by name, not a list"),
        (mr.ones(1), "a", "a state is a dictionary of tensors by name, not a Tensor"),
    ],
)
def test_what_is_no_state_is_told_before_anything_is_written(tmp_path, monkeypatch, state, path, text):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TypeError, match=text):
        save(state, path)
    assert os.listdir() == []


def test_metadata_are_a_dictionary(tmp_path):
    with pytest.raises(TypeError, match="metadata must be a dictionary of strings, got 'text'"):
        save({}, tmp_path / "a.safetensors", "text")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3, r"epoch is an? int, 3; .*: make an array of it, with np\.array, or put it into the metadata, as a string"),
        ([1.0], r"epoch is a list, \[1\.0\]"),
        (nn.Linear(1, 1).state_dict(), "epoch is a dict, .*: put what is in there beside the other tensors"),
    ],
)
def test_a_value_that_is_no_array_is_told_by_its_name(tmp_path, value, text):
    with pytest.raises(DtypeError, match=text):
        save({"x": np.ones(1), "epoch": value}, tmp_path / "a.safetensors")


def test_numpy_numbers_are_arrays_without_axes(tmp_path):
    save({"x": np.float32(3)}, tmp_path / "a.safetensors")
    assert_same(load(tmp_path / "a.safetensors")["x"], np.array(3, np.float32))


def test_a_dtype_that_numpy_lacks_is_an_error_that_names_the_tensor(tmp_path):
    path = tmp_path / "a.safetensors"
    header = json.dumps({"w": {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [0, 2]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"12")
    with pytest.raises(CheckpointError, match="holds w as F8_E4M3, which NumPy cannot"):
        load(path)


def test_complex_numbers_are_not_told_to_be_cast(tmp_path):
    with pytest.raises(DtypeError, match=r"w is complex64; .*: keep its real and its imaginary part under two names"):
        mr.save({"w": np.ones(2, np.complex64)}, tmp_path / "a.safetensors")
