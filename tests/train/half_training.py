"""Train ResNet-20 in float16 and in float64."""

import numpy as np

import minires as mr
from minires import functional as F
from minires import models, optim

HALF_AN_ULP = 2.0**-11  # of float16, relative to the number
# A step rounds activations after 20 convolutions and 20 batch norms. The squares of independent errors add up.
ROUNDINGS = 40


def training(dtype, device="cpu", *, steps=3, init_scale=2.0**10, moved_by=None):
    """Train some steps on a batch of 8×8 images; return the losses, the network, the optimizer and the scaler.

    If ``moved_by`` is a generator, it moves each weight and pixel by half an ulp of float16, up or down.
    """
    model, rng = models.resnet20(seed=0), np.random.default_rng(0)
    x, labels = rng.standard_normal((2, 3, 8, 8)), rng.integers(0, 10, 2)
    if moved_by is not None:
        for p in model.parameters():
            p.assign_(moved(p.numpy(), moved_by))
        x = moved(x, moved_by)
    model = model.to(device, dtype)
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    scaler = optim.LossScaler(init_scale)
    x, labels = mr.tensor(x, dtype=dtype, device=device), mr.tensor(labels, device=device)
    losses = []
    for _ in range(steps):
        loss = F.cross_entropy(model(x).to(np.promote_types(dtype, np.float32)), labels)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
    return np.array(losses), model, optimizer, scaler


def moved(values, rng):
    return (values * (1 + HALF_AN_ULP * rng.choice([-1, 1], values.shape))).astype(values.dtype)


def half_is_close(losses):
    """Assert that the losses agree with those of float32 up to the effect of rounding to float16.

    The effect of rounding weights and images is computed in float64. Every layer rounds once more.
    """
    exact = training(np.float64)[0]
    of_one = max(
        (abs(training(np.float64, moved_by=np.random.default_rng(seed))[0] - exact) for seed in range(4)),
        key=np.linalg.norm,
    )
    tolerance = ROUNDINGS**0.5 * of_one
    assert (tolerance < 0.5 * exact[0]).all()  # small enough to tell training from no training
    single = training(np.float32)[0]
    assert (abs(losses - single) <= tolerance).all(), (losses, single, tolerance)
