import numpy as np
import pytest

import minires as mr
from minires.errors import ShapeError

F = mr.functional


def test_max_pooling_has_gradients_of_gradients():
    x = mr.tensor(np.array([[[[1.0, 2.0], [4.0, 3.0]]]]), requires_grad=True)
    y = F.max_pool2d(x, 2)
    (g,) = mr.grad((y * y * y).sum(), x, create_graph=True)
    (h,) = mr.grad(g.sum(), x)
    assert (g.numpy().ravel().tolist(), h.numpy().ravel().tolist()) == ([0, 0, 48.0, 0], [0, 0, 24.0, 0])


def test_adaptive_pooling_covers_an_image_that_the_grid_does_not_divide():
    x = mr.tensor(np.arange(5.0).reshape(1, 1, 1, 5), requires_grad=True)
    y = F.adaptive_avg_pool2d(x, (None, 3))
    assert y.numpy().ravel().tolist() == [0.5, 2.0, 3.5]  # 0–1, 1–3, 3–4
    y.sum().backward()
    assert x.grad.numpy().ravel() == pytest.approx([1 / 2, 1 / 2 + 1 / 3, 1 / 3, 1 / 3 + 1 / 2, 1 / 2], rel=1e-15)


@pytest.mark.parametrize("size", [0, (2, -1), (1, 2, 3), 1.5])
def test_impossible_grids_are_named(size):
    with pytest.raises(ShapeError):
        F.adaptive_avg_pool2d(mr.tensor(np.ones((1, 1, 4, 4))), size)


def test_a_large_window_is_averaged_as_precisely_as_a_mean():
    x = np.random.default_rng(0).random((1, 1, 512, 512)).astype(np.float32) + 1
    exact = x.mean(dtype=np.float64)
    for pool in (lambda t: F.avg_pool2d(t, 512), lambda t: F.adaptive_avg_pool2d(t, 1), lambda t: t.mean()):
        assert abs(pool(mr.tensor(x)).item() - exact) < 2e-7 * exact
