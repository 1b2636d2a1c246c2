"""The reference kernels on CuPy under the tests that were written for them on NumPy.

pytest imports this for ``--cuda cpu`` and ``--cuda gpu`` before any test: each kernel in kernels/reference is replaced
by itself, carried to the device and back.
"""

import importlib
import pkgutil

from minires.testing import cupy_on_cpu


def begin(where):
    """Let kernels compute on a GPU, or on the CPU in its place."""
    if where == "cpu":
        begin.device = cupy_on_cpu.install()
    from minires.kernels import reference

    for found in pkgutil.iter_modules(reference.__path__, "minires.kernels.reference."):
        module = importlib.import_module(found.name)
        for name in reference.__all__:
            kernel = vars(module).get(name)
            if kernel is not None and kernel.__module__ == found.name:
                carried = cupy_on_cpu.carried(kernel)
                setattr(module, name, carried)
                setattr(reference, name, carried)
