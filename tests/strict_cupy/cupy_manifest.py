"""Record the interface of the installed CuPy: its names, and the parameters of each function.

`python tests/strict_cupy/cupy_manifest.py` writes manifest.json; a test in tests/cupy_on_cpu fails when CuPy differs
from it. Parameters are written as in ``def``, without their defaults: "a, axis=, *, dtype=".
"""

import inspect
import json
import pathlib

PATH = pathlib.Path(__file__).with_name("manifest.json")
KEYWORDS = (
    "axis",
    "casting",
    "dtype",
    "initial",
    "keepdims",
    "optimize",
    "order",
    "out",
    "signature",
    "subok",
    "where",
)


def manifest():
    """Return the names of the module and of its arrays, with parameters from signatures or by trial calls."""
    import cupy

    namespaces = {"": cupy, "lib.stride_tricks.": cupy.lib.stride_tricks, "linalg.": cupy.linalg}
    names = {f"{prefix}{name}": getattr(space, name) for prefix, space in namespaces.items() for name in public(space)}
    methods = {name: getattr(cupy.ndarray, name) for name in public(cupy.ndarray)}
    ufuncs = {name: f for name, f in names.items() if isinstance(f, cupy.ufunc)}
    functions = {name: f for name, f in names.items() if is_function(f) and name not in ufuncs}
    found = {
        "at": {name: kinds for name, f in ufuncs.items() if (kinds := put_to(f, cupy))},
        "attributes": [name for name, f in methods.items() if not callable(f)],
        "constants": [name for name, value in names.items() if is_constant(value)],
        "functions": {name: parameters(f) for name, f in functions.items()},
        "methods": {name: parameters(f) for name, f in methods.items() if callable(f)},
        "ufunc": {name: parameters(getattr(cupy.add, name)) for name in ("reduce", "accumulate", "reduceat", "at")},
        "ufuncs": {name: ", ".join(methods_of(f, cupy)) for name, f in ufuncs.items()},
        "version": cupy.__version__,
    }
    x = cupy.ones((2, 2), "f4")
    found["ufunc"]["__call__"] = "*args, " + taken(lambda **keyword: cupy.add(x, x, **keyword), x)
    found["functions"]["einsum"] = "*operands, " + taken(lambda **keyword: cupy.einsum("ij->ji", x, **keyword), x)
    return found


def written(found):
    """Return the text of manifest.json: one name a line, sorted."""
    return json.dumps(found, indent=1, sort_keys=True) + "\n"


def public(space):
    """Return the names without an underscore, sorted."""
    return [name for name in sorted(dir(space)) if not name.startswith("_")]


def is_function(value):
    """Return whether it is callable and not a class."""
    return callable(value) and not inspect.isclass(value)


def is_constant(value):
    """Return whether it is a number, None, or a NumPy type."""
    return value is None or isinstance(value, float) or (inspect.isclass(value) and value.__module__ == "numpy")


def parameters(function):
    """Return the parameters from the signature or, for Cython functions without one, from the first docstring line."""
    try:
        known = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        line = function.__doc__.strip().splitlines()[0]
        words = line[line.index("(") + 1 : line.index(")")].split(", ")
    else:
        bare = [p.replace(annotation=p.empty, default=p.default if p.default is p.empty else 0) for p in known]
        words = str(inspect.Signature(bare))[1:-1].split(", ")
    parts = [word.partition("=") for word in words if word]
    return ", ".join(name.split()[-1] + default for name, default, _ in parts if name != "self")


def methods_of(ufunc, cupy):
    """Return the methods of a ufunc; for some of them, only a call shows whether CuPy has them."""
    dtype = next((kind for kind in "fil?" if any(types.startswith(kind) for types in ufunc.types)), "d")
    a = cupy.ones(4, dtype)
    calls = {
        "accumulate": lambda: ufunc.accumulate(a),
        "reduce": lambda: ufunc.reduce(a),
        "reduceat": lambda: ufunc.reduceat(a, cupy.asarray([0, 2])),
    }
    return [name for name, call in calls.items() if works(call)]


def put_to(ufunc, cupy):
    """Return the dtypes that its method ``at`` accepts."""
    arrays = {kind: cupy.ones(2, kind) for kind in "?bhilqBHILQefdFD"}
    return "".join(kind for kind, a in arrays.items() if works(lambda a=a: ufunc.at(a, cupy.asarray([0, 1]), a)))


def taken(call, x):
    """Return which of the keywords of NumPy's functions this function accepts."""
    values = {"axis": 0, "casting": "same_kind", "dtype": "f4", "order": "C", "out": x, "where": True}
    return ", ".join(f"{name}=" for name in KEYWORDS if works(lambda name=name: call(**{name: values.get(name, True)})))


def works(call):
    """Return whether the call succeeds."""
    try:
        call()
    except Exception:  # CuPy or its compiler may raise anything
        return False
    return True


if __name__ == "__main__":
    from minires import cupy_on_cpu

    cupy_on_cpu.install()
    PATH.write_text(written(manifest()), encoding="utf-8")
