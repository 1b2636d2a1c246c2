"""Write lines of Python that define functions and values again in a fresh interpreter.

What can be imported is imported. Numbers and arrays become literals. The source of a function or class is quoted if
`source_of` gives it, after what it takes from around it. Everything else is ``...``, with a comment that says what to
put there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import operator
import subprocess
import sys
import types
from typing import Any

import numpy as np

from minires.testing.reproduce.literals import LITERALS, compiles, literal, one_line
from minires.testing.reproduce.source import name_in_source, needs_of, source_of

# Names that snippets use.
_TAKEN = ("arrays", "reproduce", "pair", "fixed", "of_tensors", "TensorPair", "SecondOrder", "FixedArguments")


def definitions(**values: Any) -> list[str]:
    """Return lines that define each name; ``np`` is NumPy already. This never raises."""
    written = {"np": np, **{name: _TAKEN for name in _TAKEN if name not in values}}
    return [line for name, value in values.items() for line in _define(name, value, written)]


def _define(name: str, value: Any, written: dict[str, Any]) -> list[str]:
    """Return lines after which ``name`` is ``value``, or ``...``; ``written`` holds what each name stands for."""
    before = dict(written)
    try:
        lines = _lines(name, value, written)
        if compiles("\n".join(lines)):
            return lines
    except Exception:  # whatever somebody's objects raise when they are looked at
        pass
    written.clear()
    written.update(before, **{name: value})
    called = getattr(type(value), "__name__", "")
    with contextlib.suppress(Exception):
        called = one_line(getattr(value, "__qualname__", called))
    return [f"{name} = ...  # {called}: put here what was checked"]


def _lines(name: str, value: Any, written: dict[str, Any]) -> list[str]:
    """Return lines after which ``name`` is ``value``.

    Raises
    ------
    TypeError : if there are none, or the name stands for something else already.
    """
    if name in written:
        if _is_same(written[name], value):
            return []
        raise TypeError(f"{name} stands for two things")
    written[name] = value
    if type(value) in LITERALS:
        return [f"{name} = {literal(value)}"]
    if isinstance(value, np.generic):
        return [f"{name} = {literal(np.asarray(value))}[()]"]
    if isinstance(value, types.MethodType):
        return _method(name, value, written)
    if isinstance(value, functools.partial):
        return _partial(name, value, written)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _record(name, value, written)
    return _imported(name, value) or _quoted(name, value, written)


def _method(name: str, value: types.MethodType, written: dict[str, Any]) -> list[str]:
    """Return the lines for a method of a class, or of an object that writes itself down, such as a `TensorPair`."""
    owner: Any = value.__self__
    if isinstance(owner, type):
        return [*_define(owner.__name__, owner, written), f"{name} = {owner.__name__}.{value.__name__}"]
    if value.__name__ != "forward":
        raise TypeError("an object may have changed since it was made")
    return [*owner.reproduction(), f"{name} = function"]


def _partial(name: str, value: functools.partial[Any], written: dict[str, Any]) -> list[str]:
    """Return the lines for a function some of whose arguments are bound."""
    parts = {f"{name}_{n}": part for n, part in enumerate([value.func, *value.args])}
    named = {f"{name}_{key}": part for key, part in value.keywords.items()}
    lines = [line for part, held in {**parts, **named}.items() for line in _define(part, held, written)]
    keywords = [f"{key}={name}_{key}" for key in value.keywords]
    return ["import functools", *lines, f"{name} = functools.partial({', '.join([*parts, *keywords])})"]


def _record(name: str, value: Any, written: dict[str, Any]) -> list[str]:
    """Return the lines for a dataclass of plain values, such as a geometry."""
    kind = type(value)
    given = [f"{field.name}={literal(getattr(value, field.name))}" for field in dataclasses.fields(value) if field.init]
    return [*_define(kind.__name__, kind, written), f"{name} = {kind.__name__}({', '.join(given)})"]


def _imported(name: str, value: Any) -> list[str]:
    """Return the import that gives ``value``, if a fresh interpreter finds it."""
    if isinstance(value, types.ModuleType):
        module = value.__name__
        return [f"import {module} as {name}"] if sys.modules.get(module) is value and _is_importable(module) else []
    module, qualified = getattr(value, "__module__", ""), getattr(value, "__qualname__", "")
    if isinstance(value, np.ufunc):
        module, qualified = "numpy", value.__name__
    with contextlib.suppress(AttributeError, KeyError, TypeError):
        if operator.attrgetter(qualified)(sys.modules[module]) is value and _is_importable(module):
            root, *rest = qualified.split(".")
            if rest:
                return [f"from {module} import {root}", f"{name} = {qualified}"]
            return [f"from {module} import {root}" + ("" if root == name else f" as {name}")]
    return []


def _quoted(name: str, value: Any, written: dict[str, Any]) -> list[str]:
    """Return the source of a function or class, after what it takes from around it."""
    text = source_of(value)
    if text is None:
        raise TypeError("there is no source")
    needs, own = needs_of(value, text), name_in_source(value)
    if own == "<lambda>":
        own, text = name, f"{name} = {text}"
    for inner, found in [(own, value), *needs]:
        if inner in written and not _is_same(written[inner], found):
            raise TypeError(f"{inner} stands for two things")
    written[own] = value
    lines = [line for inner, found in needs for line in _define(inner, found, written)]
    return [*lines, text, *([] if name == own else [f"{name} = {own}"])]


def _is_same(a: Any, b: Any) -> bool:
    """Return whether two values are the same object, or have equal literals."""
    return a is b or (type(a) in LITERALS and type(b) in LITERALS and literal(a) == literal(b))


def _is_importable(module: str) -> bool:
    """Return whether a fresh interpreter, started anywhere, imports the same module."""
    root = module.partition(".")[0]
    if root in sys.stdlib_module_names:
        return True
    return root in sys.modules and getattr(sys.modules[root], "__file__", None) == _origin(root)


@functools.cache
def _origin(root: str) -> str:
    """Return the file that a fresh interpreter imports a top-level module from."""
    ask = f"import importlib.util; print(importlib.util.find_spec({root!r}).origin)"
    return subprocess.run([sys.executable, "-c", ask], cwd=sys.prefix, capture_output=True, text=True).stdout.strip()
