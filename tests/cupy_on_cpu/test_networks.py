"""Networks and training on CuPy give the same results as on NumPy."""

import numpy as np
import pytest

import minires as mr
from minires import functional as F
from minires import models, optim


def batch(N, size, device, dtype):
    rng = np.random.default_rng(0)
    images = mr.tensor(rng.standard_normal((N, 3, size, size)), device=device, dtype=dtype)
    return images, mr.tensor(rng.integers(0, 10, N), device=device)


def losses(device, steps, dtype, network, size):
    """Return the losses of some training steps, and the network and the optimizer after them."""
    model = network(seed=0).to(device, dtype)
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    images, labels = batch(2, size, device, dtype)
    found = []
    for _ in range(steps):
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found, model, optimizer


def test_three_steps_of_training_are_numpys():
    cpu, there, _ = losses("cpu", 3, np.float64, models.resnet20, 8)
    cuda, moved, _ = losses("cuda", 3, np.float64, models.resnet20, 8)
    np.testing.assert_allclose(cuda, cpu, rtol=1e-9)
    for (name, p), q in zip(there.named_parameters(), moved.parameters(), strict=True):
        np.testing.assert_allclose(q.numpy(), p.numpy(), rtol=1e-6, atol=1e-9, err_msg=name)


def test_logits_and_gradients_of_resnet18_are_numpys():
    results = {}
    for device in ("cpu", "cuda"):
        model = models.resnet18(num_classes=10, seed=0).to(device, np.float64)
        images, labels = batch(2, 32, device, np.float64)
        logits = model(images)
        F.cross_entropy(logits, labels).backward()
        results[device] = [logits.numpy(), *(p.grad.numpy() for p in model.parameters())]
    for ours, theirs in zip(results["cuda"], results["cpu"], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-9 * np.abs(theirs).max())


@pytest.mark.parametrize(("first", "second"), [("cpu", "cuda"), ("cuda", "cpu")])
def test_checkpoints_go_from_one_device_to_the_other(tmp_path, first, second):
    _, model, _ = losses(first, 1, np.float32, models.resnet20, 8)
    mr.save(model.state_dict(), tmp_path / "model.safetensors")
    other = models.resnet20(seed=1).to(second)
    other.load_state_dict(mr.load(tmp_path / "model.safetensors"))
    for p, q in zip(model.state_dict().values(), other.state_dict().values(), strict=True):
        assert q.device.startswith(second)
        assert np.array_equal(p.numpy(), q.numpy())


def test_initial_weights_and_dropout_masks_are_the_cpus():
    here, there = models.resnet20(seed=3), models.resnet20(seed=3).to("cuda")
    for p, q in zip(here.parameters(), there.parameters(), strict=True):
        np.testing.assert_array_equal(q.numpy(), p.numpy())
    masks = []
    for device in ("cpu", "cuda"):
        mr.manual_seed(5)
        masks.append([F.dropout(mr.ones((7, 9), device=device), p).numpy() for p in (0.1, 0.5)])
    np.testing.assert_array_equal(*map(np.concatenate, masks))
