"""Every kernel rounds once in float16: it gives what it gives in float32 for the same numbers, rounded."""

import importlib
import inspect

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from minires import kernels
from minires.errors import DtypeError
from minires.kernels import reference
from minires.kernels.float16 import in_float32
from minires.testing.rounding.cases import KernelCase, cases

SETS = {name: kernels.names_of(importlib.import_module(f"minires.kernels.{name}")) for name in kernels.NAMES}
EXAMPLES = settings(max_examples=max(10, settings.default.max_examples // 2))  # each is a hundred elements or more
STATISTICS = ("mean", "var", "inv_std")  # of a batch norm: arguments that are in float32 beside float16
IN_FLOAT32 = {"batch_norm": (1, 2, 3), "batch_norm_act": (1, 2, 3), "unscale": range(8)}  # results that stay there
SCALARS = ("a", "b", "low", "high", "value")  # operands, which take the dtype of the arrays beside them


def check_rounds_once(kernel, case):
    """Compare the kernel in float16 with itself in float32, on numbers that float16 holds."""
    names = inspect.signature(kernel).parameters

    def results(dtype):
        arguments = (in_dtype(name, value, dtype) for name, value in zip(names, case.arguments, strict=False))
        found = case.function(kernel)(*arguments)
        return found if isinstance(found, tuple) else (found,)

    with np.errstate(over="ignore"):  # 65504 is soon exceeded
        for i, (narrow, wide) in enumerate(zip(results(np.float16), results(np.float32), strict=True)):
            if wide is None or wide.dtype.kind != "f" or i in IN_FLOAT32.get(kernel.__name__, ()):
                np.testing.assert_array_equal(narrow, wide)
            else:
                assert (narrow.dtype, wide.dtype) == (np.float16, np.float32)
                check_rounded(narrow, wide)


def in_dtype(name, value, dtype):
    """Return an argument rounded to float16, in a dtype."""
    if isinstance(value, list):
        return [in_dtype(name, item, dtype) for item in value]
    if isinstance(value, float) and name in SCALARS:
        return float(np.float16(value))
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f" or name in STATISTICS:
        return value
    return value.astype(np.float16).astype(dtype)


def check_rounded(narrow, wide):
    """Check that the results differ by at most half an ulp of float16.

    A kernel that ends in float64 rounds in float32, too, which adds 2⁻¹⁴ of that unit.
    """
    _, exponent = np.frexp(wide)
    unit = np.ldexp(1.0, np.maximum(exponent, -13) - 11)
    near = np.abs(narrow.astype(float) - wide) <= unit * (0.5 + 2.0**-14)
    infinite = (np.abs(wide) >= 65520 * (1 - 2.0**-24)) & (narrow == np.copysign(np.inf, wide))
    wrong = ~(near | infinite | (np.isnan(narrow) & np.isnan(wide)))
    assert not wrong.any(), f"{wrong.mean():.0%} of the elements are off: {narrow[wrong][:3]}, not {wide[wrong][:3]}"


@pytest.mark.parametrize("kernel", SETS["reference"])
@EXAMPLES
@given(data=st.data())
def test_a_kernel_of_the_reference_rounds_once(kernel, data):
    check_rounds_once(getattr(reference, kernel), data.draw(cases(kernel)))


@pytest.mark.parametrize("kernel", SETS["fast"])
def test_float16_arrays_go_to_the_reference_from_the_fast_set_too(kernel):
    with kernels.using("fast"):
        chosen = kernels.choose(np.ones(1, np.float16))
    assert getattr(chosen, kernel) is getattr(reference, kernel)


# The check notices

# One matrix product, which NumPy adds up in float32 by itself. CuPy does not. test_float16.py of the reference has long
# products, which are cut into parts.
PRODUCTS = ("conv2d_grads", "conv2d_weight_grad", "linear", "linear_grads", "matmul")
DECORATED = [name for name in SETS["reference"] if hasattr(getattr(reference, name), "__wrapped__")]


def is_noticed(kernel, name):
    def run(case):
        check_rounds_once(kernel, case)

    quick = settings(max_examples=50, derandomize=True, database=None, phases=[Phase.generate])
    with pytest.raises((AssertionError, DtypeError)):  # in float16, statistics in float32 are another dtype
        quick(given(case=cases(name))(run))()


@pytest.mark.parametrize("name", [name for name in DECORATED if name not in PRODUCTS])
def test_a_kernel_without_its_decorator_is_noticed(name):
    is_noticed(inspect.unwrap(getattr(reference, name)), name)


def test_a_new_kernel_without_the_decorator_is_noticed():
    def gelu(x):
        return 0.5 * x * (1 + np.tanh(0.7978845608 * (x + 0.044715 * x**3)))

    is_noticed(gelu, "tanh")
    check_rounds_once(in_float32()(gelu), KernelCase((np.linspace(-4, 4, 1001, dtype=np.float32),)))
