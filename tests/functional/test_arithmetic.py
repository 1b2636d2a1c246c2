import numpy as np
import pytest

import minires as mr
from minires.errors import DtypeError, ShapeError

F = mr.functional


def gradient(function, *values):
    tensors = [mr.tensor(np.array(v, np.float64), requires_grad=True) for v in values]
    function(*tensors).sum().backward()
    return [t.grad.numpy().tolist() for t in tensors]


def test_powers_of_zero_have_pytorchs_derivatives():
    assert gradient(lambda a: a**0.0, [0.0, 2.0]) == [[0.0, 0.0]]
    assert gradient(lambda a: a**2.0, [0.0, 3.0]) == [[0.0, 6.0]]
    assert gradient(lambda a, b: a**b, [0.0, 0.0], [0.0, 2.0]) == [[0.0, 0.0], [0.0, 0.0]]
    x = mr.tensor(np.zeros(1), requires_grad=True)
    (g,) = mr.grad((x**2.0).sum(), x, create_graph=True)
    assert mr.grad(g.sum(), x)[0].numpy().tolist() == [2.0]


def test_equal_operands_of_maximum_share_the_gradient():
    assert gradient(mr.maximum, [1.0, 2.0, 3.0], [2.0, 2.0, 2.0]) == [[0.0, 0.5, 1.0], [1.0, 0.5, 0.0]]


def test_nan_reaches_both_operands_of_maximum():
    assert gradient(mr.maximum, [np.nan], [0.0]) == [[1.0], [1.0]]


def test_what_where_did_not_choose_gets_no_gradient_even_where_it_is_infinite():
    condition = mr.tensor([True, False])
    # PyTorch's convention: the gradient of the branch not taken is 0, and 0 · ∞ arises only inside that branch.
    assert gradient(lambda a, b: mr.where(condition, a, b), [1.0, np.inf], [np.inf, 1.0]) == [[1.0, 0.0], [0.0, 1.0]]


def test_corners_have_pytorchs_derivatives():
    assert gradient(lambda a: a.abs(), [-2.0, 0.0, 3.0]) == [[-1.0, 0.0, 1.0]]
    assert gradient(lambda a: a.clip(-1.0, 1.0), [-2.0, -1.0, 0.0, 1.0, 2.0]) == [[0.0, 1.0, 1.0, 1.0, 0.0]]
    assert gradient(abs, [-2.0]) == [[-1.0]]


def test_where_and_clip_name_what_is_wrong():
    x = mr.tensor([1.0, 2.0])
    with pytest.raises(DtypeError, match="condition must be boolean, got int64"):
        mr.where(mr.tensor([1, 0]), x, x)
    with pytest.raises(ShapeError, match=r"where: shapes .* do not broadcast"):
        mr.where(mr.tensor([True] * 3), x, x)
    with pytest.raises(ValueError, match="clip needs min, max or both"):
        x.clip()


def test_a_number_that_the_dtype_cannot_hold_is_refused():
    for like, value in ((np.int8, 300), (np.uint8, -1), (np.bool_, 2), (np.int64, 0.5), (np.float32, 1j)):
        with pytest.raises(DtypeError, match="would change the dtype"):
            mr.tensor(np.ones(2, like)) + value
    assert (mr.tensor([1, 2]) * 2.0).dtype == np.int64  # 2.0 is an integer in value
    assert (mr.ones(1) * 2**70).numpy().tolist() == [2.0**70]


def test_two_numbers_alone_have_no_dtype():
    with pytest.raises(TypeError, match=r"one of 1.0 and 2.0 must be a Tensor"):
        mr.where(mr.tensor([True]), 1.0, 2.0)


@pytest.mark.parametrize("name", ["sigmoid", "tanh"])
def test_integers_have_no_smooth_switch(name):
    with pytest.raises(DtypeError, match=f"{name} needs a float array, got int64"):
        getattr(F, name)(mr.tensor([1, 2]))
