"""Every activation and its gradient lies in the fast kernels' memory order, through every model and back."""

import sys

import numpy as np
import pytest

import minires as mr
from minires import kernels, models
from minires.kernels.fast import layout

NAMES = [name for name in models.__all__ if name.startswith(("resnet", "plain"))]
DEEPER = ("resnet101", "resnet110", "resnet152", "resnet200", "resnet1202")  # more of the same blocks


class Walk(kernels.KernelSet):
    """The fast kernels, with a look at every 4-D array that one of them gives."""

    def __init__(self, weights):
        super().__init__("fast")
        self.weights, self.strangers = weights, []

    def wrapped(self, kernel, function):
        def observed(*arguments, **options):
            results = function(*arguments, **options)
            for array in results if isinstance(results, tuple) else (results,):
                if getattr(array, "ndim", 0) == 4 and array.shape not in self.weights and not in_order(array):
                    self.strangers.append((kernel, array.shape, array.strides))
            return results

        return observed


def in_order(array):
    """Return whether the memory order is H, W, N, C: contiguous, or a view with steps in H and W."""
    return list(np.argsort([-s for s in array.strides], kind="stable")) == [2, 3, 0, 1] or 1 in array.shape


@pytest.fixture
def conversions(monkeypatch):
    """Return the list of shapes (H, W, N, C) of the activations that kernels had to copy into their order."""
    found, copy = [], layout.contiguous

    def observed(view):
        result = copy(view)
        if result is not view and sys._getframe(1).f_code.co_name == "hwnc":
            found.append(view.shape)
        return result

    monkeypatch.setattr(layout, "contiguous", observed)
    return found


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long) if name in DEEPER else name for name in NAMES]
)
def test_only_the_images_are_converted(conversions, name, training):
    model = getattr(models, name)(num_classes=10).train(training)
    for module in model.modules():
        if isinstance(module, mr.nn.BatchNorm2d):
            module.weight.assign_(0.1)  # or 600 untrained blocks would overflow in evaluation mode
    size = 64 if name in ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnet200") else 16
    walk = Walk({p.shape for p in model.parameters()})
    rng = np.random.default_rng(0)
    images = mr.tensor(rng.standard_normal((3, 3, size, size)).astype(np.float32))
    with kernels.using(walk):
        loss = mr.functional.cross_entropy(model(images), mr.tensor([1, 2, 3]))
    loss.backward()
    assert walk.strangers == []
    assert set(conversions) <= {(size, size, 3, 3)}  # a 7×7 stem reads the images where they lie
