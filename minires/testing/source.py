"""Python source that makes a function again in a fresh interpreter, as far as that is possible.

What can be imported is imported. Of other functions the source is taken, with what it needs from around it:
modules, constants and further functions that it names, whether global or enclosed.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import inspect
import re
import subprocess
import sys
import types
import zlib
from collections.abc import Sequence
from importlib.machinery import PathFinder
from typing import Any

import numpy as np

from minires.device import Array
from minires.testing.found_source import needs_of, source_of

_PRINTED = 60  # elements; larger arrays are compressed
_CARRIED = 20_000  # elements; larger arrays are left to the reader
RESERVED = ("arrays", "reproduce", "pair", "bound", "of_tensors", "TensorPair", "SecondOrder", "Bound")  # by snippets
_SNIPPETS_OWN = object()  # what a reserved name stands for: something of the snippet itself


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
        if type(value) in (dict, list, tuple):
            return self._container(name, value)
        reproduction = getattr(getattr(value, "__self__", None), "reproduction", None)
        if reproduction and value.__name__ == "forward":  # it knows best how to make itself again
            return [*reproduction(), f"{name} = function"]
        found = (
            self._method(name, value)
            if isinstance(value, types.MethodType)
            else _import(name, value) or self._written_out(name, value) or self._instance(name, value)
        )
        if found:
            return found
        self.unknown.add(name)
        return [f"{name} = ...  # {getattr(value, '__qualname__', type(value).__name__)}: put here what was checked"]

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
        unnamed = value.__name__ == "<lambda>"
        needs = [(inner, found) for inner, found in needs_of(value) if found is not value]
        named = needs if unnamed else [(value.__name__, value), *needs]
        if self.can_be_scoped and any(self._clashes(inner, found) for inner, found in named):
            return self._in_scope(name, value)
        if not unnamed:
            self.written[value.__name__] = value
        lines = [line for inner, found in needs for line in self.define(inner, found)]
        for base in getattr(value, "__bases__", ()):
            lines += self._base(text, base)
        if unnamed:
            return [*lines, f"{name} = {text}"]
        return [*lines, text, *([] if name == value.__name__ else [f"{name} = {value.__name__}"])]

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
        """A dict, list or tuple of what may be defined."""
        keys = list(value) if isinstance(value, dict) else range(len(value))
        lines = [line for place, key in enumerate(keys) for line in self.define(f"{name}_{place}", value[key])]
        parts = [f"{name}_{place}" for place in range(len(keys))]
        if isinstance(value, dict):
            made = "{" + ", ".join(f"{key!r}: {part}" for key, part in zip(keys, parts, strict=True)) + "}"
        else:
            made = f"{type(value).__name__}([{', '.join(parts)}])"
        return [*lines, f"{name} = {made}"]

    def _clashes(self, name: str, value: Any) -> bool:
        """Whether the name stands for something else already."""
        if name not in self.written or self.written[name] is value:
            return False
        return not _is_plain(value) or repr(self.written[name]) != repr(value)

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
