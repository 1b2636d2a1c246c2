"""minires and PyTorch read each other's checkpoints."""

import re

import numpy as np
import pytest

import minires as mr
from minires.checkpoint import load, load_metadata, save
from minires.errors import CheckpointError, DtypeError

torch = pytest.importorskip("torch")
from safetensors import torch as theirs  # noqa: E402 (needs torch)

DTYPES = [
    torch.float16, torch.float32, torch.float64, torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64,
    torch.bool,
]  # fmt: skip


def test_what_pytorch_wrote_is_read(tmp_path):
    state = {str(dtype): torch.arange(6).reshape(2, 3).to(dtype) for dtype in DTYPES}
    state["number"] = torch.tensor(7)
    theirs.save_file(state, tmp_path / "a.safetensors", metadata={"format": "pt"})
    found = load(tmp_path / "a.safetensors")
    assert set(found) == set(state)
    for name, value in state.items():
        assert found[name].dtype == value.numpy().dtype
        assert np.array_equal(found[name].array, value.numpy()), name
    assert load_metadata(tmp_path / "a.safetensors") == {"format": "pt"}


def test_pytorch_reads_what_was_written(tmp_path):
    model = mr.models.resnet20()
    save(model.state_dict(), tmp_path / "a.safetensors", {"k": "v"})
    found = theirs.load_file(tmp_path / "a.safetensors")
    for name, value in model.state_dict().items():
        assert np.array_equal(found[name].numpy(), value.array), name
        assert found[name].numpy().dtype == value.dtype


def test_bfloat16_is_an_error_that_names_the_tensor(tmp_path):
    theirs.save_file({"w": torch.ones(3, dtype=torch.bfloat16)}, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match="holds w as BF16, which NumPy cannot"):
        load(tmp_path / "a.safetensors")


def test_tensors_of_pytorch_are_saved_as_they_are(tmp_path):
    state = {str(dtype): torch.arange(6).reshape(2, 3).to(dtype) for dtype in DTYPES}
    state["learnt"] = torch.nn.Parameter(torch.ones(3, 2).T)
    save(state, tmp_path / "a.safetensors")
    found = theirs.load_file(tmp_path / "a.safetensors")
    assert all(torch.equal(found[name], value) and found[name].dtype == value.dtype for name, value in state.items())


def test_a_tensor_that_numpy_lacks_is_told_by_its_name(tmp_path):
    with pytest.raises(DtypeError, match=r"w is not to be had as an array \(.*BFloat16\)"):
        save({"w": torch.ones(3, dtype=torch.bfloat16)}, tmp_path / "a.safetensors")


@pytest.mark.parametrize("legacy", [False, True])
def test_a_file_of_pytorch_is_read_as_its_error_says(tmp_path, monkeypatch, legacy):
    monkeypatch.chdir(tmp_path)
    model = mr.models.resnet20()
    state = {name: torch.tensor(value.numpy()) for name, value in model.state_dict().items()}
    torch.save(state, "w.pth", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(CheckpointError, match="is a PyTorch file") as told:
        load("w.pth")
    steps = re.findall(r"state = torch\.load\(.*?True\)|model\.load_\w+\(state\)|mr\.save\(.*?\)", str(told.value))
    assert len(steps) == 3
    exec("\n".join(steps), {"torch": torch, "mr": mr, "model": mr.models.resnet20(seed=1)})
    assert set(load("name.safetensors")) == set(state)
