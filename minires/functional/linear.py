"""The fully connected layer."""

from __future__ import annotations

from minires.autograd.tensor import Tensor
from minires.errors import ShapeError
from minires.functional.bilinear import Bilinear


class Linear(Bilinear):
    """y = x · wᵀ, a bilinear operation."""

    kernel, grads = "linear", "linear_grads"


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return x · weightᵀ + bias, as `torch.nn.functional.linear` does.

    Parameters
    ----------
    x : (…, C); weight : (K, C); bias : (K,) or None

    Returns
    -------
    y : (…, K)

    Raises
    ------
    ShapeError : if the shapes do not agree.
    DtypeError, DeviceError : if dtypes or devices are mixed.
    """
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ShapeError(f"a bias of shape {bias.shape} does not fit weights of shape {weight.shape}: (K,) and (K, C)")
    y = Linear.apply(x, weight)
    return y if bias is None else y + bias
