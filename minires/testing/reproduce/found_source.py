"""The source of functions, lambdas and classes, and what they take from around them."""

from __future__ import annotations
import __future__

import ast
import copy
import dis
import functools
import inspect
import textwrap
import types
import warnings
from collections.abc import Iterator
from typing import Any

_Function = ast.FunctionDef | ast.Lambda
_FUTURE = __future__.annotations.compiler_flag


def source_of(value: Any) -> str | None:
    """Return the source of a function, lambda or class, without decorators.

    None for anything else, where there is no source, and where the source is not what was compiled: a file that was
    edited since must not show up as what was checked.
    """
    try:
        with warnings.catch_warnings():  # of invalid escapes, say, in code that is not ours
            warnings.simplefilter("ignore")
            if isinstance(value, types.FunctionType):
                return _of_function(value.__code__)
            return _of_class(value) if isinstance(value, type) else None
    except (OSError, TypeError, SyntaxError, ValueError):
        return None


def _of_function(code: types.CodeType) -> str | None:
    lines, _ = inspect.findsource(code)
    for node in ast.walk(_parsed("".join(lines))):
        if isinstance(node, _Function) and _first_line(node) == code.co_firstlineno:
            bare = _without_decorators(node)
            if _is_code_of(bare, code):
                return ast.unparse(bare) if isinstance(bare, ast.Lambda) else _spelled(bare, lines)
    return None


@functools.lru_cache(maxsize=8)
def _parsed(text: str) -> ast.Module:
    return ast.parse(text)


def _first_line(node: Any) -> int:
    """The line that the compiler gives to a function: that of its first decorator, if it has one."""
    return min(part.lineno for part in [node, *getattr(node, "decorator_list", [])])


def _without_decorators(node: Any) -> Any:
    bare = copy.deepcopy(node)
    if not isinstance(bare, ast.Lambda):
        bare.decorator_list = []
    return bare


def _spelled(node: Any, lines: list[str]) -> str:
    """The text of a ``def`` or ``class`` at the left margin; comments are lost where a string spans lines."""
    text = textwrap.dedent("".join(lines[node.lineno - 1 : node.end_lineno])).rstrip()
    try:
        same = ast.dump(ast.parse(text)) == ast.dump(ast.Module([node], []))
    except SyntaxError:
        same = False
    return text if same else ast.unparse(node)


def _of_class(kind: type) -> str | None:
    lines = inspect.getsource(kind).splitlines(keepends=True)
    module = ast.parse(textwrap.dedent("".join(lines)))
    node = module.body[0]
    if not isinstance(node, ast.ClassDef) or node.name != kind.__name__:
        return None
    (body,) = _inner(compile(module, "<snippet>", "exec", dont_inherit=True))[:1]
    compiled = {code.co_name: code for code in _inner(body)}
    for function in _functions_of(kind):
        again = compiled.get(function.__name__)
        if again is not None and not _asserts(node) and not _same(again, function.__code__):
            return None
    return _spelled(_without_decorators(node), lines)


def _is_code_of(node: Any, wanted: types.CodeType) -> bool:
    """Whether a definition compiles to this code, where its free variables are those of a function around it."""
    if not isinstance(node, ast.Lambda) and node.name != wanted.co_name:
        return False
    around = ast.parse(f"def around({', '.join(wanted.co_freevars)}): pass")
    around.body[0].body = [ast.Return(node) if isinstance(node, ast.Lambda) else node]  # type: ignore[attr-defined]
    flags = wanted.co_flags & _FUTURE
    module = compile(ast.fix_missing_locations(around), "<snippet>", "exec", flags, dont_inherit=True)
    (made,) = _inner(_inner(module)[0])[-1:]
    if _asserts(node):  # which pytest compiles to more than stands there
        return _signature(made) == _signature(wanted)
    return _same(made, wanted)


def _asserts(node: ast.AST) -> bool:
    return any(isinstance(part, ast.Assert) for part in ast.walk(node))


def _signature(code: types.CodeType) -> tuple[Any, ...]:
    arguments = code.co_argcount + code.co_kwonlyargcount
    return code.co_name, code.co_argcount, code.co_varnames[:arguments], code.co_freevars


def _inner(code: types.CodeType) -> list[types.CodeType]:
    return [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]


def _same(a: types.CodeType, b: types.CodeType) -> bool:
    """Whether two pieces of code do the same, nested functions included."""
    if (_instructions(a), a.co_names, a.co_varnames) != (_instructions(b), b.co_names, b.co_varnames):
        return False
    if _constants(a) != _constants(b) or len(_inner(a)) != len(_inner(b)):
        return False
    return all(_same(x, y) for x, y in zip(_inner(a), _inner(b), strict=True))


def _constants(code: types.CodeType) -> list[str]:
    """1, 1.0 and True are three; white space, as a string over several lines has more of it further in, is one."""
    plain = (constant for constant in code.co_consts if not isinstance(constant, types.CodeType))
    return [" ".join(constant.split()) if isinstance(constant, str) else repr(constant) for constant in plain]


def _instructions(code: types.CodeType) -> list[tuple[str, Any]]:
    """What tells functions apart: ``k.f(x)``, say, is compiled otherwise where a file imports k."""
    called = {"LOAD_METHOD": "LOAD_ATTR", "CALL_METHOD": "CALL_FUNCTION"}
    without_argument = {*dis.hasjrel, *dis.hasjabs, *dis.hasconst}  # constants are compared by themselves
    return [
        (called.get(i.opname, i.opname), None if i.opcode in without_argument else i.argval)
        for i in dis.get_instructions(code)
        if i.opname != "PUSH_NULL"
    ]


def needs_of(value: Any) -> list[tuple[str, Any]]:
    """Names, with their values, that a function takes from around it, or the methods of a class."""
    functions = [value] if isinstance(value, types.FunctionType) else _functions_of(value)
    return [need for function in functions for need in _surroundings(function)]


def _functions_of(kind: type) -> list[types.FunctionType]:
    """The methods that stand in a class itself, with those of the class and static ones."""
    members = [getattr(member, "__func__", member) for member in vars(kind).values()]
    return [member for member in members if isinstance(member, types.FunctionType)]


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
