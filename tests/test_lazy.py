"""Packages that import their modules at first use list and return the right names."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import minires
from minires import testing
from minires.lazy import lazily

PACKAGES = [minires, testing]


def run(program):
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def imports_for_type_checkers(package):
    """Yield (module, name, name here) of each import below ``if TYPE_CHECKING``."""
    tree = ast.parse(Path(package.__file__).read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    for statement in block.body:
        assert isinstance(statement, ast.ImportFrom)
        for alias in statement.names:
            yield statement.module, alias.name, alias.asname or alias.name


@pytest.mark.parametrize("package", PACKAGES)
def test_type_checkers_are_told_of_the_names_that_are_there(package):
    told = list(imports_for_type_checkers(package))
    assert {name for _, _, name in told} <= set(dir(package))
    assert set(package.__all__) <= {name for _, _, name in told}
    for module, name, here in told:
        if module == package.__name__:
            assert getattr(package, here) is importlib.import_module(f"{module}.{name}")
        else:
            assert getattr(package, here) is getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_name_offered_is_told_to_type_checkers(package):
    program = f"import {package.__name__} as package; print(*(name for name in dir(package) if name[0] != '_'))"
    its_own = {"TYPE_CHECKING", "lazily", "lazy"}
    assert set(run(program)) - its_own == {name for _, _, name in imports_for_type_checkers(package)}


@pytest.mark.parametrize("package", PACKAGES)
def test_the_package_alone_brings_nothing(package):
    program = f"import sys, {package.__name__}; print(*(name for name in sys.modules if name.startswith('minires')))"
    assert set(run(program)) == {"minires", "minires.lazy", package.__name__}
    assert run(f"import sys, {package.__name__}; print('numpy' in sys.modules)") == ["False"]


def test_all_names_can_be_imported_with_a_star():
    run("from minires import *; nn.ReLU()(tensor([1.0, -1.0])) + ones(2); testing.check_vjp; F = functional")


@pytest.mark.parametrize(
    "module", ["autograd.tensor", "autograd.op", "values", "device", "nn.module", "functional.creation", "kernels"]
)
def test_operators_work_whatever_is_imported_first(module):
    run(f"""
import minires.{module}
from minires.autograd.tensor import Tensor
import numpy as np
x = Tensor(np.ones(2))
assert (x + 1 == 1 + x).numpy().all() and (x @ x).item() == 2 and x.sum().exp().item() > 7
""")


def test_an_operator_that_nobody_defines_is_a_key_error():
    run("""
from minires.values import METHODS
try:
    METHODS["frobnicate"]
except KeyError as error:
    assert error.args == ("frobnicate",)
else:
    raise SystemExit("found")
""")


@pytest.mark.parametrize("package", PACKAGES)
def test_a_name_that_is_not_there_is_an_attribute_error(package):
    with pytest.raises(AttributeError, match=f"module '{package.__name__}' has no attribute 'frobnicate'"):
        package.frobnicate  # noqa: B018


def test_a_name_is_looked_up_once():
    get, everything = lazily("minires.lazy", (), {"lazy": ()})
    with pytest.raises(AttributeError, match="'lazily'"):
        get("lazily")
    assert "lazily" in everything()
    run("import minires; grad = minires.grad; assert vars(minires)['grad'] is grad")
