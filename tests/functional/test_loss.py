import math

import numpy as np
import pytest

import minires as mr
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


def test_bad_labels_shapes_and_options_are_named():
    x = mr.tensor(np.zeros((2, 3)))
    with pytest.raises(DataError, match=r"label 3 at row 1 is not one of the 3 classes 0 … 2"):
        F.cross_entropy(x, mr.tensor([0, 3]))
    with pytest.raises(ShapeError, match=r"got \(2, 3\) and \(3,\)"):
        F.cross_entropy(x, mr.tensor([0, 1, 2]))
    with pytest.raises(DtypeError, match="labels must be integers, not float32"):
        F.cross_entropy(x, mr.tensor([0.0, 1.0]))
    with pytest.raises(ValueError, match="reduction 'average'"):
        F.cross_entropy(x, mr.tensor([0, 1]), "average")
    with pytest.raises(ShapeError, match=r"got \(2, 3\) and \(4, 2\)"):
        F.linear(x, mr.tensor(np.zeros((4, 2))))


def test_max_pooling_has_gradients_of_gradients():
    x = mr.tensor(np.array([[[[1.0, 2.0], [4.0, 3.0]]]]), requires_grad=True)
    y = F.max_pool2d(x, 2)
    (g,) = mr.grad((y * y * y).sum(), x, create_graph=True)
    (h,) = mr.grad(g.sum(), x)
    assert (g.numpy().ravel().tolist(), h.numpy().ravel().tolist()) == ([0, 0, 48.0, 0], [0, 0, 24.0, 0])


def test_adaptive_pooling_says_what_it_cannot_divide():
    with pytest.raises(ShapeError, match=r"output_size \(3, 3\) must divide.*\(1, 1, 4, 4\)"):
        F.adaptive_avg_pool2d(mr.tensor(np.ones((1, 1, 4, 4))), 3)
