"""Every kernel of every set in float32 against the float64 reference, within the bound that its rounding derives."""

import importlib

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from minires import kernels
from minires.device import available
from minires.geometry import Geometry
from minires.kernels import reference
from minires.kernels.fast import conv_winograd
from minires.testing import RoundingError, check_rounding
from minires.testing.rounding import cases, rounded
from minires.testing.rounding.algorithms import algorithm_of
from minires.testing.rounding.cases import CASES, check_kernel

SETS = {name: kernels.names_of(importlib.import_module(f"minires.kernels.{name}")) for name in kernels.NAMES}
ON_THE_CPU = [(name, kernel) for name in ("reference", "fast") for kernel in SETS[name]]
EXAMPLES = settings(max_examples=max(10, settings.default.max_examples // 2))  # each is a hundred elements or more


def test_every_kernel_has_cases_and_every_case_a_kernel():
    assert set(CASES) == {kernel for kernels_of_set in SETS.values() for kernel in kernels_of_set}


@pytest.mark.parametrize(("kernel_set", "kernel"), ON_THE_CPU, ids=[".".join(pair) for pair in ON_THE_CPU])
@EXAMPLES
@given(data=st.data())
def test_a_kernel_is_within_its_rounding_bound(kernel_set, kernel, data):
    report = check_kernel(kernel_set, kernel, data.draw(cases.cases(kernel)))
    assert report.left_out == 0


@pytest.mark.parametrize("kernel", [name for name in SETS["reference"] if name != "unscale"])  # which gives float32
@EXAMPLES
@given(data=st.data())
def test_a_kernel_of_the_reference_is_within_the_bound_of_float16(kernel, data):
    try:
        with np.errstate(over="ignore"):  # 65504 is soon exceeded
            check_kernel("reference", kernel, data.draw(cases.cases(kernel)), dtype=np.float16)
    except RoundingError as error:
        assume("no element of the reference has a finite bound" not in str(error))  # a sum of 2048 numbers has none
        raise


@pytest.mark.gpu
@pytest.mark.parametrize("kernel", sorted(CASES))
@EXAMPLES
@given(data=st.data())
def test_a_kernel_on_the_gpu_is_within_its_rounding_bound(kernel, data):
    assert available("cuda")
    report = check_kernel("cuda", kernel, data.draw(cases.cases(kernel)), "cuda")
    assert report.left_out == 0


# Fast kernels with another formula: in exact arithmetic, it is the reference's function


@pytest.mark.parametrize("kernel", [name for name in SETS["fast"] if algorithm_of("fast", name)])
@EXAMPLES
@given(data=st.data())
def test_a_fast_kernels_formula_is_the_references_function(kernel, data):
    """In float64 the two differ by what rounding does to float64, a 10⁻¹⁵ or so: a wrong matrix or sign would show."""
    case = data.draw(cases.cases(kernel))
    formula = case.function(algorithm_of("fast", kernel))

    def values(*arguments):
        doubles = [rounded(a, a.dtype) if isinstance(a, np.ndarray) else a for a in arguments]
        results = formula(*doubles)
        values = [None if a is None else a.value for a in (results if isinstance(results, tuple) else [results])]
        return tuple(values) if isinstance(results, tuple) else values[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conv_winograd, "_DTYPE", np.float64)  # so that it is Winograd's in float64, too
        exact = case.function(getattr(reference, kernel))
        arguments = [a.astype(float) if isinstance(a, np.ndarray) else a for a in case.arguments]
        check_rounding(values, exact, *arguments, dtype=np.float64, algorithm=formula)


# The check notices


def planted(kernel, change):
    """Return a kernel with a change to its first output."""

    def wrong(*arguments):
        results = kernel(*arguments)
        if not isinstance(results, tuple):
            return change(results.copy())
        return change(results[0].copy()), *results[1:]

    return wrong


def off_by(relative):
    def change(y):
        index = np.unravel_index(np.argmax(np.abs(y)), y.shape)
        y[index] *= np.float32(1 + relative)
        return y

    return change


@pytest.mark.parametrize(
    ("kernel_set", "kernel", "relative"),
    [
        ("reference", "conv2d", 1e-4),
        ("fast", "conv2d", 1e-4),
        ("fast", "conv2d_input_grad", 1e-4),
        ("reference", "batch_norm_inference", 1e-5),
        ("fast", "batch_norm_inference", 1e-4),
        ("reference", "softmax", 1e-5),
        ("fast", "max_pool2d", 1e-6),
        ("fast", "adaptive_avg_pool2d", 1e-4),
        ("reference", "linear", 1e-4),
        ("reference", "sum", 1e-4),
    ],
)
def test_an_error_in_the_largest_element_alone_is_noticed(kernel_set, kernel, relative):
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 8, 9, 8)).astype("f"), rng.standard_normal((6, 8, 3, 3)).astype("f")
    gy, per_channel = rng.standard_normal((2, 6, 9, 8)).astype("f"), rng.uniform(0.5, 2, (4, 8)).astype("f")
    window = Geometry((3, 3), padding=(1, 1))
    arguments = {
        "conv2d": (x, w, window),
        "conv2d_input_grad": (gy, w, window, (9, 8)),
        "batch_norm_inference": (x, *per_channel, 1e-5),
        "softmax": (x[0, 0], 1),
        "max_pool2d": (x, window),
        "adaptive_avg_pool2d": (x, (2, 2)),
        "linear": (x[0, 0], per_channel),
        "sum": (np.abs(x), (0, 2, 3)),
    }[kernel]
    right = getattr(importlib.import_module(f"minires.kernels.{kernel_set}"), kernel)
    exact, algorithm = getattr(reference, kernel), algorithm_of(kernel_set, kernel)
    assert check_rounding(right, exact, *arguments, algorithm=algorithm).resolution < relative
    with pytest.raises(RoundingError, match="1 of "):
        check_rounding(planted(right, off_by(relative)), exact, *arguments, algorithm=algorithm)


@pytest.mark.parametrize(("kernel_set", "kernel"), ON_THE_CPU, ids=[".".join(pair) for pair in ON_THE_CPU])
def test_the_bound_of_every_kernel_is_sharp_enough_to_see_an_error_of_a_hundredth(kernel_set, kernel):
    found = cases.survey(kernel_set, kernel, examples=4)
    assert found.used <= 1
    assert found.resolution < 1e-2  # beside each output's largest element, in the median case
    assert str(found).split()[:2] == [f"{kernel_set}.{kernel}", str(found.elements)]


def test_the_table_has_a_row_for_each_kernel():
    head, *rows = cases.table(("fast",), examples=1).splitlines()
    assert head.split() == ["kernel", "elements", "used", "excluded"]
    assert [row.split()[0] for row in rows] == [f"fast.{kernel}" for kernel in SETS["fast"]]
