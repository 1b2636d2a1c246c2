"""The promise that the engine can be read in one sitting."""

import ast
import io
import tokenize
from pathlib import Path

from minires import autograd, values

LAYOUT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def lines_of_code(source):
    """Return the numbers of the lines with code, without docstrings, comments and blank lines."""
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in LAYOUT:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if documented and ast.get_docstring(node) is not None:
            lines.difference_update(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return lines


def test_lines_are_counted_without_docstrings_comments_and_blank_lines():
    text = ['"""A.', "", 'B."""', "import os  # why", "", "def f(x):", '    """C."""', "    # D"]
    source = "\n".join([*text, '    y = """', '    E"""', "    return x", ""])
    assert lines_of_code(source) == {4, 6, 9, 10, 11}


def test_the_engine_with_ownership_and_the_values_of_a_tensor_has_fewer_than_600_lines_of_code():
    files = sorted(Path(autograd.__file__).parent.glob("*.py"))
    assert [file.name for file in files] == ["__init__.py", "backward.py", "op.py", "ownership.py", "tensor.py"]
    files.append(Path(values.__file__))
    assert sum(len(lines_of_code(file.read_text(encoding="utf-8"))) for file in files) < 600
