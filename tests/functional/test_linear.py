import numpy as np
import pytest

import minires as mr
from minires import testing
from minires.errors import ShapeError

F = mr.functional


def test_linear_has_right_gradients_of_both_orders_for_any_leading_axes():
    rng = np.random.default_rng(0)
    for lead in ((), (3,), (2, 3)):
        tensors = [mr.tensor(rng.standard_normal(s), requires_grad=True) for s in ((*lead, 4), (5, 4), (5,))]
        testing.check_gradient(F.linear, *tensors, order=2, rng=rng)


def test_bad_shapes_are_named():
    x = mr.tensor(np.zeros((2, 3)))
    with pytest.raises(ShapeError, match=r"got \(2, 3\) and \(4, 2\)"):
        F.linear(x, mr.tensor(np.zeros((4, 2))))
    with pytest.raises(ShapeError, match=r"bias of shape \(3,\) does not fit weights of shape \(4, 3\)"):
        F.linear(x, mr.tensor(np.zeros((4, 3))), mr.tensor(np.zeros(3)))
