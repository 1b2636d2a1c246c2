"""`check_vjp` on PyTorch's own gradients: the claims of docs/case_study_operators.md, for a dozen operators."""

import warnings

import numpy as np
import pytest

from minires.testing import GradientError, Inconclusive, check_vjp

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("one_thread")
F = torch.nn.functional


def pair_of(operator):
    """Return an operator and its derivative as functions of arrays."""

    def function(*arrays):
        return operator(*map(torch.from_numpy, arrays)).numpy()

    def vjp(gy, *arrays):
        tensors = [torch.from_numpy(x).requires_grad_() for x in arrays]
        with warnings.catch_warnings():  # some operators warn at their first call in a process
            warnings.simplefilter("ignore")
            gradients = torch.autograd.grad(operator(*tensors), tensors, torch.from_numpy(gy))
        return tuple(g.numpy() for g in gradients)

    return function, vjp


def accepted_by_gradcheck(operator, *arrays):
    return torch.autograd.gradcheck(operator, [torch.tensor(x, requires_grad=True) for x in arrays])


def values(*shape, low=-2.0, high=2.0):
    return np.random.default_rng(0).uniform(low, high, shape)


ONE_INDEX_TWICE = torch.tensor([[1, 1]])
RIGHT = {
    "tanh": (torch.tanh, [values(3, 4)]),
    "softmax": (lambda x: torch.softmax(x, 1), [values(3, 4)]),
    "matmul": (torch.matmul, [values(3, 4), values(4, 2)]),
    "layer_norm": (lambda x: F.layer_norm(x, (4,)), [values(3, 4)]),
    "conv2d": (lambda x, w: F.conv2d(x, w, stride=2, padding=1), [values(1, 2, 4, 5), values(3, 2, 3, 2)]),
    "max_pool2d": (lambda x: F.max_pool2d(x, 2), [values(1, 2, 4, 4)]),
    "inverse": (torch.linalg.inv, [values(3, 3) + 3 * np.eye(3)]),
}
DEFECTS = {
    "hardsigmoid": (F.hardsigmoid, [values(3)]),
    "digamma": (torch.digamma, [np.array([0.3, 2.5, 5.3])]),
    "matrix_exp": (torch.linalg.matrix_exp, [values(3, 3)]),
}
REJECTED_BY_BOTH = {
    "max_unpool1d": (lambda x: F.max_unpool1d(x, ONE_INDEX_TWICE, 2), [values(1, 2)]),
    "as_strided_scatter": (
        lambda x, y: torch.as_strided_scatter(x.contiguous(), y, (1,), (1,), 1),
        [values(3), values(1)],
    ),
}


@pytest.mark.parametrize("name", RIGHT)
def test_an_error_of_a_thousandth_is_found_and_gradcheck_accepts_it(name):
    operator, arrays = RIGHT[name]
    function, vjp = pair_of(operator)
    assert check_vjp(function, vjp, *arrays).resolution < 1e-9
    g = vjp(np.ones_like(function(*arrays)), *arrays)[0]
    index = np.unravel_index(np.argmax(np.abs(g)), g.shape)
    factors = np.ones_like(g)
    factors[index] = 1.001

    def wrong(gy, *arrays):
        first, *others = vjp(gy, *arrays)
        return (first * factors, *others)

    def planted(first, *others):
        x = first.clone()
        x.register_hook(lambda g: None if g is None else g * torch.from_numpy(factors))
        return operator(x, *others)

    with pytest.raises(GradientError) as error:
        check_vjp(function, wrong, *arrays)
    assert not isinstance(error.value, Inconclusive)
    assert error.value.finding.argument == 0
    assert accepted_by_gradcheck(planted, *arrays)


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_of_an_operator_is_found_that_gradcheck_accepts(name):
    operator, arrays = DEFECTS[name]
    with pytest.raises(GradientError) as error:
        check_vjp(*pair_of(operator), *arrays)
    assert not isinstance(error.value, Inconclusive)
    assert accepted_by_gradcheck(operator, *arrays)


@pytest.mark.parametrize("name", REJECTED_BY_BOTH)
def test_a_wrong_derivative_is_rejected_by_both(name):
    operator, arrays = REJECTED_BY_BOTH[name]
    with pytest.raises(GradientError) as error:
        check_vjp(*pair_of(operator), *arrays)
    assert error.value.finding is not None
    with pytest.raises(RuntimeError, match="Jacobian mismatch"):
        accepted_by_gradcheck(operator, *arrays)


def test_the_slope_of_hardsigmoid_is_a_sixth_in_float32():
    x = torch.tensor([0.5], dtype=torch.float64, requires_grad=True)
    (g,) = torch.autograd.grad(F.hardsigmoid(x), x)
    assert g.item() == float(np.float32(1 / 6)) != 1 / 6
