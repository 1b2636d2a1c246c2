import numpy as np
import pytest

import minires as mr
from minires import models
from minires import random as mr_random
from minires.errors import ShapeError


def count(model):
    return sum(p.numel() for p in model.parameters())


# He et al. 2015 (CIFAR, option A) and the public ImageNet implementations.
PARAMETERS = {
    "resnet18": 11_689_512, "resnet34": 21_797_672, "resnet50": 25_557_032, "resnet20": 269_722,
    "resnet32": 464_154, "resnet44": 658_586, "resnet56": 853_018, "resnet110": 1_727_962, "plain20": 269_722,
}  # fmt: skip


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameter_counts_are_the_published_ones(name):
    assert count(getattr(models, name)()) == PARAMETERS[name]


def test_projection_shortcuts_add_2752_parameters():
    assert count(models.resnet20(shortcut="B")) == 269_722 + 2_752


def test_the_pad_shortcut_is_strided_slicing_with_zero_channels_around():
    x = np.random.default_rng(0).standard_normal((2, 4, 5, 6)).astype(np.float32)
    y = models.PadShortcut(4, 8, 2)(mr.tensor(x)).numpy()
    assert np.array_equal(y, np.pad(x[:, :, ::2, ::2], ((0, 0), (2, 2), (0, 0), (0, 0))))


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    a, b, c = models.resnet20(seed=1), models.resnet20(seed=1), models.resnet20(seed=2)
    assert np.array_equal(a.layer1[0].conv1.weight.numpy(), b.layer1[0].conv1.weight.numpy())
    assert not np.array_equal(a.layer1[0].conv1.weight.numpy(), c.layer1[0].conv1.weight.numpy())


def test_a_plain_twin_draws_nothing_for_shortcuts():
    before = mr_random.get_state()
    models.resnet20()
    padded = mr_random.get_state()
    mr_random.set_state(before)
    models.plain20()
    assert mr_random.get_state() == padded
    mr_random.set_state(before)


def test_a_step_along_the_gradient_lowers_the_loss():
    rng = np.random.default_rng(0)
    model = models.resnet20(in_channels=1, shortcut="B")
    x, labels = mr.tensor(rng.standard_normal((8, 1, 16, 16)).astype(np.float32)), mr.tensor(rng.integers(0, 10, 8))
    before = mr.functional.cross_entropy(model(x), labels)
    before.backward()
    for parameter in model.parameters():
        parameter.assign_(parameter.numpy() - np.float32(0.01) * parameter.grad.numpy())
    assert mr.functional.cross_entropy(model(x), labels).item() < before.item()


def test_the_2015_stride_is_on_the_first_pointwise_convolution():
    block = models.resnet50(stride_first=True).layer2[0]
    assert (block.conv1.stride, block.conv2.stride) == ((2, 2), (1, 1))
    block = models.resnet50().layer2[0]
    assert (block.conv1.stride, block.conv2.stride) == ((1, 1), (2, 2))


def test_impossible_depths_and_shortcuts_are_named():
    with pytest.raises(ShapeError, match=r"6 n \+ 2 layers \(8, 14, 20, …\), not 21"):
        models.CifarResNet(21)
    with pytest.raises(ValueError, match="shortcut 'C' is not"):
        models.resnet20(shortcut="C")
    with pytest.raises(ValueError, match="shortcut 'B' is not a module, None or 'none'"):
        models.BasicBlock(2, 2, shortcut="B")


def test_any_module_may_take_a_batch_norms_place():
    block, x = models.BasicBlock(2, 2), mr.ones(1, 2, 4, 4)
    block.bn1 = block.bn2 = mr.nn.Identity()
    y = mr.functional.relu(block.conv2(mr.functional.relu(block.conv1(x))) + x)
    assert np.array_equal(block(x).numpy(), y.numpy())
