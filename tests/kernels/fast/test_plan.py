import numpy as np
import pytest

import minires as mr
from minires.errors import ShapeError
from minires.geometry import Geometry
from minires.kernels import fast
from minires.kernels.fast.plan import plan
from minires.testing import strategies as ms


@pytest.fixture(autouse=True)
def plans_are_made_anew():
    plan.cache_clear()


@pytest.mark.parametrize(
    ("name", "x", "w", "window", "dtype"),
    [
        ("winograd", (16, 64, 56, 56), (64, 64, 3, 3), {"padding": (1, 1)}, np.float32),
        ("strips", (16, 64, 56, 56), (64, 64, 3, 3), {"padding": (1, 1)}, np.float64),
        ("strips", (16, 64, 56, 56), (128, 64, 3, 3), {"padding": (1, 1), "stride": (2, 2)}, np.float32),
        ("general", (16, 128, 28, 28), (256, 128, 3, 3), {"padding": (1, 1), "stride": (2, 2)}, np.float32),
        ("strips", (128, 8, 32, 32), (16, 8, 3, 3), {"padding": (1, 1)}, np.float32),
        ("winograd", (128, 9, 32, 32), (16, 9, 3, 3), {"padding": (1, 1)}, np.float32),
        ("strips", (16, 3, 224, 224), (64, 3, 7, 7), {"padding": (3, 3), "stride": (2, 2)}, np.float32),
        ("strips", (128, 3, 32, 32), (16, 3, 3, 3), {"padding": (1, 1)}, np.float64),
        ("pointwise", (8, 64, 56, 56), (256, 64, 1, 1), {}, np.float32),
        ("pointwise", (8, 256, 56, 56), (512, 256, 1, 1), {"stride": (2, 2)}, np.float64),
        ("general", (8, 8, 5, 5), (8, 8, 1, 1), {"padding": (1, 1)}, np.float32),
        ("depthwise", (8, 32, 56, 56), (32, 1, 3, 3), {"padding": (1, 1), "groups": 32}, np.float32),
        ("general", (8, 32, 56, 56), (64, 1, 3, 3), {"padding": (1, 1), "groups": 32}, np.float32),
        ("general", (8, 32, 56, 56), (32, 8, 3, 3), {"padding": (1, 1), "groups": 4}, np.float32),
        ("depthwise", (32, 2, 2, 2), (2, 1, 1, 1), {"padding": (1, 1), "groups": 2}, np.float32),
        ("general", (3, 1, 5, 5), (1, 1, 1, 1), {"padding": (1, 1)}, np.float32),
        ("strips", (8, 9, 9, 9), (4, 9, 3, 3), {}, np.float64),
        ("strips", (8, 508, 9, 9), (64, 508, 1, 8), {}, np.float64),
        ("general", (8, 512, 9, 9), (64, 512, 1, 8), {}, np.float64),
        ("strips", (8, 8, 9, 9), (4, 8, 3, 3), {}, np.float64),
        ("strips", (8, 8, 9, 9), (4, 8, 1, 2), {"padding": (0, 1)}, np.float32),
        ("strips", (8, 8, 9, 9), (4, 8, 3, 1), {"padding": (1, 0)}, np.float32),
        ("general", (8, 8, 9, 9), (4, 8, 3, 3), {"dilation": (1, 2)}, np.float64),
        ("general", (8, 8, 9, 9), (4, 4, 3, 3), {"groups": 2}, np.float64),
    ],
)
def test_the_way_is_chosen_by_shape_and_says_so(name, x, w, window, dtype):
    chosen = plan(Geometry(w[2:], **window), x, w, np.dtype(dtype))
    assert chosen.name == name
    assert repr(chosen).startswith(f"{name}: ")
    N, K, P, Q = Geometry(w[2:], **window).check_conv(x, w)
    assert chosen.multiplications == N * K * P * Q * w[1] * w[2] * w[3]


def test_a_plan_is_made_once():
    arguments = Geometry((3, 3)), (2, 8, 9, 9), (8, 8, 3, 3), np.dtype(np.float32)
    assert plan(*arguments) is plan(*arguments)


def test_winograds_way_can_be_closed():
    """Then the rounding is that of a plain sum: each has 9 · 128 products."""
    geometry = Geometry((3, 3), padding=(1, 1))
    x, w = (ms.array(shape, n, dtype="float32") for n, shape in enumerate([(2, 128, 12, 12), (128, 128, 3, 3)]))
    exact = fast.conv2d(x.astype(np.float64), w.astype(np.float64), geometry)
    errors = {}
    try:
        for enabled in (True, False, True):
            mr.set_winograd(enabled)
            assert plan(geometry, x.shape, w.shape, x.dtype).name == ("winograd" if enabled else "strips")
            errors[enabled] = float(np.abs(fast.conv2d(x, w, geometry) - exact).max() / np.abs(exact).max())
    finally:
        mr.set_winograd(True)
    assert errors[False] < errors[True] / 2
    assert errors[False] < 3e-6


def test_shapes_that_do_not_fit_have_no_plan():
    with pytest.raises(ShapeError, match="has 8 channels"):
        plan(Geometry((3, 3)), (2, 8, 9, 9), (8, 7, 3, 3), np.float32)


@pytest.mark.parametrize("value", ["off", 0, None])
def test_whether_winograd_is_wanted_is_true_or_false(value):
    with pytest.raises(TypeError, match="True or False"):
        mr.set_winograd(value)
