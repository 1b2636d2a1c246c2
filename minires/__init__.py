"""A residual network you can read end to end, with hand-written gradients on NumPy or CuPy."""

from typing import TYPE_CHECKING

from minires.lazy import lazily

# Each name is here twice: as an import for type checkers and editors, and in a table for Python, which imports it at
# its first use. pytest imports this package in every run of every project to find the plugin: see lazy.py.
if TYPE_CHECKING:
    from minires import autograd as autograd
    from minires import checkpoint as checkpoint
    from minires import data, functional, kernels, models, nn, optim, testing
    from minires import device as device
    from minires import errors as errors
    from minires import geometry as geometry
    from minires import hooks as hooks
    from minires import memory as memory
    from minires import random as random
    from minires import threads as threads
    from minires import train as train
    from minires import values as values
    from minires.autograd.backward import grad
    from minires.autograd.op import Op, no_grad
    from minires.autograd.tensor import Tensor
    from minires.checkpoint import load, save
    from minires.functional import concatenate, from_dlpack, maximum, ones, stack, tensor, where, zeros
    from minires.kernels.fast.plan import set_winograd
    from minires.memory import release_memory
    from minires.random import manual_seed
    from minires.threads import get_num_threads, set_num_threads
else:
    __getattr__, __dir__ = lazily(
        __name__,
        modules=(
            *("autograd", "checkpoint", "data", "device", "errors", "functional", "geometry", "hooks", "kernels"),
            *("memory", "models", "nn", "optim", "random", "testing", "threads", "train", "values"),
        ),
        names={
            "autograd.backward": ("grad",),
            "autograd.op": ("Op", "no_grad"),
            "autograd.tensor": ("Tensor",),
            "checkpoint": ("load", "save"),
            "functional": ("concatenate", "from_dlpack", "maximum", "ones", "stack", "tensor", "where", "zeros"),
            "kernels.fast.plan": ("set_winograd",),
            "memory": ("release_memory",),
            "random": ("manual_seed",),
            "threads": ("get_num_threads", "set_num_threads"),
        },
    )

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
    "release_memory",
    "save",
    "set_num_threads",
    "set_winograd",
    "stack",
    "tensor",
    "testing",
    "where",
    "zeros",
]
