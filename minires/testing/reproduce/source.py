"""Find the source of functions, lambdas and classes, and what this source takes from around it."""

from __future__ import annotations
import __future__

import ast
import builtins
import functools
import inspect
import symtable
import sys
import types
import warnings
from collections.abc import Iterator
from typing import Any

_FUTURE = __future__.annotations.compiler_flag


def source_of(value: Any) -> str | None:
    """Return the source of a function (without decorators), a lambda or a class, without comments.

    Return None for anything else, and where the source is missing or ambiguous, or was edited since: then it would
    show other code than was checked.
    """
    if not isinstance(value, types.FunctionType | type):
        return None
    try:
        with warnings.catch_warnings():  # of invalid escapes, say, in the user's code
            warnings.simplefilter("ignore")
            return ast.unparse(_definition(value))
    except (OSError, TypeError, SyntaxError, ValueError):
        return None


def name_in_source(value: Any) -> str:
    """Return the name that the source of a function or class gives it, "<lambda>" for a lambda."""
    return str(value.__name__ if isinstance(value, type) else value.__code__.co_name)


def needs_of(value: Any, source: str) -> list[tuple[str, Any]]:
    """Return the names that the source of a function or class takes from around it, with their values.

    Raises
    ------
    KeyError, ValueError : for a name without a value, so that the source would not run.
    """
    around = _around(value, source)
    names = _global_names(symtable.symtable(f"from __future__ import annotations\n{source}", "<snippet>", "exec"))
    names.discard(name_in_source(value))
    return [(name, around[name]) for name in sorted(names) if name in around or not hasattr(builtins, name)]


def _definition(value: Any) -> Any:
    """Return the node that defines a function or class.

    Raises
    ------
    ValueError : if there is no such node, or more than one, as for two lambdas of one line with equal arguments.
    """
    lines, line = inspect.findsource(value if isinstance(value, type) else value.__code__)
    text = "".join(lines)
    if not all(_is_up_to_date(function.__code__, text) for function in _functions_of(value)):
        raise ValueError("the file was edited since")
    first = line + 1 if isinstance(value, type) else value.__code__.co_firstlineno
    (node,) = (node for node in ast.walk(ast.parse(text)) if _fits(node, value, first))
    if isinstance(node, ast.FunctionDef):
        node.decorator_list = []  # a decorator may return another function; then that one is the value
    return node


def _fits(node: Any, value: Any, first: int) -> bool:
    """Return whether a node defines something with this name and these arguments, from this line on."""
    if not isinstance(node, ast.ClassDef if isinstance(value, type) else ast.FunctionDef | ast.Lambda):
        return False
    if min(part.lineno for part in [*getattr(node, "decorator_list", []), node]) != first:
        return False
    if isinstance(node, ast.ClassDef):
        return node.name == str(value.__name__)
    code, arguments = value.__code__, [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    return getattr(node, "name", "<lambda>") == code.co_name and names == tuple(a.arg for a in arguments)


def _is_up_to_date(code: types.CodeType, text: str) -> bool:
    """Return whether the text of a file compiles to this code; pytest adds to functions with assert statements."""
    return "@pytest_ar" in code.co_names or code in _compiled(text, code.co_flags & _FUTURE)


@functools.lru_cache(maxsize=8)
def _compiled(text: str, flags: int) -> frozenset[types.CodeType]:
    return frozenset(_inside(compile(text, "<snippet>", "exec", flags, dont_inherit=True)))


def _inside(code: types.CodeType) -> Iterator[types.CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield constant
            yield from _inside(constant)


def _functions_of(value: Any) -> list[types.FunctionType]:
    """Return a function itself, or the methods in the source of a class."""
    if isinstance(value, types.FunctionType):
        return [value]
    members = [getattr(member, "__func__", member) for member in vars(value).values()]
    functions = [member for member in members if isinstance(member, types.FunctionType)]
    return [function for function in functions if function.__code__.co_filename == inspect.getfile(value)]


def _around(value: Any, source: str) -> dict[str, Any]:
    """Return the names that a function or class sees, with their values: of its module, and of functions around it."""
    functions = _functions_of(value)
    names = dict(vars(sys.modules[value.__module__]) if isinstance(value, type) else value.__globals__)
    for function in functions:
        names |= inspect.getclosurevars(function).nonlocals
    if isinstance(value, types.FunctionType):  # a default keeps the value that a name had: `lambda x, n=n: n * x`
        (statement,) = ast.parse(source).body
        node: Any = getattr(statement, "value", statement)
        arguments = node.args
        defaults = [*arguments.defaults, *(default for default in arguments.kw_defaults if default)]
        values = [*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()]
        names |= {d.id: held for d, held in zip(defaults, values, strict=True) if isinstance(d, ast.Name)}
    return names


def _global_names(table: symtable.SymbolTable) -> set[str]:
    """Return the names that are read and not bound inside."""
    names = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_global() and symbol.is_referenced()}
    return names.union(*map(_global_names, table.get_children()))
