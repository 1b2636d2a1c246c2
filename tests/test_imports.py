"""Imports load few modules and need nothing else. Each test starts a new interpreter."""

import pkgutil
import subprocess
import sys

import pytest

import minires

EXTRAS = ("cupy", "hypothesis", "torch", "matplotlib", "PIL", "onnx", "mpi4py", "pytest")
ALLOWED = tuple(  # these, and what is in them, are for Hypothesis
    f"minires.testing.{name}" for name in ("catalogue", "property_test", "rounding.cases", "strategies")
)
RUN = ("minires.__main__",)  # importing it runs the command line
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(minires.__path__, "minires.")
    if not any(f"{module.name}.".startswith(f"{name}.") for name in ALLOWED + RUN)
)
PUBLIC = [name for name in MODULES if name.count(".") == 1]

BLOCK = f"""
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {EXTRAS!r}:
            raise ImportError(name + " is not installed")

sys.meta_path.insert(0, Block())
"""

STEP = """
import numpy as np
import minires as mr
from minires import functional as F, models, nn, optim

mr.manual_seed(0)
model = models.resnet20()
x = mr.tensor(np.zeros((2, 3, 32, 32), np.float32), requires_grad=True)
optimizer = optim.SGD(model.parameters(), lr=0.1)
loss = F.cross_entropy(model(x), mr.tensor([1, 2]))
loss.backward()
optimizer.step()
assert x.grad.shape == x.shape
"""


def run(program):
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_import_of_minires_brings_no_extra():
    assert run(f"import sys, minires; print(*[name for name in {EXTRAS!r} if name in sys.modules])").split() == []


@pytest.mark.parametrize("module", PUBLIC)
def test_the_import_of_a_public_module_brings_no_extra(module):
    program = f"import sys, {module}; print(*[name for name in {EXTRAS!r} if name in sys.modules])"
    assert run(program).split() == []


def test_every_module_can_be_imported_where_no_extra_is_installed():
    run(BLOCK + "".join(f"import {name}\n" for name in MODULES))


def test_a_network_is_trained_where_no_extra_is_installed():
    run(BLOCK + STEP)


def test_the_block_of_these_tests_blocks():
    run(BLOCK + "try:\n    import hypothesis\nexcept ImportError:\n    pass\nelse:\n    raise SystemExit('imported')")


def test_every_name_that_minires_lists_is_there():
    assert sorted(set(minires.__all__)) == sorted(minires.__all__)
    for name in minires.__all__:
        assert hasattr(minires, name)
