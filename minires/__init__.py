"""A residual network you can read end to end, with hand-written gradients on NumPy or CuPy."""

from minires import data, functional, kernels, models, nn, optim
from minires.autograd.backward import grad
from minires.autograd.op import Op, no_grad
from minires.autograd.tensor import Tensor
from minires.checkpoint import load, save
from minires.functional import concatenate, from_dlpack, maximum, ones, stack, tensor, where, zeros
from minires.random import manual_seed
from minires.threads import get_num_threads, set_num_threads

__version__ = "0.1.0.dev0"
__all__ = [
    "Op",
    "Tensor",
    "concatenate",
    "data",
    "from_dlpack",
    "functional",
    "get_num_threads",
    "grad",
    "kernels",
    "load",
    "manual_seed",
    "maximum",
    "models",
    "nn",
    "no_grad",
    "ones",
    "optim",
    "save",
    "set_num_threads",
    "stack",
    "tensor",
    "where",
    "zeros",
]
