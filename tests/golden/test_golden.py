"""Outputs and gradients agree with PyTorch's, which make_golden.py wrote to the files here."""

import importlib.util
import json
import runpy
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

import minires as mr
from minires import models, nn, optim

F = mr.functional
HERE = Path(__file__).parent


class Case:
    """One case of a file: what to do, and the arrays by role and name."""

    def __init__(self, about, arrays):
        self.about = about
        self.roles = {"in": {}, "out": {}, "grad": {}}
        for (role, name), value in arrays.items():
            self.roles[role][name] = value

    def inputs(self, *names):
        """Return these inputs as tensors; floats require a gradient."""
        return [mr.tensor(self.roles["in"][n], requires_grad=self.roles["in"][n].dtype.kind == "f") for n in names]

    def check(self, role, name, value):
        """Check max |a − b| ≤ 1e-11 · max |b|: thousands of roundings of 1.1e-16, times condition numbers below 100."""
        expected = self.roles[role].pop(name)
        assert (value.shape, value.dtype) == (expected.shape, expected.dtype), f"{role}/{name}"
        difference = np.abs(value.numpy() - expected).max(initial=0.0)
        assert difference <= 1e-11 * np.abs(expected).max(initial=0.0), f"{role}/{name} differs by {difference:.3g}"

    def done(self):
        """Check that all arrays of the file were compared."""
        assert not self.roles["out"]
        assert not self.roles["grad"]


def read(path):
    """Return the cases of a file, and the version of PyTorch that made it."""
    with safe_open(path, "numpy") as file:
        about = json.loads(file.metadata()["golden"])
        arrays = {}
        for key in file.keys():  # noqa: SIM118
            case, role, name = key.split("/")
            arrays.setdefault(case, {})[role, name] = file.get_tensor(key)
    return {case: Case(about["cases"][case], found) for case, found in arrays.items()}, about["torch"]


def all_of(*files):
    return [pytest.param(file, case, id=f"{file}-{case}")
            for file in files for case in read(HERE / f"{file}.safetensors")[0]]  # fmt: skip


def load(file, case):
    return read(HERE / f"{file}.safetensors")[0][case]


@pytest.fixture(params=["fast", "reference"])
def _kernels(request):
    with mr.kernels.using(request.param):
        yield


@pytest.mark.usefixtures("_kernels")
@pytest.mark.parametrize(("file", "case"), all_of("conv2d", "batch_norm", "pooling", "elementary"))
def test_an_operation_and_its_gradients_are_pytorchs(file, case):
    golden = load(file, case)
    names, changed = golden.about["inputs"], golden.about["changed"]
    tensors = dict(zip(names, golden.inputs(*names), strict=True))
    for name in changed:
        tensors[name] = tensors[name].detach()
    y = getattr(F, golden.about["op"])(*tensors.values(), **golden.about["options"])
    y.backward(mr.tensor(golden.roles["in"]["gy"]))
    golden.check("out", "y", y)
    for name, tensor in tensors.items():
        if name in changed:
            golden.check("out", name, tensor)
        elif tensor.requires_grad:
            golden.check("grad", name, tensor.grad)
    golden.done()


@pytest.mark.usefixtures("_kernels")
@pytest.mark.parametrize(("file", "case"), all_of("blocks"))
def test_a_residual_block_is_torchvisions(file, case):
    golden = load(file, case)
    about = golden.about
    channels, out, stride = about["channels"], about["out"], about["stride"]
    shortcut = None
    if stride != 1 or channels != out:
        shortcut = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))
    block = getattr(models, about["block"])(channels, about["width"], stride, shortcut).to(dtype=np.float64)
    block.load_state_dict({name: v for name, v in golden.roles["in"].items() if name not in ("x", "gy")})
    (x,) = golden.inputs("x")
    y = block.train(about["training"])(x)
    y.backward(mr.tensor(golden.roles["in"]["gy"]))
    golden.check("out", "y", y)
    golden.check("grad", "x", x.grad)
    for name, parameter in block.named_parameters():
        golden.check("grad", name, parameter.grad)
    for name, buffer in block.named_buffers():
        golden.check("out", name, buffer)
    golden.done()


@pytest.mark.usefixtures("_kernels")
@pytest.mark.parametrize(("file", "case"), all_of("sgd"))
def test_three_steps_of_sgd_are_pytorchs(file, case):
    golden = load(file, case)
    (p,) = golden.inputs("start")
    optimizer = optim.SGD([p], **golden.about["options"])
    for step in range(3):
        p.grad = mr.tensor(golden.roles["in"][f"gradient_{step}"])
        optimizer.step()
        golden.check("out", f"parameter_{step}", p)
    golden.done()


@pytest.mark.parametrize("recorded", [False, True], ids=["by_hand", "recorded"])
@pytest.mark.usefixtures("_kernels")
@pytest.mark.parametrize(("file", "case"), all_of("second_order"))
def test_gradients_of_gradients_are_pytorchs(file, case, recorded):
    golden = load(file, case)
    names, options = golden.about["inputs"], golden.about["options"]
    inputs = golden.inputs(*names)
    (gy,) = golden.inputs("gy")
    if golden.about["op"] == "batch_norm":
        y = F.batch_norm(inputs[0], None, None, *inputs[1:], **options)
    else:
        y = F.conv2d(*inputs, **options)
    first = mr.grad(y, inputs, gy, create_graph=True)
    for name, gradient in zip(names, first, strict=True):
        golden.check("out", name, gradient)
    total = sum((mr.tensor(golden.roles["in"][f"v_{n}"]) * g).sum() for n, g in zip(names, first, strict=True))
    sources = {"gy": gy, **{name: t for name, t in zip(names, inputs, strict=True) if name != "bias"}}
    second = mr.grad(total, list(sources.values()), create_graph=recorded)
    for name, gradient in zip(sources, second, strict=True):
        golden.check("grad", name, gradient)
    golden.done()


def test_the_files_are_what_the_script_makes(tmp_path):
    if not all(importlib.util.find_spec(name) for name in ("torch", "torchvision")):
        pytest.skip("torch and torchvision are not installed, which make the golden files")
    made = runpy.run_path(str(HERE / "make_golden.py"))
    assert {f"{name}.safetensors" for name in made["FILES"]} == {path.name for path in HERE.glob("*.safetensors")}
    for name, make in made["FILES"].items():
        make().write(tmp_path / name)
        (new, _), (old, _) = read(tmp_path / name), read(HERE / f"{name}.safetensors")
        assert new.keys() == old.keys()
        for case, golden in new.items():
            assert golden.about == old[case].about
            for role, arrays in golden.roles.items():
                assert arrays.keys() == old[case].roles[role].keys()
                for key, array in arrays.items():
                    b = old[case].roles[role][key]
                    # Inputs are drawn and must be the same; sums may be taken in another order elsewhere.
                    tolerance = 0.0 if role == "in" else 1e-13 * np.abs(b).max(initial=0.0)
                    assert np.abs(array - b).max(initial=0.0) <= tolerance, f"{name}: {case}/{role}/{key}"
