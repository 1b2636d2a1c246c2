"""Draw initial weights."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from minires.device import Array


def kaiming_normal(shape: Sequence[int], rng: np.random.Generator, fan_out: bool = True) -> Array:
    """Draw normal values with standard deviation √(2 / fan).

    With this deviation a convolution followed by ReLU keeps the variance of the gradients (fan_out), or of the
    activations (fan_in).

    Parameters
    ----------
    shape : (K, C, R, S)
    rng : the generator that draws the values
    fan_out : True for fan = K · R · S, which is for the backward pass; False for C · R · S, for the forward pass

    Returns
    -------
    float32 array of that shape, drawn in C order

    Source: He et al. 2015, arXiv:1502.01852.
    """
    fan = shape[0 if fan_out else 1] * math.prod(shape[2:])
    return (rng.standard_normal(shape) * math.sqrt(2 / fan)).astype(np.float32)


def uniform_by_fan_in(shape: Sequence[int], fan_in: int, rng: np.random.Generator) -> Array:
    """Draw uniform values within ± 1 / √fan_in, PyTorch's default for linear and convolution layers.

    Returns
    -------
    float32 array of that shape, drawn in C order
    """
    bound = 1 / math.sqrt(fan_in)
    return rng.uniform(-bound, bound, shape).astype(np.float32)


def in_filter_order(w: Array) -> Array:
    """Copy filters (K, C, R, S) into the memory order R, S, C, K, where each tap is a matrix for the fast kernels."""
    return np.ascontiguousarray(w.transpose(2, 3, 1, 0)).transpose(3, 2, 0, 1)
