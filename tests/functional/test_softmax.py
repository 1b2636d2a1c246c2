import math

import numpy as np
import pytest

import minires as mr
from minires import nn, testing
from minires.errors import DataError, DtypeError, ShapeError

F = mr.functional


def test_cross_entropy_is_its_definition_for_every_reduction():
    logits, labels, smoothing = [[1.0, 2.0, 0.5], [0.0, -1.0, 3.0], [5.0, 5.0, 5.0]], [1, -100, 2], 0.3
    expected = []
    for row, label in zip(logits, labels, strict=True):
        logs = [v - math.log(sum(math.exp(u) for u in row)) for v in row]
        target = [smoothing / 3 + (1 - smoothing) * (k == label) for k in range(3)]
        expected.append(0.0 if label == -100 else -sum(t * v for t, v in zip(target, logs, strict=True)))
    x, y = mr.tensor(np.array(logits)), mr.tensor(labels)
    none = F.cross_entropy(x, y, "none", smoothing).numpy()
    assert none == pytest.approx(expected, rel=1e-14)
    assert F.cross_entropy(x, y, "sum", smoothing).item() == pytest.approx(sum(expected), rel=1e-14)
    assert F.cross_entropy(x, y, "mean", smoothing).item() == pytest.approx(sum(expected) / 2, rel=1e-14)


def test_logits_near_1000_do_not_overflow():
    x = mr.tensor(np.array([[1000.0, 999.0]]), requires_grad=True)
    loss = F.cross_entropy(x, mr.tensor([0]))
    loss.backward()
    assert loss.item() == pytest.approx(math.log1p(math.exp(-1.0)), rel=1e-14)
    assert x.grad.numpy().sum() == pytest.approx(0.0, abs=2.0**-52)


def test_bad_labels_and_shapes_are_named():
    x = mr.tensor(np.zeros((2, 3)))
    with pytest.raises(DataError, match=r"label 3 at row 1 is not one of the 3 classes 0 … 2"):
        F.cross_entropy(x, mr.tensor([0, 3]))
    with pytest.raises(ShapeError, match=r"got \(2, 3\) and \(3,\)"):
        F.cross_entropy(x, mr.tensor([0, 1, 2]))
    with pytest.raises(DtypeError, match="labels must be int64, not float32"):
        F.cross_entropy(x, mr.tensor([0.0, 1.0]))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"reduction": "average"}, "reduction 'average' is not one of mean, sum, none"),
        ({"label_smoothing": 1.5}, r"label_smoothing must be between 0 and 1, got 1\.5"),
        ({"label_smoothing": -0.5}, r"label_smoothing must be between 0 and 1, got -0\.5"),
    ],
)
def test_options_of_cross_entropy_that_are_out_of_range_are_named(options, text):
    x, labels = mr.tensor(np.zeros((2, 3))), mr.tensor([0, 1])
    with pytest.raises(ValueError, match=text):
        F.cross_entropy(x, labels, **options)
    with pytest.raises(ValueError, match=text):
        nn.CrossEntropyLoss(**options)(x, labels)


def test_a_class_that_is_ruled_out_costs_nothing_and_gets_no_gradient():
    x = mr.tensor(np.array([[0.0, -np.inf, 0.0]]), requires_grad=True)
    loss = F.cross_entropy(x, mr.tensor([0]))
    loss.backward()
    assert loss.item() == pytest.approx(math.log(2), rel=1e-15)
    assert x.grad.numpy().tolist() == [[-0.5, 0.0, 0.5]]


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_cross_entropy_has_right_gradients_of_both_orders(reduction, smoothing):
    rng = np.random.default_rng(3)
    labels = mr.tensor([1, -100, 2, 2])
    logits = mr.tensor(rng.standard_normal((4, 3)), requires_grad=True)
    testing.check_gradient(lambda x: F.cross_entropy(x, labels, reduction, smoothing), logits, order=2, rng=rng)


def test_the_third_derivative_of_a_loss_is_there():
    x = mr.tensor(np.array([[0.0, 0.0]]), requires_grad=True)
    (g,) = mr.grad(F.cross_entropy(x, mr.tensor([0])), x, create_graph=True)
    (h,) = mr.grad(g[0, 0], x, create_graph=True)
    (third,) = mr.grad(h[0, 0], x)
    # p₀ − 1, p₀ (1 − p₀), p₀ (1 − p₀) (1 − 2 p₀) at p₀ = ½
    assert (g.numpy()[0, 0], h.numpy()[0, 0], third.numpy()[0, 0]) == (-0.5, 0.25, 0.0)
