import numpy as np
import pytest

import minires as mr
from minires.testing import MEMORY_ORDERS, lay_out
from minires.testing.catalogue.laid_out import in_order


class Watched(mr.Op):
    """Computes 2 x and records the strides of its arrays."""

    def forward(self, x, *, seen):
        self.save_constant(seen)
        seen.append(x.strides)
        return 2 * x

    def backward(self, gy):
        (seen,) = self.constants
        seen.append(gy.array.strides)
        return gy * 2.0


@pytest.mark.parametrize("order", MEMORY_ORDERS)
def test_an_operation_sees_its_input_and_its_output_gradient_in_the_memory_order(order):
    seen, array = [], np.arange(120.0).reshape(2, 3, 4, 5)
    x = mr.tensor(array, requires_grad=True)
    y = in_order(lambda x: Watched.apply(x, seen=seen), order, "reference")(x)
    (g,) = mr.grad(y, x, mr.tensor(array))
    expected = lay_out(array, order).strides
    assert seen == [expected, expected]
    assert y.numpy().tolist() == g.numpy().tolist() == (2 * array).tolist()


def test_memory_orders_do_not_hide_second_derivatives():
    x = mr.tensor(np.array([[1.0, 2.0], [3.0, 4.0]]), requires_grad=True)
    y = in_order(lambda x: x * x * x, "F", "reference")(x)
    (g,) = mr.grad(y.sum(), x, create_graph=True)
    (gg,) = mr.grad(g.sum(), x)
    assert gg.numpy().tolist() == (6 * x.numpy()).tolist()


def test_an_operation_is_computed_by_the_kernel_set_named():
    x = mr.tensor(np.ones((1, 1, 3, 3)), requires_grad=True)
    kept = []

    def convolved(x):
        y = mr.functional.conv2d(x, x)
        kept.append(y._op.kernels.name)
        return y

    for name in ("reference", "fast"):
        in_order(convolved, "C", name)(x)
    assert kept == ["reference", "fast"]
