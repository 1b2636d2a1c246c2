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
    """x / (1 − p) where the mask is set, else 0: linear, and its own adjoint."""

    def forward(self, x: Array, *, mask: Array, p: float) -> Any:
        """Drop what the mask does not mark."""
        self.save_constant(mask, p)
        return self.kernels.dropout(x, mask, p)

    def backward(self, gy: Tensor) -> Any:
        """The same mask again."""
        mask, p = self.constants
        return Dropout.apply(gy, mask=mask, p=p)


def dropout(x: Tensor, p: float = 0.5, training: bool = True, rng: np.random.Generator | None = None) -> Tensor:
    """Set each element to 0 with probability ``p`` and enlarge the others by 1 / (1 − p); nothing when not training.

    Parameters
    ----------
    x : float tensor of any shape
    p : the probability of being dropped, 0 … 1
    training : whether to drop at all
    rng : where the mask is drawn, on the host whatever the device; by default the next draws of the stream
        "dropout" of `minires.random`, so that the same seed drops the same elements everywhere

    Returns
    -------
    y : shape and dtype of x; x itself when not training or ``p`` is 0

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
