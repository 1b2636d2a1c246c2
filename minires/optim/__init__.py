"""Optimizers, learning-rate schedules and loss scaling, with PyTorch's names, argument orders and formulas.

Defaults are PyTorch's too, with one exception: `OneCycleLR` does not change the momentum. In PyTorch that is
``cycle_momentum=False``, which is not the default there.
"""

from minires.optim.adam import Adam, AdamW
from minires.optim.loss_scaler import LossScaler
from minires.optim.optimizer import Optimizer
from minires.optim.schedule import Schedule
from minires.optim.schedules import CosineAnnealingLR, MultiStepLR, OneCycleLR, StepLR
from minires.optim.sgd import SGD

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "CosineAnnealingLR",
    "LossScaler",
    "MultiStepLR",
    "OneCycleLR",
    "Optimizer",
    "Schedule",
    "StepLR",
]
