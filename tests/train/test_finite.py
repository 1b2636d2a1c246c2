import numpy as np
import pytest

from minires import nn, tensor
from minires.errors import TrainingError
from minires.train.finite import check_finite


class Scale(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return x * self.factor


@pytest.fixture
def images():
    return tensor(np.ones((2, 1, 4, 4), np.float32))


def check(model, images, loss=float("nan")):
    check_finite(loss, model, images, "epoch 3, batch 7 of 9", 0.5)


def test_a_finite_loss_is_no_matter(images):
    check(Scale(float("nan")), images, loss=0.0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_the_first_layer_to_blame_is_named_by_its_path(images, bad):
    model = nn.Sequential(Scale(1.0), nn.Sequential(Scale(2.0), Scale(bad)), Scale(bad))
    message = (
        r"the loss is nan in epoch 3, batch 7 of 9: the first layer whose output is not finite is 1\.1 \(Scale\)\. "
        r"Nothing was updated with it, .*; lower `lr` \(now 0\.5\), "
    )
    with pytest.raises(TrainingError, match=message):
        check(model, images)


def test_weights_that_are_not_finite_are_told(images):
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    model[1].bias.assign_(np.array([0, np.nan]))
    with pytest.raises(TrainingError, match=r"is 1 \(BatchNorm2d\), and neither is its bias"):
        check(model, images)


def test_images_that_are_not_finite_are_told(images):
    with pytest.raises(TrainingError, match="the images of the batch are not finite"):
        check(Scale(1.0), images * np.nan)


def test_if_all_layers_are_finite_the_loss_is_told(images):
    with pytest.raises(TrainingError, match=r"loss is inf .* all layers are finite, only the loss itself is not"):
        check(nn.Sequential(Scale(1.0)), images, loss=float("inf"))


def test_the_hooks_are_taken_away_again(images):
    model = nn.Sequential(Scale(np.nan))
    with pytest.raises(TrainingError):
        check(model, images)
    assert not model[0]._hooks
