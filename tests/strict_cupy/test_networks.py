"""Training on the double of CuPy: the engine, the operations and the optimizers need nothing that CuPy lacks."""

import numpy as np
import pytest
from strict_record import recording

import minires as mr
from minires import functional as F
from minires import kernels, models, optim

pytestmark = pytest.mark.usefixtures("double_for_cupy")


def train(device, make_optimizer):
    """Return the losses of three steps, and the network after them."""
    rng = np.random.default_rng(0)
    model = models.resnet20(seed=0).to(device, np.float64)
    optimizer = make_optimizer(model.parameters())
    images = mr.tensor(rng.standard_normal((2, 3, 8, 8)), device=device)
    labels = mr.tensor(rng.integers(0, 10, 2), device=device)
    losses = []
    for _ in range(3):
        losses.append(F.cross_entropy(model(images), labels))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    return losses, model


@pytest.mark.parametrize(
    "make_optimizer",
    [
        lambda ps: optim.SGD(ps, lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4),
        lambda ps: optim.AdamW(ps, lr=1e-3, weight_decay=1e-2),
    ],
    ids=["SGD", "AdamW"],
)
def test_training_is_numpys_and_waits_for_nothing_but_labels_out_of_range(make_optimizer):
    with kernels.using("reference"):
        here, network = train("cpu", make_optimizer)
        with recording() as record:
            there, moved = train("cuda", make_optimizer)
    assert record.waits == ["bool"] * 2 * len(there)  # cross_entropy and its gradient look for labels out of range
    assert record.copies
    with recording():
        np.testing.assert_allclose([loss.item() for loss in there], [loss.item() for loss in here], rtol=1e-9)
        for (name, p), q in zip(network.named_parameters(), moved.parameters(), strict=True):
            np.testing.assert_allclose(q.numpy(), p.numpy(), rtol=1e-6, atol=1e-9, err_msg=name)
