import itertools

import numpy as np
import pytest

from minires.errors import DtypeError, ShapeError
from minires.geometry import Geometry
from minires.kernels.reference import conv2d, conv2d_act
from minires.testing import strategies as ms

X, W, GEOMETRY = ms.array((2, 2, 5, 4), 0), ms.array((3, 2, 3, 2), 1), Geometry((3, 2), (2, 1), (1, 0))
SCALE, BIAS = np.array([0.5, -2.0, 3.0]), np.array([1.0, 0.25, -4.0])
SHORTCUT = ms.array((2, 3, 3, 3), 2)


@pytest.mark.parametrize("has", list(itertools.product((False, True), repeat=4)))
def test_it_is_its_formula(has):
    scale, bias, shortcut = (part if there else None for part, there in zip((SCALE, BIAS, SHORTCUT), has, strict=False))
    y = conv2d_act(X, W, scale, bias, shortcut, has[3], GEOMETRY)
    z = np.einsum("k,nkpq->nkpq", SCALE if has[0] else np.ones(3), conv2d(X, W, GEOMETRY))
    if has[1]:
        z += BIAS[None, :, None, None]
    if has[2]:
        z += SHORTCUT
    np.testing.assert_array_equal(y, np.maximum(z, 0) if has[3] else z)


@pytest.mark.parametrize(
    ("others", "error", "text"),
    [
        ((SCALE[:2], None, None), ShapeError, r"a scale of shape \(2,\) does not fit 3 output channels"),
        ((None, BIAS[:2], None), ShapeError, r"a bias of shape \(2,\) does not fit 3 output channels"),
        ((None, BIAS.astype(np.float32), None), DtypeError, "float32"),
        ((None, None, SHORTCUT[:1]), ShapeError, r"a shortcut of shape \(1, 3, 3, 3\) cannot be added"),
    ],
)
def test_what_does_not_fit_is_named(others, error, text):
    with pytest.raises(error, match=text):
        conv2d_act(X, W, *others, True, GEOMETRY)
