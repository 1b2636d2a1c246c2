import importlib
import inspect
import re
import threading
import types
from pathlib import Path

import numpy as np
import pytest

import minires
from minires import kernels
from minires.errors import DeviceError

REFERENCE = importlib.import_module("minires.kernels.reference")
OTHERS = [importlib.import_module(f"minires.kernels.{name}") for name in ("fast", "cuda")]
PAIRS = [(module, name) for module in OTHERS for name in module.__all__]
EVERY = [(module, name) for module in (REFERENCE, *OTHERS) for name in module.__all__]
# Files of the reference whose kernels are in the same file as the plain forms in the other sets.
FUSED = {"batch_norm_act": "batch_norm", "conv_act": "conv"}


def label(value):
    return value.__name__.rpartition(".")[2] if inspect.ismodule(value) else value


class GpuArray:
    dtype, device = np.dtype(np.float32), types.SimpleNamespace(id=0)


# The sets


@pytest.mark.parametrize(("module", "name"), PAIRS, ids=label)
def test_a_kernel_of_another_set_has_the_reference_s_signature(module, name):
    assert name in REFERENCE.__all__
    ours = inspect.signature(getattr(module, name))
    theirs = inspect.signature(getattr(REFERENCE, name))
    assert list(ours.parameters.values()) == list(theirs.parameters.values())
    assert ours == theirs


@pytest.mark.parametrize(("module", "name"), EVERY, ids=label)
def test_a_kernel_says_what_it_takes_and_gives_or_whose_version_it_is(module, name):
    text = inspect.getdoc(getattr(module, name))
    others = re.findall(r"`(?:reference\.\w+\.)?(\w+)`", text)  # "as `conv2d`", read there
    sections = re.search(r"^(Parameters\n-{10}|Returns\n-{7})\n", text, re.MULTILINE)
    assert sections or "as this file says" in text or any(kernel in REFERENCE.__all__ for kernel in others)


@pytest.mark.parametrize(("module", "name"), PAIRS, ids=label)
def test_a_kernel_of_another_set_is_in_a_file_of_the_same_name_and_names_the_reference_s(module, name):
    function, theirs = getattr(module, name), label(inspect.getmodule(getattr(REFERENCE, name)))
    assert label(inspect.getmodule(function)) == FUSED.get(theirs, theirs)
    assert f"`reference.{theirs}.{name}`" in inspect.getdoc(function)


@pytest.mark.parametrize(("module", "name"), EVERY, ids=label)
def test_a_set_exports_functions_of_its_own(module, name):
    function = getattr(module, name)
    assert inspect.isfunction(function)
    assert function.__module__.startswith(module.__name__ + ".")
    assert function.__name__ == name


@pytest.mark.parametrize("module", [REFERENCE, *OTHERS], ids=label)
def test_a_set_lists_its_kernels_once_and_in_order(module):
    assert list(module.__all__) == sorted(set(module.__all__))


# The choice


def test_float_arrays_of_the_cpu_go_to_the_fast_set():
    for dtype in (np.float32, np.float64):
        assert kernels.choose(np.ones(2, dtype)).name == "fast"
        assert kernels.choose(np.ones(2, dtype), np.ones(2, np.int64), np.ones(2, bool)).name == "fast"
        assert kernels.choose(np.ones(2, np.int64), np.ones(2, dtype)).name == "fast"


def test_what_the_fast_set_does_not_know_goes_to_the_reference():
    for array in (np.ones(2, complex), np.ones(2, np.int64), np.ones(2, bool), np.ones(2, np.float16)):
        assert kernels.choose(array).name == "reference"
    assert kernels.choose(np.ones(2), np.ones(2, complex)).name == "reference"


def test_arrays_of_a_gpu_go_to_the_cuda_set():
    assert kernels.choose(GpuArray()).name == "cuda"
    with kernels.using("cuda"):
        assert kernels.choose(GpuArray()).name == "cuda"
    with kernels.using("reference"):
        assert kernels.choose(GpuArray()).name == "reference"


def test_a_set_for_another_device_is_refused():
    with kernels.using("fast"), pytest.raises(DeviceError, match=r"using\('fast'\) met an array on cuda:0.*'cuda'"):
        kernels.choose(GpuArray())
    with kernels.using("cuda"), pytest.raises(DeviceError, match=r"using\('cuda'\) met an array on cpu.*'fast'"):
        kernels.choose(np.ones(2))


def test_using_nests_and_ends_with_its_block_even_after_an_error():
    x = np.ones(2)
    with kernels.using("reference"):
        assert kernels.choose(x).name == "reference"
        with kernels.using("fast"):
            assert kernels.choose(x).name == "fast"
        assert kernels.choose(x).name == "reference"
        with pytest.raises(ZeroDivisionError), kernels.using("fast"):
            raise ZeroDivisionError
        assert kernels.choose(x).name == "reference"
    assert kernels.choose(x).name == "fast"


def test_using_decorates_too():
    @kernels.using("reference")
    def chosen():
        return kernels.choose(np.ones(2)).name

    assert (chosen(), chosen(), kernels.choose(np.ones(2)).name) == ("reference", "reference", "fast")


def test_a_name_of_no_set_is_refused_with_the_possible_ones():
    with (
        pytest.raises(ValueError, match="kernel set 'slow' is not one of reference, fast, cuda"),
        kernels.using("slow"),
    ):
        pass
    assert kernels.choose(np.ones(2)).name == "fast"


def test_using_a_set_of_one_s_own_holds_for_the_backward_pass_too():
    class Doubling(kernels.KernelSet):
        def multiply(self, a, b):
            return 2 * a * b

    x = minires.tensor(np.array([3.0]), requires_grad=True)
    with kernels.using(Doubling("reference")):
        y = x * x
    (g,) = minires.grad(y, x, minires.tensor(np.array([1.0])))
    assert y.numpy().tolist() == [18.0]
    assert g.numpy().tolist() == [12.0]  # gy · x twice, each one doubled; their sum is the reference's


def test_using_is_a_thread_s_own():
    seen, entered, checked = [], threading.Event(), threading.Event()

    def run():
        seen.append(kernels.choose(np.ones(2)).name)
        with kernels.using("reference"):
            entered.set()
            checked.wait(timeout=60)

    thread = threading.Thread(target=run)
    with kernels.using("reference"):
        thread.start()
        assert entered.wait(timeout=60)
    seen.append(kernels.choose(np.ones(2)).name)  # while the other is still inside
    checked.set()
    thread.join()
    assert seen == ["fast", "fast"]


# The look-up


def test_a_set_borrows_what_it_lacks_from_the_reference():
    for module in OTHERS:
        kernel_set = kernels.KernelSet(module.__name__.rpartition(".")[2])
        for name in REFERENCE.__all__:
            own = name in module.__all__
            assert kernel_set.has(name) == own
            assert getattr(kernel_set, name) is getattr(module if own else REFERENCE, name)
            assert getattr(kernel_set, name) is getattr(module if own else REFERENCE, name)  # and again


def test_a_kernel_that_nobody_has_is_an_attribute_error_that_names_it():
    for name in kernels.NAMES:
        with pytest.raises(AttributeError, match="no_such_kernel"):
            kernels.KernelSet(name).no_such_kernel  # noqa: B018


def test_a_set_has_no_kernels_but_those_that_it_exports():
    """Its modules (conv, pooling, …) and what they import are attributes of the package, and no kernels."""
    for name in kernels.NAMES:
        for attribute in ("pooling", "np", "annotations"):
            with pytest.raises(AttributeError, match=attribute):
                getattr(kernels.KernelSet(name), attribute)


def test_a_set_says_its_name():
    assert repr(kernels.KernelSet("fast")) == "KernelSet('fast')"


def test_the_table_says_in_which_file_of_each_set_a_kernel_is():
    head, *rows = kernels.table().splitlines()
    assert head.split() == ["kernel", *kernels.NAMES]
    assert [row.split()[0] for row in rows] == list(REFERENCE.__all__)
    for row in rows:
        name, *files = row.split()
        for module, file in zip((REFERENCE, *OTHERS), files, strict=True):
            assert (file != "-") == (name in module.__all__)
            if file != "-":
                source = (Path(module.__file__).parent / file).read_text()
                assert re.search(rf"^def {name}\(", source, re.MULTILINE)
    columns = {tuple(match.start() for match in re.finditer(r"\S+", line)) for line in (head, *rows)}
    assert len(columns) == 1


# The other sets have these beside the kernels that they end.
ELSEWHERE = {("batch_norm_act.py", "batch_norm.py"), ("conv_act.py", "conv.py")}


@pytest.mark.parametrize(("module", "name"), PAIRS, ids=label)
def test_a_kernel_is_in_a_file_of_the_reference_s_name_or_of_one_that_the_table_names(module, name):
    theirs, own = (kernels.file_of(getattr(a_set, name)) for a_set in (REFERENCE, module))
    assert theirs == own or (theirs, own) in ELSEWHERE
