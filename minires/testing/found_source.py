"""The source of functions, lambdas and classes, and what they take from around them."""

from __future__ import annotations

import ast
import dis
import inspect
import textwrap
import types
from collections.abc import Iterator
from typing import Any


def source_of(value: Any) -> str | None:
    """The source of a function, lambda or class; None for anything else, and where it is not to be found."""
    if not isinstance(value, types.FunctionType | type):
        return None
    try:
        source = textwrap.dedent(inspect.getsource(value))
    except (OSError, TypeError):
        return None
    if isinstance(value, types.FunctionType) and value.__name__ == "<lambda>":
        return _lambda(source, value.__code__)
    return _statement(source, value.__name__)


def _statement(source: str, name: str) -> str | None:
    """The source of a ``def`` or ``class`` without its decorators; None for what is not one."""
    try:
        node = ast.parse(source).body[0]
    except SyntaxError:
        return None
    if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name != name:
        return None
    return "\n".join(source.splitlines()[node.lineno - 1 :]).rstrip()


def _lambda(source: str, code: types.CodeType) -> str | None:
    """The one lambda in ``source`` that compiles to ``code``, or None."""
    for start in range(len(source)):  # a lambda may begin in the middle of a statement that does not stand alone
        if source.startswith("lambda", start):
            node = _longest_expression(source[start:])
            if node is not None and _same_code(node, code):
                return ast.unparse(node)
    return None


def _longest_expression(text: str) -> ast.expr | None:
    for end in range(len(text), len("lambda:"), -1):
        try:
            node = ast.parse(f"({text[:end]})", mode="eval").body
        except SyntaxError:
            continue
        if isinstance(node, ast.Tuple):  # `lambda x: x, rest`: the comma belongs to what surrounds it
            node = node.elts[0]
        return node
    return None


def _same_code(node: ast.expr, wanted: types.CodeType) -> bool:
    free = ", ".join(wanted.co_freevars)
    wrapper = f"def outer({free}):\n return {ast.unparse(node)}"
    outer = compile(wrapper, "<lambda>", "exec").co_consts[0]
    codes = [constant for constant in outer.co_consts if isinstance(constant, types.CodeType)]
    return any(
        (_instructions(code), code.co_names, code.co_varnames)
        == (_instructions(wanted), wanted.co_names, wanted.co_varnames)
        and [c for c in code.co_consts if not isinstance(c, types.CodeType)]
        == [c for c in wanted.co_consts if not isinstance(c, types.CodeType)]
        for code in codes
    )


def _instructions(code: types.CodeType) -> list[tuple[str, Any]]:
    """What it does, in so far as that tells lambdas apart: ``k.f(x)`` is compiled otherwise where a file imports k."""
    called = {"LOAD_METHOD": "LOAD_ATTR", "CALL_METHOD": "CALL_FUNCTION"}
    without_argument = {*dis.hasjrel, *dis.hasjabs, *dis.hasconst}  # constants are compared by themselves
    return [
        (called.get(i.opname, i.opname), None if i.opcode in without_argument else i.argval)
        for i in dis.get_instructions(code)
        if i.opname != "PUSH_NULL"
    ]


def needs_of(value: Any) -> list[tuple[str, Any]]:
    """Names, with their values, that a function takes from around it, or the methods of a class."""
    members = [value] if isinstance(value, types.FunctionType) else vars(value).values()
    functions = [getattr(member, "__func__", member) for member in members]  # of class and static methods
    return [need for f in functions if isinstance(f, types.FunctionType) for need in _surroundings(f)]


def _surroundings(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    """Names that the function takes from around it, with their values."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # not yet bound
            continue
    for name in _global_names(function.__code__):
        if name in function.__globals__:
            yield name, function.__globals__[name]


def _global_names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _global_names(constant)
