import numpy as np
import pytest

import minires as mr
from minires.errors import ShapeError

F = mr.functional


def test_convolution_computes_no_gradient_for_images():
    x, w = mr.tensor(np.ones((1, 2, 4, 4))), mr.tensor(np.ones((3, 2, 3, 3)), requires_grad=True)
    F.conv2d(x, w).sum().backward()
    assert w.grad.numpy().tolist() == np.full((3, 2, 3, 3), 4.0).tolist()


def test_bad_shapes_are_named():
    x, w = mr.tensor(np.ones((1, 2, 4, 4))), mr.tensor(np.ones((3, 2, 3, 3)))
    with pytest.raises(ShapeError, match=r"bias of shape \(2,\) does not fit 3 output channels"):
        F.conv2d(x, w, mr.tensor(np.ones(2)))
    with pytest.raises(ShapeError, match=r"\(K, C / groups, R, S\), got \(2, 3, 3\)"):
        F.conv2d(x, w[0])
