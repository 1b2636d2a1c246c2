import numpy as np
import pytest

import minires as mr
from minires import models, nn
from minires.train.profile import profile


@pytest.fixture(scope="module")
def training():
    return profile(models.resnet20(), (2, 3, 32, 32), steps=3)


def test_all_calls_of_a_step_are_there_with_the_plans_of_convolutions(training):
    forward = [row for row in training.rows if row.kernel == "conv2d"]
    backward = [row for row in training.rows if row.kernel == "conv2d_grads"]
    assert sum(row.calls for row in forward) == sum(row.calls for row in backward) == 19
    assert {row.plan for row in forward} == {"strips", "winograd"}
    multiply_adds = 2 * models.summary.summarize(models.resnet20(), (3, 32, 32)).multiply_adds  # of two images
    assert sum(row.multiplications for row in forward) == multiply_adds - 2 * 64 * 10
    first = 2 * 3 * 16 * 9 * 32 * 32  # the images want no gradient
    assert sum(row.multiplications for row in backward) == 2 * (multiply_adds - 2 * 64 * 10) - first
    parameters = [name for name, p in models.resnet20().named_parameters() if p.ndim == 4]
    assert sorted(owner for row in forward for owner in row.owners) == sorted(parameters)
    assert sum(row.calls for row in training.rows if row.kernel == "sgd_") == 1


def test_rows_are_in_order_of_time_and_add_up_to_less_than_the_step(training):
    times = [row.seconds for row in training.rows]
    assert times == sorted(times, reverse=True)
    assert 0 < training.kernel_seconds < training.seconds
    assert training.engine_share == 1 - training.kernel_seconds / training.seconds
    lines = str(training).splitlines()
    assert lines[0].startswith("CifarResNet on 2 × 3 × 32 × 32, training, ")
    assert len(lines) == 4 + len(training.rows)
    assert "winograd  layer1.0.conv1.weight" in str(training)


def test_inference_leaves_the_network_as_it_was():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    before = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    found = profile(model, (2, 3, 8, 8), phase="inference", steps=1)
    assert all(np.array_equal(before[name], value.numpy()) for name, value in model.state_dict().items())
    kernels = {"conv2d_act", "batch_norm_act_inference", "relu", "adaptive_avg_pool2d"}
    assert {row.kernel for row in found.rows} >= kernels
    assert mr.kernels.choose(np.ones(1, np.float32)).name == "fast"  # as before


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(ValueError, match="phase must be 'training' or 'inference', got 'test'"):
        profile(models.resnet20(), (2, 3, 32, 32), phase="test")
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        profile(models.resnet20(), (2, 3, 32, 32), steps=0)
