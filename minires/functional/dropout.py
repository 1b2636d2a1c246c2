"""Dropout."""

from __future__ import annotations

from typing import Any

import numpy as np

from minires.autograd.tensor import Tensor
from minires.device import Array, asarray
from minires.errors import DtypeError
from minires.functional.kernel_op import KernelOp
from minires.options import real
from minires.random import next_draws


class Dropout(KernelOp):
    """y = x / (1 − p) where the mask is True, else 0. It is linear and equal to its adjoint."""

    def forward(self, x: Array, *, mask: Array, p: float) -> Any:
        """Compute y."""
        self.save_constant(mask, p)
        return self.kernels.dropout(x, mask, p)

    def backward(self, gy: Tensor) -> Any:
        """Apply the same mask to gy."""
        mask, p = self.constants
        return Dropout.apply(gy, mask=mask, p=p)


def dropout(x: Tensor, p: float = 0.5, training: bool = True, rng: np.random.Generator | None = None) -> Tensor:
    """Set each element to 0 with probability ``p`` and multiply the others by 1 / (1 − p), when training.

    Parameters
    ----------
    x : float tensor of any shape
    p : the probability of 0 for each element, 0 … 1
    training : whether to drop elements; False returns x
    rng : draws the mask, on the CPU for every device; by default the stream "dropout" of `minires.random`, so that
        the same seed drops the same elements on every device

    Returns
    -------
    y : shape and dtype of x; x itself when not training, or if ``p`` is 0

    Raises
    ------
    ValueError : if p is not between 0 and 1.
    DtypeError : for integers.
    """
    p = real(p, "the probability of dropout", 0, 1)
    if x.dtype.kind not in "fc":
        raise DtypeError(f"dropout enlarges what stays, so it needs a float tensor, not {x.dtype}")
    if not training or p == 0:
        return x
    mask = (rng or next_draws("dropout")).random(x.shape, np.float32) >= p
    return Dropout.apply(x, mask=asarray(mask, x.device), p=p)
