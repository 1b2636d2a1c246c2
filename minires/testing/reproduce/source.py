"""Python source that makes a function again in a fresh interpreter, as far as that is possible.

What can be imported is imported. Of other functions the source is taken, with what it needs from around it:
modules, constants and further functions that it names, whether global or enclosed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import re
import subprocess
import sys
import types
from collections.abc import Sequence
from importlib.machinery import PathFinder
from typing import Any

import numpy as np

from minires.testing.reproduce.found_source import needs_of, source_of
from minires.testing.reproduce.literals import compiles, is_plain, literal, one_line, plain

# Names that snippets use.
RESERVED = ("arrays", "reproduce", "pair", "fixed", "of_tensors", "TensorPair", "SecondOrder", "FixedArguments")
_SNIPPETS_OWN = object()  # what a reserved name stands for: something of the snippet itself


def definitions(**values: Any) -> list[str]:
    """Lines that define each name; with ``...`` and a comment for what could not be written down.

    ``np`` is taken to be NumPy already.
    """
    writer = _Writer([name for name in RESERVED if name not in values])
    return [line for name, value in values.items() for line in writer.define(name, value)]


class _Writer:
    """Remembers which names have been defined, each once, which of them stand for ``...``, and those of instances.

    Names that the snippet takes itself are not free at the top level; inside a function they are.
    """

    def __init__(self, reserved: Sequence[str] = RESERVED) -> None:
        self.written: dict[str, Any] = {"np": np, **dict.fromkeys(reserved, _SNIPPETS_OWN)}
        self.unknown: set[str] = set()
        self.instances: dict[int, str] = {}
        self.can_be_scoped = bool(reserved)

    def define(self, name: str, value: Any) -> list[str]:
        """Lines after which ``name`` is ``value``, or ``...`` if they cannot be written down."""
        before = dict(self.written), set(self.unknown), dict(self.instances)
        try:
            lines = self._lines(name, value)
            if compiles("\n".join(lines)):
                return lines
        except Exception:  # whatever somebody's objects do when they are looked at
            pass
        self.written, self.unknown, self.instances = before
        return self._left_out(name, value)

    def _left_out(self, name: str, value: Any) -> list[str]:
        self.written[name] = value
        self.unknown.add(name)
        called = getattr(type(value), "__name__", "")
        with contextlib.suppress(Exception):
            called = one_line(getattr(value, "__qualname__", called))
        return [f"{name} = ...  # {called}: put here what was checked"]

    def _lines(self, name: str, value: Any) -> list[str]:
        if self._clashes(name, value):
            return [f"...  # {name} stands for two things here: give one of them another name"]
        if name in self.written:
            return []
        self.written[name] = value
        if isinstance(value, types.ModuleType):
            return [f"import {value.__name__} as {name}"]
        if is_plain(value):
            return [f"{name} = {plain(value)}"]
        if type(value) is np.ndarray or isinstance(value, np.generic):
            return [f"{name} = {literal(np.asarray(value))}" + ("[()]" if isinstance(value, np.generic) else "")]
        if isinstance(value, functools.partial):
            return self._partial(name, value)
        if _is_record(value):
            return [*self.define(type(value).__name__, type(value)), f"{name} = {value!r}"]
        if type(value) in (dict, list, tuple, set, frozenset):
            return self._container(name, value)
        reproduction = getattr(getattr(value, "__self__", None), "reproduction", None)
        if reproduction and value.__name__ == "forward":  # it knows best how to make itself again
            return [*reproduction(), f"{name} = function"]
        found = (
            self._method(name, value)
            if isinstance(value, types.MethodType)
            else _import(name, value)
            or _as_it_calls_itself(name, value)
            or self._written_out(name, value)
            or self._instance(name, value)
        )
        return found or self._left_out(name, value)

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
        text = source_of(value)
        if text is None:
            return []
        own = value.__name__ if isinstance(value, type) else value.__code__.co_name  # not that of what it wraps
        unnamed = own == "<lambda>"
        needs = [(inner, found) for inner, found in needs_of(value) if found is not value]
        named = needs if unnamed else [(own, value), *needs]
        if self.can_be_scoped and any(self._clashes(inner, found) for inner, found in named):
            return self._in_scope(name, value)
        if not unnamed:
            self.written[own] = value
        lines = [line for inner, found in needs for line in self.define(inner, found)]
        for base in getattr(value, "__bases__", ()):
            lines += self._base(text, base)
        if unnamed:
            return [*lines, f"{name} = {text}"]
        return [*lines, text, *([] if name == own else [f"{name} = {own}"])]

    def _method(self, name: str, value: types.MethodType) -> list[str]:
        """A method of a class or of an instance, after its owner."""
        owner = value.__self__
        if isinstance(owner, type):
            return [*self.define(owner.__name__, owner), f"{name} = {owner.__name__}.{value.__name__}"]
        lines, known = self._known(owner)
        return [*lines, f"{name} = {known}.{value.__name__}"] if known else []

    def _known(self, value: Any) -> tuple[list[str], str]:
        """An instance of a user's class under a name of its own, made once; no name if it cannot be made."""
        if id(value) in self.instances:
            return [], self.instances[id(value)]
        kind = type(value)
        name = f"{kind.__name__.lower()}_{len(self.instances)}"
        self.instances[id(value)] = name
        lines = self.define(kind.__name__, kind)
        if not hasattr(value, "__dict__") or kind.__name__ in self.unknown:
            del self.instances[id(value)]
            return [], ""
        lines.append(f"{name} = {kind.__name__}.__new__({kind.__name__})")
        for key, part in vars(value).items():
            lines += self.define(f"{name}_{key}", part)
            lines.append(f"{name}.__dict__[{key!r}] = {name}_{key}")
        return lines, name

    def _instance(self, name: str, value: Any) -> list[str]:
        lines, known = self._known(value) if _is_instance(value) else ([], "")
        return [*lines, f"{name} = {known}"] if known else []

    def _container(self, name: str, value: Any) -> list[str]:
        """A dict, list, tuple or set of what may be defined."""
        parts = [f"{name}_{place}" for place in range(len(value))]
        held = value.values() if isinstance(value, dict) else value
        lines = [line for part, inner in zip(parts, held, strict=True) for line in self.define(part, inner)]
        if not isinstance(value, dict):
            return [*lines, f"{name} = {type(value).__name__}([{', '.join(parts)}])"]
        keys = []
        for part, key in zip(parts, value, strict=True):
            keys.append(plain(key) if is_plain(key) else f"{part}_key")
            lines += [] if is_plain(key) else self.define(f"{part}_key", key)
        pairs = ", ".join(f"{key}: {part}" for key, part in zip(keys, parts, strict=True))
        return [*lines, f"{name} = {{{pairs}}}"]

    def _clashes(self, name: str, value: Any) -> bool:
        """Whether the name stands for something else already."""
        if name not in self.written or self.written[name] is value:
            return False
        return not is_plain(value) or plain(self.written[name]) != plain(value)

    def _in_scope(self, name: str, value: Any) -> list[str]:
        """The definition inside a function of its own, where all names are free again."""
        lines = _Writer(reserved=()).define(f"{name}_inside", value)
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


def _is_record(value: Any) -> bool:
    """Whether it is a dataclass or named tuple of plain values, whose ``repr`` is the call that makes it."""
    if isinstance(value, type) or not (dataclasses.is_dataclass(value) or hasattr(value, "_fields")):
        return False
    names = [field.name for field in dataclasses.fields(value)] if dataclasses.is_dataclass(value) else value._fields
    known = f"{type(value).__name__}({', '.join(f'{name}={getattr(value, name)!r}' for name in names)})"
    return repr(value) == known and all(is_plain(getattr(value, name)) for name in names)


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


def _as_it_calls_itself(name: str, value: Any) -> list[str]:
    """``name = package.thing`` for what is shown like this and is found there, such as ``torch.float64``."""
    shown = repr(value)
    root, *rest = shown.split(".")
    if not rest or not all(part.isidentifier() for part in (root, *rest)) or root not in sys.modules:
        return []
    found: Any = sys.modules[root]
    for part in rest:
        found = getattr(found, part, None)
    return [f"{name} = __import__({root!r}).{'.'.join(rest)}"] if found is value and _can_be_imported(root) else []


def _can_be_imported(module: str) -> bool:
    """Whether a fresh interpreter, started anywhere, would find this very module."""
    parent, _, _ = module.rpartition(".")
    if parent and (parent not in sys.modules or not _can_be_imported(parent)):
        return False
    file = getattr(sys.modules[module], "__file__", None)
    if file is None:
        return module in sys.builtin_module_names
    path = sys.modules[parent].__path__ if parent else None
    finders = [f for f in sys.meta_path if hasattr(f, "find_spec") and not type(f).__module__.startswith("_pytest")]
    specs = (f.find_spec(module, _fresh_path() if path is None and f is PathFinder else path) for f in finders)
    return next((spec.origin == file for spec in specs if spec is not None), False)


@functools.cache
def _fresh_path() -> list[str]:
    """Where a fresh interpreter looks for modules, but for its own directory; pytest adds to the path of this one."""
    told = "import sys; print(*sys.path[1:], sep='\\n')"
    return subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True).stdout.splitlines()


def _is_instance(value: Any) -> bool:
    """Whether it is an object of a class written in Python, which its ``__dict__`` makes again."""
    kind = type(value)
    return (
        hasattr(value, "__dict__")
        and not isinstance(value, type | types.FunctionType | types.ModuleType)
        and isinstance(inspect.getattr_static(kind, "__module__", None), str)
        and kind.__module__ != "builtins"
        and inspect.getattr_static(kind, "__new__", None) is inspect.getattr_static(object, "__new__")
    )
