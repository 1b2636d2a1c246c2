"""A residual network you can read end to end, with hand-written gradients on NumPy or CuPy."""

from minires import data, functional, kernels, models, nn, optim
from minires.autograd.backward import grad
from minires.autograd.op import Op, no_grad
from minires.autograd.tensor import Tensor, tensor
from minires.random import manual_seed

__version__ = "0.1.0.dev0"
__all__ = [
    "Op",
    "Tensor",
    "data",
    "functional",
    "grad",
    "kernels",
    "manual_seed",
    "models",
    "nn",
    "no_grad",
    "optim",
    "tensor",
]
