"""Run the tests of the reference kernels on the kernels for CuPy.

For ``--cuda cpu`` and ``--cuda gpu``. In the test modules of tests/kernels/reference, each kernel is replaced by its
namesake in kernels/cuda; a kernel without one runs itself on CUDA arrays. Its arguments are copied to the device, and
its results back. The package itself does not change.
"""

import functools
import types

import numpy as np

from minires import cupy_on_cpu
from minires.kernels import cuda, reference

REFERENCE = "minires.kernels.reference"


def begin(where):
    """Prepare CuPy to compute on a GPU, or on the CPU."""
    if where == "cpu":
        begin.device = cupy_on_cpu.install(devices=2)


def carry(module):
    """Replace the kernels in a test module and in the kernel modules that it imports."""
    for name, value in list(vars(module).items()):
        if is_kernel(value):
            setattr(module, name, on_cuda(value))
        elif isinstance(value, types.ModuleType) and value.__name__.startswith(REFERENCE):
            items = {n: on_cuda(v) if is_kernel(v) else v for n, v in vars(value).items()}
            setattr(module, name, types.SimpleNamespace(**items))


def is_kernel(value):
    """Return whether this is one of the reference kernels."""
    return isinstance(value, types.FunctionType) and getattr(reference, value.__name__, None) is value


@functools.cache
def on_cuda(kernel):
    """Return a function of NumPy arrays that runs the CUDA kernel; for complex arrays, the reference kernel."""
    own = getattr(cuda, kernel.__name__) if kernel.__name__ in cuda.__all__ else kernel

    @functools.wraps(kernel)
    def chosen(*arguments, **options):
        is_complex = any(np.iscomplexobj(argument) for argument in arguments if hasattr(argument, "dtype"))
        return (kernel if is_complex else own)(*arguments, **options)

    return cupy_on_cpu.carried(chosen)
