import contextlib

import numpy as np
import pytest

import minires as mr
from minires import nn
from minires.errors import GraphError

F = mr.functional


def image(*shape, dtype=np.float32):
    return mr.tensor(np.random.default_rng(0).standard_normal(shape).astype(dtype))


def test_batch_norm_has_pytorchs_options():
    x = mr.tensor(np.random.default_rng(0).standard_normal((3, 2, 4, 4)).astype(np.float32))
    plain = nn.BatchNorm2d(2, affine=False, track_running_stats=False).eval()
    assert not list(plain.state_dict())
    assert abs(float(plain(x).mean())) <= 1e-6  # 96 float32 numbers of size one, by the batch's own mean
    mean = nn.BatchNorm2d(2, momentum=None)
    for scale in (1.0, 3.0):
        mean(x * scale)
    assert mean.running_mean.numpy() == pytest.approx(2 * x.numpy().mean((0, 2, 3)), rel=1e-5)


# Flags that change after a layer was made


def state(norm):
    return {name: value.numpy().copy() for name, value in norm.state_dict().items()}


def test_evaluation_goes_by_the_statistics_that_are_there_and_writes_none():
    norm, x = nn.BatchNorm2d(4).eval(), image(2, 4, 3, 3)
    before, expected = state(norm), norm(x).numpy()
    for tracked in (False, True):
        norm.track_running_stats = tracked
        assert np.array_equal(norm(x).numpy(), expected)
    norm.track_running_stats = False
    with mr.no_grad():
        fused = nn.chain(x, conv_of(4), norm, nn.ReLU())
    assert np.allclose(fused.numpy(), F.relu(norm(conv_of(4)(x))).numpy(), atol=1e-6)
    np.testing.assert_equal(state(norm), before)


def conv_of(channels):
    return nn.Conv2d(channels, channels, 1, rng=np.random.default_rng(0))


def test_training_without_tracking_writes_no_statistics():
    for momentum in (0.1, None):
        norm = nn.BatchNorm2d(4, momentum=momentum)
        norm.track_running_stats = False
        before = state(norm)
        norm(image(2, 4, 3, 3))
        np.testing.assert_equal(state(norm), before)


@pytest.mark.parametrize("recorded", [True, False])
def test_evaluation_without_statistics_goes_by_the_batch(recorded):
    norm, x = nn.BatchNorm2d(4).eval(), image(2, 4, 3, 3)
    norm.running_mean = norm.running_var = None
    expected = nn.BatchNorm2d(4)(x).numpy()
    assert np.array_equal(norm(x).numpy(), expected)
    with contextlib.nullcontext() if recorded else mr.no_grad():
        y = nn.chain(x, nn.Identity(), norm, nn.ReLU())
    assert np.array_equal(y.numpy(), np.maximum(expected, 0))


@pytest.mark.parametrize("momentum", [0.1, None])
def test_training_without_a_count_of_batches_updates_as_pytorchs_does(momentum):
    norm, x = nn.BatchNorm2d(2, momentum=momentum), image(2, 2, 3, 3)
    norm.num_batches_tracked = None
    norm(x)
    assert norm.running_mean.numpy() == pytest.approx((momentum or 0) * x.numpy().mean((0, 2, 3)), rel=1e-5)
    assert list(norm.state_dict()) == ["weight", "bias", "running_mean", "running_var"]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("gone", ["running_mean", "running_var"])
def test_one_of_two_statistics_is_an_error_that_names_the_other(gone, training):
    norm = nn.BatchNorm2d(2).train(training)
    setattr(norm, gone, None)
    with pytest.raises(GraphError, match=f"its {gone} is None: set both, or neither"), mr.no_grad():
        nn.chain(image(2, 2, 4, 4), conv_of(2), norm, nn.ReLU())
    norm.track_running_stats = False
    if training:
        norm(image(2, 2, 4, 4))
