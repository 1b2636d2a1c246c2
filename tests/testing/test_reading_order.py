"""The packages that list their files in reading order list all of them, and no file uses one further down."""

import ast
import importlib
import re
from pathlib import Path

import pytest


@pytest.mark.parametrize("name", ["minires.testing.calling", "minires.testing.differences"])
def test_every_file_uses_only_files_above_it(name):
    package = importlib.import_module(name)
    order = re.findall(r"^- `(\w+)`", package.__doc__, re.MULTILINE)
    folder = Path(package.__file__).parent
    assert sorted(order) == sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")
    for position, file in enumerate(order):
        tree = ast.parse((folder / f"{file}.py").read_text(encoding="utf-8"))
        modules = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        used = {module.rpartition(".")[2] for module in modules if module and module.startswith(f"{name}.")}
        assert used <= set(order[:position]), file
