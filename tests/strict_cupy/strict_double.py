"""A double of CuPy that computes with NumPy and is as strict as CuPy, or stricter.

`cupy` stands for the module, `ndarray` for its arrays. Their names and parameters are those of the real CuPy, which
cupy_manifest.py writes to manifest.json. They raise as CuPy does:

- AttributeError for a name that CuPy lacks, TypeError for a parameter that its function lacks;
- NotImplementedError for a ufunc's method that CuPy lacks, TypeError for a dtype that its method ``at`` does not take;
- TypeError for NumPy arrays and lists as operands, and for arrays without axes as a range, a size or an axis.

They return what CuPy returns:

- arrays without axes from reductions and from ``a[0]``, never scalars;
- new arrays in C order, whatever the order of the operands, unless the function has a parameter ``order`` (or is
  ``pad`` or ``roll``; the parameter of ``matmul`` has no effect);
- zero for float32 numbers below the normal ones; the shape of a in ``zeros_like(a, shape=())``.

And they raise where CuPy does not:

- `Waits` where the program would wait for the device, unless `recording` allows it;
- `Undefined` for two values assigned to one element, IndexError for index arrays out of range, ValueError for writing
  into a result of ``broadcast_to``.

Memory that is allocated and not yet written is full of NaN, or of −1.
"""

import contextlib
import functools
import inspect
import json
import types

import cupy_manifest
import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from strict_record import Undefined, current, wait

MANIFEST = json.loads(cupy_manifest.PATH.read_text(encoding="utf-8"))
SMALLEST = np.finfo(np.float32).tiny


# Convert the double's arrays to NumPy's


def lent(value):
    """Return the NumPy array behind an array of the double, or a number; TypeError for other arrays and for lists."""
    if isinstance(value, ndarray):
        return value.host
    if isinstance(value, np.ndarray | list | tuple):
        raise TypeError(f"Unsupported type {type(value)}")
    return value


def filling(value):
    """Return a value to assign as `lent` does, but raise ValueError; a host array without axes counts as a number."""
    if isinstance(value, np.ndarray | list | tuple) and np.ndim(value):
        raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
    return value.host if isinstance(value, ndarray) else value


def each_lent(value):
    """Return nested sequences with the arrays in them as `lent` returns them."""
    return [each_lent(item) for item in value] if isinstance(value, list | tuple) else lent(value)


def plain(value):
    """Return sizes or axes unchanged; raise TypeError for arrays among them."""
    if isinstance(value, ndarray | np.ndarray):
        raise TypeError("'ndarray' object cannot be interpreted as an integer")
    return tuple(map(plain, value)) if isinstance(value, list | tuple) else value


def lent_index(index):
    """Return an index as a tuple, with NumPy arrays."""
    return tuple(map(_lent_item, index if isinstance(index, tuple) else (index,)))


def _lent_item(item):
    if isinstance(item, slice):
        return slice(*(int(x) if isinstance(x, ndarray) else x for x in (item.start, item.stop, item.step)))
    item = item.host if isinstance(item, ndarray) else np.asarray(item) if isinstance(item, list) else item
    if getattr(item, "dtype", None) == np.bool_:
        wait("a mask as an index")
    return item


_LENDING = {  # by the name of a parameter; all others are arrays or numbers
    **dict.fromkeys(("arrays", "choicelist", "condlist", "indices", "tup"), each_lent),
    "src": filling,
    **dict.fromkeys(("axes", "axis", "axis1", "axis2", "destination", "newshape", "shape", "source"), plain),
    **dict.fromkeys(("M", "N", "k", "num", "offset", "pad_width", "start", "step", "stop", "strides"), plain),
    **dict.fromkeys(("indices_or_sections", "repeats", "reps", "shift", "window_shape"), plain),
}


@functools.cache
def signature(parameters):
    """Return the signature in the manifest; each default is None."""
    return inspect.signature(eval(f"lambda {parameters.replace('=', '=None')}: None"))


def call(name, parameters, function, arguments, keywords, owner=None):
    """Call NumPy's ``function`` if CuPy's accepts these arguments; ``owner`` is the array whose method it is."""
    own = signature(parameters)
    try:
        own.bind(*arguments, **keywords)
    except TypeError as error:
        raise TypeError(f"{name}: {error}") from None
    names = [p.name for p in own.parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    names += [p.name for p in own.parameters.values() if p.kind is p.VAR_POSITIONAL] * len(arguments)
    positional = [_LENDING.get(parameter, lent)(x) for parameter, x in zip(names, arguments, strict=False)]
    named = {parameter: _LENDING.get(parameter, lent)(x) for parameter, x in keywords.items()}
    with np.errstate(all="ignore"):
        value = function(*positional, **named)
    order = "K" if _keeps_order(name, parameters) else "C"
    return returned(value, [owner, *arguments, *keywords.values()], order)


def _keeps_order(name, parameters):
    return name in ("pad", "roll") or ("order=" in parameters and name != "matmul")


def returned(value, operands, order):
    """Return NumPy's results as arrays of the double: ``out`` itself, views as views, new arrays in ``order``."""
    if isinstance(value, list | tuple):
        return type(value)(returned(item, operands, order) for item in value)
    if not isinstance(value, np.ndarray | np.generic):
        return value
    owners = [x for x in operands if isinstance(x, ndarray) and np.may_share_memory(x.host, value)]
    same = next((x for x in owners if x.host is value), None)
    return ndarray(np.asarray(value, order="K" if owners else order)) if same is None else same


# The arrays


class ndarray(NDArrayOperatorsMixin):
    """An array on the device; tests read its values in ``host`` without waiting."""

    __module__ = "cupy"

    def __init__(self, host):
        self.host = host

    def __getattr__(self, name):
        if name in ("T", "mT", "real", "imag"):
            return ndarray(getattr(self.host, name))
        if name in ("dtype", "itemsize", "nbytes", "ndim", "shape", "size", "strides"):
            return getattr(self.host, name)
        if name not in MANIFEST["methods"] or not hasattr(self.host, name):
            raise AttributeError(f"'ndarray' object has no attribute {name!r}")
        return functools.partial(self._method, name)

    def _method(self, name, *arguments, **keywords):
        if name in ("dump", "dumps", "item", "nonzero", "tobytes", "tofile", "tolist"):
            wait(name)
        return call(name, MANIFEST["methods"][name], getattr(self.host, name), arguments, keywords, owner=self)

    @property
    def device(self):
        return Device()

    @property
    def flags(self):
        names = ("c_contiguous", "f_contiguous", "owndata")
        return types.SimpleNamespace(**{name: getattr(self.host.flags, name) for name in names})

    def get(self):
        wait("get")
        return self.host.copy()

    def __array__(self, *arguments, **keywords):
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`")

    def __array_ufunc__(self, ufunc, method, *inputs, **keywords):
        own = getattr(cupy, ufunc.__name__)
        if len(keywords.get("out", ())) == 1:
            keywords["out"] = keywords["out"][0]
        return (own if method == "__call__" else getattr(own, method))(*inputs, **keywords)

    def __array_function__(self, function, classes, arguments, keywords):
        path = [*function.__module__.split(".")[1:], function.__name__]
        return functools.reduce(getattr, path, cupy)(*arguments, **keywords)

    def __getitem__(self, index):
        items = lent_index(index)
        picks = any(isinstance(item, np.ndarray) for item in items)
        items = items if any(item is Ellipsis for item in items) else (*items, ...)  # an array, also of no axes
        return ndarray(np.array(self.host[items], order="C") if picks else self.host[items])

    def __setitem__(self, index, value):
        host = filling(value)
        items = lent_index(index)
        if getattr(value, "ndim", 0) and any(isinstance(item, np.ndarray) for item in items):
            places = np.arange(self.size).reshape(self.shape)[items]
            if len(np.unique(places)) < places.size:
                raise Undefined("several values are assigned to one place")
        with np.errstate(all="ignore"):
            self.host[items] = host

    def __len__(self):
        return len(self.host)

    def __iter__(self):
        if not self.ndim:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))

    def __bool__(self):
        return self._waited_for(bool)

    def __int__(self):
        return self._waited_for(int)

    def __float__(self):
        return self._waited_for(float)

    def __complex__(self):
        return self._waited_for(complex)

    def __repr__(self):
        return self._waited_for(repr)

    def __str__(self):
        return self._waited_for(str)

    def __format__(self, specification):
        return self._waited_for(lambda host: format(host[()], specification))

    def _waited_for(self, convert):
        value = convert(self.host)
        wait(convert.__name__ if isinstance(convert, type) else "its text")
        return value


# The module


class Ufunc:
    """A ufunc, with the methods of CuPy's ufunc."""

    def __init__(self, name):
        self.name, self.function = name, getattr(np, name)
        for method in MANIFEST["ufunc"].keys() - {"__call__"}:
            setattr(self, method, functools.partial(self._method, method))

    def __call__(self, *arguments, **keywords):
        return call(self.name, MANIFEST["ufunc"]["__call__"], self._flushing, arguments, keywords)

    def _flushing(self, *arguments, **keywords):
        inputs, out = arguments[: self.function.nin], arguments[self.function.nin :]
        value = self.function(*map(flushed, inputs), *out, **keywords)
        if out or keywords.get("out") is not None:
            value[...] = flushed(value)
            return value
        return tuple(map(flushed, value)) if isinstance(value, tuple) else flushed(value)

    def _method(self, method, *arguments, **keywords):
        if method not in (*MANIFEST["ufuncs"][self.name].split(", "), "at" * (self.name in MANIFEST["at"])):
            raise NotImplementedError(f"`{self.name}.{method}` is not supported yet")
        if method == "at":
            array, index, *values = arguments
            if array.dtype.char not in MANIFEST["at"][self.name]:
                raise TypeError(f"{self.name}.at does not take {array.dtype}")
            self.function.at(array.host, lent_index(index), *map(lent, values), **keywords)
            return None
        parameters = MANIFEST["ufunc"][method]
        return call(f"{self.name}.{method}", parameters, getattr(self.function, method), arguments, keywords)


def flushed(value):
    """Return float32 values with 0 for subnormal ones."""
    if getattr(value, "dtype", None) != np.float32:
        return value
    return np.where(np.abs(value) < SMALLEST, np.copysign(np.float32(0), value), value)


class Space(types.ModuleType):
    """The names in CuPy, or in one of its modules, that the manifest lists under a prefix."""

    def __init__(self, prefix):
        super().__init__(f"cupy.{prefix}".strip("."))
        self.prefix = prefix

    def __getattr__(self, name):
        path = f"{self.prefix}{name}"
        if path in MANIFEST["constants"]:
            return getattr(np, path)
        if path in MANIFEST["ufuncs"]:
            return Ufunc(path)
        if path in MANIFEST["functions"]:
            return functools.partial(function, path)
        if any(known.startswith(f"{path}.") for known in MANIFEST["functions"]):
            return Space(f"{path}.")
        raise AttributeError(f"module 'cupy' has no attribute {path!r}")


def function(path, *arguments, **keywords):
    """Return a function of the module: the NumPy function of the same name."""
    if path in OWN:
        return OWN[path](*arguments, **keywords)
    if path in ("argwhere", "extract", "flatnonzero", "nonzero", "unique") or (path == "where" and len(arguments) == 1):
        wait(path)
    if path == "matmul":
        note_copies(*arguments[:2], keywords.get("out"))
    if keywords.get("shape") == () and path.endswith("_like"):
        del keywords["shape"]
    if path in MANIFEST["methods"] and arguments and isinstance(arguments[0], list | tuple):
        raise AttributeError(f"'{type(arguments[0]).__name__}' object has no attribute {path!r}")
    own = functools.reduce(getattr, path.split("."), np)
    made = call(path, MANIFEST["functions"][path], own, arguments, keywords)
    if path in ("empty", "empty_like"):
        made.host[...] = np.nan if made.dtype.kind in "fc" else np.array(-1).astype(made.dtype)
    return ndarray(np.asarray(made)) if path in ("allclose", "array_equal", "array_equiv") else made


def note_copies(x, y, out):
    """Note operands that CuPy copies: cuBLAS takes matrices in C or Fortran order, and stacks only in C order."""
    stacks = x.ndim > 2 or y.ndim > 2
    for array in (x, y) if out is None else (x, y, out):
        flags = lent(array).flags
        if not (flags.c_contiguous or (flags.f_contiguous and not stacks and array is not out)):
            current().copies.append(array.shape)


def asarray(a, dtype=None, order=None, *, copy=None, blocking=False):
    """Return an array of the device, a NumPy array or a list as an array of the device."""
    if isinstance(a, ndarray):
        host = np.asarray(a.host, dtype, order, copy=copy)
        return a if host is a.host else ndarray(host)
    return ndarray(np.array(a if isinstance(a, np.ndarray) else each_lent(a), dtype, order=order or "A"))


def array(obj, dtype=None, copy=True, order="K", subok=False, ndmin=0, *, blocking=False):
    """Return a copy of what `asarray` accepts."""
    made = asarray(obj, dtype)
    return ndarray(np.array(made.host, order=order, ndmin=ndmin)) if copy or ndmin > made.ndim else made


def asnumpy(a, stream=None, order="C", out=None, *, blocking=True):
    """Return a copy for NumPy."""
    return a.get() if isinstance(a, ndarray) else np.asarray(a)


OWN = {"array": array, "asanyarray": asarray, "asarray": asarray, "asnumpy": asnumpy}


class Device(contextlib.nullcontext):
    """The only device."""

    def __init__(self, index=0):
        super().__init__(self)
        self.id = index

    def synchronize(self):
        wait("synchronize")


cupy = Space("")
cupy.ndarray = ndarray
cupy.cuda = types.SimpleNamespace(Device=Device, runtime=types.SimpleNamespace(getDeviceCount=lambda: 1))
