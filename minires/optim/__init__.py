"""Optimizers, learning-rate schedules and loss scaling, with PyTorch's names, argument orders and formulas.

Defaults are PyTorch's too, with one exception: `OneCycleLR` leaves the momentum alone, which in PyTorch is
``cycle_momentum=False`` and not the default.
"""

from minires.optim.adam import Adam, AdamW
from minires.optim.loss_scaler import LossScaler
from minires.optim.optimizer import Optimizer
from minires.optim.schedules import CosineAnnealingLR, MultiStepLR, OneCycleLR, Schedule, StepLR
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
