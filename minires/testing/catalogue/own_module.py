"""Import the user's module and find what ``module:name`` or ``file.py:name`` means."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from minires.errors import SettingsError


def found_in(target: str) -> tuple[Any, Any, str]:
    """Return the value that ``target`` names, its holder (a module or class), and its last name.

    Raises
    ------
    SettingsError : if it does not exist, or its module exits or raises when it is imported.
    """
    module, _, path = target.rpartition(":") if ":" in target else (target, "", "")
    if not module or not path:
        raise SettingsError(f"{target!r} does not say which operation: write {module or target}:name")
    holder: Any = _imported(target, module)
    found: Any = holder
    for name in path.split("."):
        holder = found
        try:
            found = getattr(holder, name)
        except AttributeError:
            raise SettingsError(f"{target}: {_called(holder)} has no {name!r}{_near(name, _names(holder))}") from None
    return found, holder, path.rpartition(".")[2]


def _imported(target: str, module: str) -> ModuleType:
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        if module.endswith(".py"):
            return _from_file(Path(module))
        return importlib.import_module(module)
    except SystemExit as stop:
        raise SettingsError(
            f"{target} cannot be imported: the module calls sys.exit({'' if stop.code is None else repr(stop.code)}); "
            'put what it runs below if __name__ == "__main__":'
        ) from stop
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise SettingsError(_told(target, error)) from error
        known = [path.stem for path in Path(here).glob("*.py")]
        raise SettingsError(
            f"{target} cannot be imported: {type(error).__name__}: there is no module {error.name!r} in the current "
            f"directory or among those installed{_near(error.name, known)}"
        ) from error
    except (KeyboardInterrupt, SettingsError):
        raise
    except BaseException as error:  # any exception of the user's module
        raise SettingsError(_told(target, error)) from error


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        known = [str(other) for other in path.parent.glob("*.py")] if path.parent.is_dir() else []
        raise SettingsError(f"there is no file {str(path)!r}{_near(str(path), known)}")
    folder = str(path.parent.resolve())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    loaded = sys.modules.get(path.stem)
    if loaded is not None and Path(getattr(loaded, "__file__", None) or "").resolve() == path.resolve():
        return loaded
    name = path.stem if loaded is None else f"{path.stem}_to_check"  # another module has this name
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    assert spec is not None, path
    assert spec.loader is not None, path
    made = importlib.util.module_from_spec(spec)
    sys.modules[name] = made
    try:
        spec.loader.exec_module(made)
    except BaseException:
        del sys.modules[name]
        raise
    return made


def _told(target: str, error: BaseException) -> str:
    """Return the text of an error with the user's lines that led to it."""
    lines = [f"{target} cannot be imported: {type(error).__name__}: {error}"]
    for frame in traceback.extract_tb(error.__traceback__):
        if "importlib" not in frame.filename and Path(frame.filename) != Path(__file__):
            lines.append(f"  {shown(frame.filename)}:{frame.lineno}, in {frame.name}: {frame.line}")
    return "\n".join(lines)


def _called(holder: Any) -> str:
    return f"module {holder.__name__}" if isinstance(holder, ModuleType) else getattr(holder, "__name__", repr(holder))


def _names(holder: Any) -> list[str]:
    """Return the names that a user may mean: the module's own ones, or else what it imports."""
    names = [name for name in dir(holder) if not name.startswith("_")]
    own = [
        name for name in names if getattr(getattr(holder, name), "__module__", None) == getattr(holder, "__name__", 0)
    ]
    return own or names


def _near(name: str, known: list[str]) -> str:
    """Return a hint with names that the user may mean."""
    near = difflib.get_close_matches(name, known, 1)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; it has {', '.join(sorted(known)[:8])}" if known else ""


def place_of(value: Any) -> str:
    """Return where a value is defined, as "sine (mine.py:12)", or its name if Python does not know."""
    value = inspect.unwrap(value) if callable(value) else value
    code = getattr(getattr(value, "__func__", value), "__code__", None)
    if code is None and not isinstance(value, type):
        value = type(value)
        inner = getattr(value, "forward", None) or vars(value).get("__call__")
        code = getattr(inner, "__code__", None)
    name = getattr(value, "__qualname__", type(value).__name__)
    if code is not None:
        return f"{name} ({shown(code.co_filename)}:{code.co_firstlineno})"
    return name


def shown(file: str) -> str:
    """Return a path relative to the current directory, if it lies below it."""
    path = Path(file)
    return str(path.relative_to(Path.cwd())) if path.is_absolute() and path.is_relative_to(Path.cwd()) else file
