"""Replace functions of compiled modules by Python functions.

Cython modules call each other through pointers, which they look up by name in the table ``__pyx_capi__`` when they are
imported. A table that is changed before that redirects these calls. The name of a capsule is the C signature of its
function.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

_C_TYPES: dict[str, Any] = {
    "PyObject *": ctypes.py_object,
    "void": None,
    "int": ctypes.c_int,
    "unsigned int": ctypes.c_uint,
    "float": ctypes.c_float,
    "size_t": ctypes.c_size_t,
    "intptr_t": ctypes.c_ssize_t,
    "uintmax_t": ctypes.c_ulonglong,
    "CUdevice": ctypes.c_int,
    "cudaMemcpyKind": ctypes.c_int,
}

_python = ctypes.pythonapi
_python.PyCapsule_GetName.restype = ctypes.c_char_p
_python.PyCapsule_GetName.argtypes = [ctypes.py_object]
_python.PyCapsule_GetPointer.restype = ctypes.c_void_p
_python.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
_python.PyCapsule_New.restype = ctypes.py_object
_python.PyCapsule_New.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
_python.Py_IncRef.argtypes = [ctypes.py_object]


def replace(module: ModuleType, functions: Mapping[str, Callable[..., Any]]) -> None:
    """Replace functions of a Cython module, for callers in C and in Python.

    Parameters
    ----------
    module : a compiled module whose functions no other module has looked up yet
    functions : by name; they are called without the arguments that Cython adds
    """
    for name, function in functions.items():
        result, arguments, own = _parsed(_signature(module, name).decode())
        callback = ctypes.PYFUNCTYPE(result, *arguments)(_with_first(own, function))
        _enter(module, name, callback)
        setattr(module, name, _with_first(own, function))


def put_before(module: ModuleType, name: str, function: Any, tell: Callable[[Any], object]) -> None:
    """Replace ``name`` by a C function; ``tell`` is called with the address of the old function."""
    address = _python.PyCapsule_GetPointer(module.__pyx_capi__[name], _signature(module, name))
    tell(ctypes.c_void_p(address))
    _enter(module, name, function)


def _signature(module: ModuleType, name: str) -> bytes:
    signature: bytes = _python.PyCapsule_GetName(module.__pyx_capi__[name])
    return signature


def _enter(module: ModuleType, name: str, function: Any) -> None:
    signature = _signature(module, name)
    capsule = _python.PyCapsule_New(ctypes.cast(function, ctypes.c_void_p), signature, None)
    kept = (function, signature, capsule, module.__pyx_capi__[name])
    _python.Py_IncRef(kept)  # compiled code points to these until the process ends, when Python clears all modules
    module.__pyx_capi__[name] = capsule


def _parsed(signature: str) -> tuple[Any, list[Any], int]:
    """Return the C types of the result and of the arguments, and how many arguments precede Cython's own."""
    result, _, rest = signature.partition("(")
    names = [name.strip() for name in rest.rpartition(")")[0].split(",") if name.strip() not in ("", "void")]
    types = [ctypes.c_int if "__pyx_skip" in n else ctypes.c_void_p if "__pyx_" in n else _C_TYPES[n] for n in names]
    return _C_TYPES[result.strip()], types, sum("__pyx_" not in name for name in names)


def _with_first(count: int, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``function`` called with only the first ``count`` positional arguments; it does nothing at Python's end.

    CuPy frees memory and streams when the modules of this package are gone already.
    """
    is_ending = sys.is_finalizing
    return lambda *arguments, **options: 0 if is_ending() else function(*arguments[:count])
