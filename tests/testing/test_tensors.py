import subprocess
import sys

import numpy as np
import pytest

import minires as mr
from minires import testing
from minires.errors import DtypeError


def tensors(*shapes, requires_grad=True):
    rng = np.random.default_rng(0)
    return [mr.tensor(rng.standard_normal(shape), requires_grad=requires_grad) for shape in shapes]


class Cube(mr.Op):
    """x³, whose gradient is off by ``error``."""

    def forward(self, x, *, error=0.0):
        self.save(x)
        self.error = error
        return x * x * x

    def backward(self, gy):
        (x,) = self.saved
        return ((3 + self.error) * x * x * gy,)


class Detached(mr.Op):
    """x³ with a gradient that forgets to be differentiable itself."""

    def forward(self, x):
        self.save_constant(3 * x * x)
        return x * x * x

    def backward(self, gy):
        return (gy * mr.tensor(self.constants[0]),)


def test_the_gradient_of_a_composition_is_proved_to_second_order():
    for order in (1, 2):
        report = testing.check_gradient(lambda x, w: (x @ w).exp() / (1 + w * w), *tensors((3, 3), (3, 3)), order=order)
        assert report.resolution < 1e-9


def test_the_gradient_of_an_own_operation_is_proved():
    testing.check_gradient(Cube.apply, *tensors((4,)), order=2)


def test_a_wrong_operation_is_caught():
    with pytest.raises(testing.GradientError, match="constant factor"):
        testing.check_gradient(lambda x: Cube.apply(x, error=0.003), *tensors((4,)))


def test_an_operation_that_is_wrong_in_second_order_only_is_caught():
    testing.check_gradient(Detached.apply, *tensors((4,)))
    with pytest.raises(testing.GradientError, match="`x`"):
        testing.check_gradient(Detached.apply, *tensors((4,)), order=2)


def test_second_derivatives_outside_the_domain_are_left_out_without_a_warning():
    assert testing.check_gradient(lambda x: x.sqrt(), mr.tensor(np.array([-1.0, 2.0])), order=2).left_out


def test_only_tensors_that_require_a_gradient_are_checked():
    x, w = tensors((3,))[0], tensors((3,), requires_grad=False)[0]
    assert [r.argument for r in testing.check_gradient(lambda x, w: x * w, x, w).inputs] == [0]
    assert [r.argument for r in testing.check_gradient(lambda x, w: x * w, w, w).inputs] == [0, 1]


def test_an_input_without_influence_has_a_gradient_of_zero():
    testing.check_gradient(lambda x, w: x * 2.0, *tensors((3,), (2,)))


def test_a_linear_function_has_a_second_derivative_of_zero():
    testing.check_gradient(lambda x: x * 2.0, *tensors((3,)), order=2)


def test_a_tuple_of_outputs_is_proved():
    testing.check_gradient(lambda x, w: (x * w, x.exp()), *tensors((3,), (3,)), order=2)


def test_float32_is_refused():
    with pytest.raises(DtypeError, match="need float64"):
        testing.check_gradient(lambda x: x * x, mr.tensor(np.ones(3, np.float32), requires_grad=True))


def test_another_order_is_refused():
    with pytest.raises(ValueError, match="order must be 1 or 2, got 3"):
        testing.check_gradient(lambda x: x * x, *tensors((3,)), order=3)


def test_a_complex_step_proves_both_orders_and_finds_small_errors():
    with mr.kernels.using("reference"):
        for order in (1, 2):
            report = testing.check_gradient(
                lambda x, w: (x @ w).exp() / (1 + w * w), *tensors((3, 3), (3, 3)), order=order, method="complex step"
            )
            assert report.resolution < 1e-12
        with pytest.raises(testing.GradientError, match="complex step"):
            testing.check_gradient(lambda x: Cube.apply(x, error=1e-10), *tensors((4,)), method="complex step")
        with pytest.raises(testing.GradientError, match="`x`"):
            testing.check_gradient(Detached.apply, *tensors((4,)), order=2, method="complex step")


def test_another_method_is_refused():
    with pytest.raises(ValueError, match="'complex step', got 'forward mode'"):
        testing.check_gradient(lambda x: x * x, *tensors((3,)), method="forward mode")


@pytest.mark.parametrize("order", [1, 2])
def test_the_snippet_of_a_wrong_operation_fails_in_a_fresh_interpreter(order):
    function = Detached.apply if order == 2 else lambda x: Cube.apply(x, error=0.003)
    with pytest.raises(testing.GradientError) as caught:
        testing.check_gradient(function, *tensors((2, 3)), order=order)
    done = subprocess.run([sys.executable, "-c", caught.value.finding.snippet], capture_output=True, text=True)
    assert done.returncode == 1
    assert "AssertionError" in done.stderr


def test_arrays_raise_with_an_explanation():
    x = np.ones(3)
    with pytest.raises(TypeError, match=r"`x` is a numpy.ndarray, expected a Tensor of minires: give minires.tens"):
        testing.check_gradient(lambda x: x * x, x)
    for returned, kind in ((x, "numpy.ndarray"), (2.0, "float"), (None, "NoneType")):
        with pytest.raises(TypeError, match=f"function returns a {kind}, expected a Tensor of minires"):
            testing.check_gradient(lambda x, returned=returned: returned, mr.tensor(x))
    with pytest.raises(DtypeError, match="`x` is int64 and has no gradient"):
        testing.check_gradient(lambda x: x * 2, mr.tensor(np.arange(3)))
