"""Python source that makes a function again in a fresh interpreter, as far as that is possible.

What can be imported is imported. Of other functions the source is taken, with what it needs from around it:
modules, constants and further functions that it names, whether global or enclosed.
"""

from __future__ import annotations

import ast
import base64
import dataclasses
import dis
import functools
import inspect
import re
import sys
import textwrap
import types
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from minires.device import Array

_PRINTED = 60  # elements; larger arrays are compressed
_CARRIED = 20_000  # elements; larger arrays are left to the reader


def literal(array: Array) -> str:
    """Python source that makes ``array`` again, bit for bit."""
    shape, dtype = tuple(map(int, array.shape)), array.dtype.name
    if array.size > _CARRIED:
        return f"...  # the array of shape {shape} that was checked"
    if array.size <= _PRINTED:
        values = ", ".join(_number(value) for value in array.ravel().tolist())
        return f"np.array([{values}], np.{_name(dtype)}).reshape({shape})"
    packed = base64.b85encode(zlib.compress(np.ascontiguousarray(array).tobytes(), 9)).decode()
    unpacked = f"__import__('zlib').decompress(__import__('base64').b85decode({packed!r}))"
    return f"np.frombuffer({unpacked}, np.{_name(dtype)}).reshape({shape}).copy()"


def _number(value: Any) -> str:
    return repr(value) if np.isfinite(value) else f"float('{value}')"


def _name(dtype: str) -> str:
    return "bool_" if dtype == "bool" else dtype


def definitions(**values: Any) -> list[str]:
    """Lines that define each name; with ``...`` and a comment for what could not be written down.

    ``np`` is taken to be NumPy already.
    """
    writer = _Writer()
    return [line for name, value in values.items() for line in writer.define(name, value)]


class _Writer:
    """Remembers which names have been defined, each once."""

    def __init__(self) -> None:
        self.written: dict[str, Any] = {"np": np}

    def define(self, name: str, value: Any) -> list[str]:
        """Lines after which ``name`` is ``value``."""
        if self._clashes(name, value):
            return [f"...  # {name} stands for two things here: give one of them another name"]
        if name in self.written:
            return []
        self.written[name] = value
        if isinstance(value, types.ModuleType):
            return [f"import {value.__name__} as {name}"]
        if _is_plain(value):
            return [f"{name} = {value!r}"]
        if isinstance(value, np.ndarray):
            return [f"{name} = {literal(value)}"]
        if isinstance(value, functools.partial):
            return self._partial(name, value)
        if _is_record(value):
            return [*self.define(type(value).__name__, type(value)), f"{name} = {value!r}"]
        if isinstance(value, types.MethodType) and isinstance(value.__self__, type):
            owner = value.__self__.__name__
            return [*self.define(owner, value.__self__), f"{name} = {owner}.{value.__name__}"]
        reproduction = getattr(getattr(value, "__self__", None), "reproduction", None)
        if reproduction and value.__name__ == "forward":  # it knows best how to make itself again
            return [*reproduction(), f"{name} = function"]
        found = _import(name, value) or self._written_out(name, value)
        kind = getattr(value, "__qualname__", type(value).__name__)
        return found or [f"{name} = ...  # {kind}: put here what was checked"]

    def _partial(self, name: str, value: functools.partial[Any]) -> list[str]:
        lines, inner = ["import functools"], f"{name}_whole"
        lines += self.define(inner, value.func)
        arguments = [*enumerate(value.args), *value.keywords.items()]
        for key, argument in arguments:
            lines += self.define(f"{name}_{key}", argument)
        given = [f"{name}_{key}" if isinstance(key, int) else f"{key}={name}_{key}" for key, _ in arguments]
        return [*lines, f"{name} = functools.partial({', '.join([inner, *given])})"]

    def _written_out(self, name: str, value: Any) -> list[str]:
        """The source of a function, lambda or class, after what it refers to."""
        if not isinstance(value, types.FunctionType | type):
            return []
        try:
            source = textwrap.dedent(inspect.getsource(value))
        except (OSError, TypeError):
            return []
        unnamed = value.__name__ == "<lambda>"
        text = (
            _lambda(source, value.__code__)
            if isinstance(value, types.FunctionType) and unnamed
            else _statement(source, value.__name__)
        )
        if text is None:
            return []
        members = [value] if isinstance(value, types.FunctionType) else vars(value).values()
        functions = [getattr(member, "__func__", member) for member in members]  # of class and static methods
        needs = [need for f in functions if isinstance(f, types.FunctionType) for need in _surroundings(f)]
        needs = [(inner, found) for inner, found in needs if found is not value]
        if any(self._clashes(inner, found) for inner, found in [(value.__name__, value), *needs]):
            return self._in_scope(name, value)
        self.written[value.__name__] = value
        lines = [line for inner, found in needs for line in self.define(inner, found)]
        for base in getattr(value, "__bases__", ()):
            lines += self._base(source, base)
        if unnamed:
            return [*lines, f"{name} = {text}"]
        return [*lines, text, *([] if name == value.__name__ else [f"{name} = {value.__name__}"])]

    def _clashes(self, name: str, value: Any) -> bool:
        """Whether the name stands for something else already."""
        if name not in self.written or self.written[name] is value:
            return False
        return not _is_plain(value) or repr(self.written[name]) != repr(value)

    def _in_scope(self, name: str, value: Any) -> list[str]:
        """The definition inside a function of its own, where all names are free again."""
        lines = _Writer().define(f"{name}_inside", value)
        body = [f"    {line}".rstrip() for text in lines for line in text.splitlines()]
        return [f"def make_{name}():", *body, f"    return {name}_inside", "", f"{name} = make_{name}()"]

    def _base(self, source: str, base: type) -> list[str]:
        """What the bases of a class, as its source spells them, need: ``Base`` or ``module.Base``."""
        spelled = re.search(rf"\b((?:\w+\.)*){base.__name__}\b", source)
        if base is object or spelled is None:
            return []
        path = spelled.group(1)
        if not path:
            return self.define(base.__name__, base)
        root = path.split(".")[0]
        package = base.__module__.split(".")[0]
        return self.define(root, sys.modules[package])


def _is_plain(value: Any) -> bool:
    """Whether ``repr`` of a value makes it again."""
    if isinstance(value, tuple | list):
        return all(map(_is_plain, value))
    return (
        value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and bool(np.isfinite(value)))
    )


def _is_record(value: Any) -> bool:
    """Whether it is a dataclass or named tuple of plain values, whose ``repr`` is the call that makes it."""
    if isinstance(value, type) or not (dataclasses.is_dataclass(value) or hasattr(value, "_fields")):
        return False
    names = [field.name for field in dataclasses.fields(value)] if dataclasses.is_dataclass(value) else value._fields
    known = f"{type(value).__name__}({', '.join(f'{name}={getattr(value, name)!r}' for name in names)})"
    return repr(value) == known and all(_is_plain(getattr(value, name)) for name in names)


def _import(name: str, value: Any) -> list[str]:
    """The import that gives ``value``, if a fresh interpreter would find it."""
    module, qualified = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if isinstance(value, np.ufunc):
        module, qualified = "numpy", value.__name__
    if module in (None, "__main__") or not isinstance(qualified, str) or module not in sys.modules:
        return []
    found: Any = sys.modules[module]
    for part in qualified.split("."):
        found = getattr(found, part, None)
    if found is not value or not _can_be_imported(module):
        return []
    root, *rest = qualified.split(".")
    if not rest:
        return [f"from {module} import {root}" + ("" if root == name else f" as {name}")]
    return [f"from {module} import {root}", f"{name} = {'.'.join([root, *rest])}"]


def _can_be_imported(module: str) -> bool:
    """Whether the import system, asked anew, would find this very module."""
    parent, _, _ = module.rpartition(".")
    if parent and (parent not in sys.modules or not _can_be_imported(parent)):
        return False
    file = getattr(sys.modules[module], "__file__", None)
    if file is None:
        return module in sys.builtin_module_names
    path = sys.modules[parent].__path__ if parent else None
    finders = [finder for finder in sys.meta_path if not type(finder).__module__.startswith("_pytest")]
    specs = (finder.find_spec(module, path) for finder in finders if hasattr(finder, "find_spec"))
    return next((spec.origin == file for spec in specs if spec is not None), False)


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
