"""The kernels for CuPy under the tests that were written for the reference's on NumPy.

pytest imports this for ``--cuda cpu`` and ``--cuda gpu`` before any test: each kernel in kernels/reference is replaced
by the one that computes on CUDA arrays, of kernels/cuda or else itself, carried to the device and back.
"""

import functools
import importlib
import pkgutil

import numpy as np

from minires.testing import cupy_on_cpu


def begin(where):
    """Let kernels compute on a GPU, or on the CPU in its place."""
    if where == "cpu":
        begin.device = cupy_on_cpu.install()
    from minires.kernels import cuda, reference

    for found in pkgutil.iter_modules(reference.__path__, "minires.kernels.reference."):
        module = importlib.import_module(found.name)
        for name in reference.__all__:
            kernel = vars(module).get(name)
            if kernel is not None and kernel.__module__ == found.name:
                carried = cupy_on_cpu.carried(chosen(kernel, getattr(cuda, name) if name in cuda.__all__ else kernel))
                setattr(module, name, carried)
                setattr(reference, name, carried)


def chosen(reference, own):
    """The kernel that `kernels.choose` takes for CUDA arrays: the reference's for complex ones."""

    @functools.wraps(reference)
    def kernel(*arguments, **options):
        is_complex = any(np.iscomplexobj(argument) for argument in arguments if hasattr(argument, "dtype"))
        return (reference if is_complex else own)(*arguments, **options)

    return kernel
