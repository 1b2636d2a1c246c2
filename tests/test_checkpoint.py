import errno
import json
import os
import pickle
import re
import resource
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minires as mr
from minires import checkpoint
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
    save(tmp_path / "a.safetensors", {"x": array})
    assert_same(load(tmp_path / "a.safetensors")["x"], array)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (1,), (0,), (3, 0, 2)])
def test_numbers_and_empty_arrays_keep_their_shape(tmp_path, dtype, shape):
    array = filled(dtype, shape)
    save(tmp_path / "a.safetensors", {"x": array})
    assert_same(load(tmp_path / "a.safetensors")["x"], array)


@given(st.binary(min_size=8, max_size=64))
def test_every_bit_of_a_float_survives(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("bits") / "a.safetensors"
    array = np.frombuffer(content[: len(content) // 8 * 8], np.float64)  # NaN with payload, -0, subnormals
    save(path, {"x": array})
    assert load(path)["x"].array.tobytes() == array.tobytes()


def test_tensors_and_what_a_module_knows_come_back(tmp_path):
    mr.manual_seed(1)
    model = mr.models.resnet20(in_channels=1)
    save(tmp_path / "m.safetensors", model.state_dict())
    mr.manual_seed(2)
    other = mr.models.resnet20(in_channels=1)
    other.load_state_dict(load(tmp_path / "m.safetensors"))
    for (name, value), got in zip(model.state_dict().items(), other.state_dict().values(), strict=True):
        assert np.array_equal(value.array, got.array), name


def test_loaded_tensors_can_be_assigned_to(tmp_path):
    save(tmp_path / "a.safetensors", {"x": np.zeros(3)})
    assert load(tmp_path / "a.safetensors")["x"].assign_(1.0).array.tolist() == [1, 1, 1]


def test_metadata_come_back_without_reading_the_tensors(tmp_path):
    metadata = {"settings": json.dumps({"lr": 0.1}), "name": "Größe ≤ 3 \n 中", "": ""}
    save(tmp_path / "a.safetensors", {"x": np.zeros(2)}, metadata)
    assert load_metadata(tmp_path / "a.safetensors") == metadata
    save(tmp_path / "b.safetensors", {"x": np.zeros(2)})
    assert load_metadata(tmp_path / "b.safetensors") == {}


def test_a_state_without_tensors_can_be_saved(tmp_path):
    save(tmp_path / "a.safetensors", {}, {"a": "b"})
    assert load(tmp_path / "a.safetensors") == {}
    assert load_metadata(tmp_path / "a.safetensors") == {"a": "b"}


def test_saving_replaces_what_was_there_and_leaves_nothing_beside_it(tmp_path):
    for value in (1.0, 2.0):
        save(str(tmp_path / "a.safetensors"), {"x": np.array(value)})
    assert load(str(tmp_path / "a.safetensors"))["x"].item() == 2
    assert os.listdir(tmp_path) == ["a.safetensors"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, step):
    path = tmp_path / "a.safetensors"
    save(path, {"x": np.array(1.0)})
    before = path.read_bytes()

    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint.os, step, fail)
    with pytest.raises(
        CheckpointError, match=rf"^cannot write {re.escape(str(path))}: No space left on device; nothing was"
    ):
        save(path, {"x": np.array(2.0)})
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.safetensors"]


def test_a_full_disk_is_an_error_that_names_the_file_and_leaves_nothing(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(
            CheckpointError, match=r"^cannot write .*/a\.safetensors: File too large; nothing was changed"
        ):
            save(tmp_path / "a.safetensors", {"x": np.zeros(10_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["nowhere/x", "file/x", ".", "", "a\0b"])
def test_a_path_that_cannot_be_written_is_named_as_it_was_given(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=f"^cannot write {re.escape(name)}: ") as told:
        save(name, {"x": np.zeros(1)})
    assert "partial" not in str(told.value)
    assert os.listdir(tmp_path) == ["file"]


def test_leftovers_are_the_half_files_of_one_name(tmp_path):
    for name in (".a.0123abcd.partial", ".b.0123abcd.partial", "a.partial", "a", ".a"):
        (tmp_path / name).write_text("")
    assert checkpoint.leftovers(tmp_path / "a") == [tmp_path / ".a.0123abcd.partial"]
    assert checkpoint.leftovers(tmp_path / "nowhere" / "a") == []


def test_the_name_that_the_format_keeps_for_itself_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="'__metadata__' is where the format keeps its metadata; rename"):
        save(tmp_path / "a.safetensors", {"__metadata__": np.zeros(1)})
    assert os.listdir(tmp_path) == []


def test_the_content_is_on_the_disk_before_the_file_appears(tmp_path, monkeypatch):
    calls = []
    real = {name: getattr(os, name) for name in ("fsync", "replace")}
    for name in real:
        monkeypatch.setattr(checkpoint.os, name, lambda *a, name=name: (calls.append(name), real[name](*a)))
    save(tmp_path / "a.safetensors", {"x": np.zeros(2)})
    assert calls == ["fsync", "replace"]


@pytest.mark.parametrize("value", [np.zeros(2, np.complex128), np.array(["a"]), np.array([None]), "text", None])
def test_what_the_format_cannot_hold_is_an_error_that_names_it(tmp_path, value):
    with pytest.raises(DtypeError, match=r"layer1\.weight is .*; a checkpoint holds floats"):
        save(tmp_path / "a.safetensors", {"layer1.weight": value})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("state", "metadata"),
    [({3: np.zeros(1)}, None), ({"x": np.zeros(1)}, {"epoch": 3}), ({"x": np.zeros(1)}, {3: "epoch"})],
)
def test_names_and_metadata_are_strings(tmp_path, state, metadata):
    with pytest.raises(TypeError, match="are strings, got 3"):
        save(tmp_path / "a.safetensors", state, metadata)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("read", [load, load_metadata])
@pytest.mark.parametrize("name", ["nowhere.safetensors", "."])
def test_a_missing_file_is_an_error_that_names_it(tmp_path, read, name):
    with pytest.raises(CheckpointError, match=f"{tmp_path / name} is missing; expected a checkpoint"):
        read(tmp_path / name)


@pytest.mark.parametrize("read", [load, load_metadata])
def test_a_file_cut_anywhere_is_an_error_that_names_it(tmp_path, read):
    path = tmp_path / "a.safetensors"
    save(path, {"x": np.arange(4.0), "y": np.ones(2, bool)}, {"k": "v"})
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match=r"a\.safetensors is truncated or foreign .*; expected a checkpoint"):
            read(path)


@pytest.mark.parametrize("read", [load, load_metadata])
@pytest.mark.parametrize(
    "content", [b"", b"this is text", pickle.dumps({"x": [1.0]}), bytes(100), struct.pack("<Q", 2**62) + b"{}"]
)
def test_a_foreign_file_is_an_error_that_names_it(tmp_path, read, content):
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"a\.safetensors is truncated or foreign"):
        read(path)


def test_a_dtype_that_numpy_lacks_is_an_error_that_names_the_tensor(tmp_path):
    path = tmp_path / "a.safetensors"
    header = json.dumps({"w": {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [0, 2]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"12")
    with pytest.raises(CheckpointError, match="holds w as F8_E4M3, which NumPy cannot"):
        load(path)
