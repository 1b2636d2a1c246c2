import numpy as np
import pytest

import minires as mr
from minires.errors import ShapeError


def test_max_along_an_axis_gives_values_and_first_indices_as_in_pytorch():
    x = mr.tensor(np.array([[1.0, 3.0, 3.0], [2.0, 0.0, 1.0]]), requires_grad=True)
    values, indices = x.max(1)
    assert (values.numpy().tolist(), indices.numpy().tolist()) == ([3.0, 2.0], [1, 0])
    assert indices.dtype == np.int64
    values.sum().backward()
    assert x.grad.numpy().tolist() == [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]
    assert x.min(0, keepdim=True).indices.numpy().tolist() == [[0, 1, 1]]


def test_all_that_are_largest_share_the_gradient_of_the_full_maximum():
    x = mr.tensor(np.array([1.0, 4.0, 4.0]), requires_grad=True)
    y = x.max()
    assert y.shape == ()
    y.backward()
    assert x.grad.numpy().tolist() == [0.0, 0.5, 0.5]


def test_var_is_numpys_with_pytorchs_options():
    x = np.random.default_rng(0).standard_normal((3, 4))
    t = mr.tensor(x)
    # Sums of a dozen terms of size one: a few roundings of 2⁻⁵³ each.
    for ours, theirs in (
        (t.var(), x.var(ddof=1)),
        (t.var(0), x.var(0, ddof=1)),
        (t.var(1, correction=0), x.var(1)),
        (t.var(unbiased=False), x.var()),
    ):
        assert np.abs(ours.numpy() - theirs).max() <= 50 * 2.0**-53


def test_reductions_of_nothing_and_of_axes_that_are_not_there():
    empty = mr.tensor(np.ones((0, 2)))
    assert empty.sum().item() == 0
    assert np.isnan(empty.mean(0).numpy()).all()
    with pytest.raises(ShapeError, match="no element"):
        empty.max()
    for name in ("sum", "mean", "var", "max", "min"):
        with pytest.raises(ShapeError, match="axis 2"):
            getattr(empty, name)(2)


def test_axes_may_be_lists_and_numpys_integers():
    x = mr.ones(2, 3, 4)
    assert x.sum([0, 2]).numpy().tolist() == [8.0] * 3
    assert x.sum(()).item() == 24.0
    assert x.sum(np.int64(0)).shape == x.mean((np.int64(0),)).shape == x.max(np.int64(0)).values.shape == (3, 4)
    assert mr.functional.softmax(x, np.int64(1)).shape == (2, 3, 4)
    with pytest.raises(ShapeError, match=r"dim must be an integer, several, or None, got 0\.5"):
        x.sum(0.5)


def test_a_variance_far_from_zero_and_its_gradient_keep_their_digits():
    values = (30000 + np.random.default_rng(0).random(20000)).astype(np.float32)
    found = {}
    for dtype in ("float32", "float64"):
        x = mr.tensor(values.astype(dtype), requires_grad=True)
        y = x.var()
        y.backward()
        found[dtype] = y.item(), x.grad.numpy()
    assert found["float32"][0] == pytest.approx(found["float64"][0], rel=4 * 2.0**-23)
    # Distances up to 0.5 are exact but for the second mean's rounding, and multiplied by two numbers.
    assert np.abs(found["float32"][1] - found["float64"][1]).max() <= 4 * 2.0**-24 * 2 / 19999
