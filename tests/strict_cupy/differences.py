"""The differences between CuPy and NumPy, one row each, and cases where one might expect a difference.

A row has a description, code, and its outcome on CuPy: an error, or another result than on NumPy. Code that relies on
NumPy's behaviour fails in the tests that run on CuPy or on its double. Code may rely on rows with SAME. A fourth item
is the error that the double raises where CuPy raises none, or the reason why the double differs.

test_strict_double.py gives all rows to the double; tests/cupy_on_cpu gives them to CuPy (test_not_numpy.py,
test_waits_and_launches.py) and to both (test_strict_double.py). Mistakes in kernels are in its test_planted.py.
"""

from typing import Any, NamedTuple

import numpy as np
import pytest
from strict_record import Undefined

SAME, BOTH_REFUSE, UNDEFINED = "as on NumPy", "an error, as on NumPy", "something, and no error"
ORDER = "the double gives what einsum makes in C order"
COPIES = "the double does not know what einsum and tensordot copy on the way to a product"
NO_RANDOM = "the double has no random numbers"
HOST = np.arange(12, dtype="f4").reshape(3, 4) - 5
HOST.setflags(write=False)
MASK = HOST > 0
PLACES = np.array([0, 2])


def put(array, index, value):
    """Assign a value to a part of the array and return the array."""
    array[index] = value
    return array


def raised(array, by, whole=None):
    """Add in place, and return the array or the whole array that it is a part of."""
    array += by
    return array if whole is None else whole


def counted(array, places):
    """Add one at each index, as far as the index is applied, and return the array."""
    array[places] += 1
    return array


def at(xp, ufunc, dtype):
    """Return zeros after ``ufunc.at`` with three values and an index that occurs twice."""
    y = xp.zeros(4, dtype)
    getattr(xp, ufunc).at(y, xp.array([0, 0, 2]), xp.array([1, 2, 1], dtype))
    return y


def strided(xp):
    return xp.lib.stride_tricks.as_strided


TABLE = {  # topic: (description, code for an array a like HOST, outcome on CuPy, difference of the double)
    "host arrays": [
        ("array + host", lambda xp, a: a + HOST, TypeError),
        ("host + array", lambda xp, a: HOST + a, TypeError),
        ("array · host number in an array of no axes", lambda xp, a: a * np.array(2, "f4"), TypeError),
        ("a function of both", lambda xp, a: xp.add(a, HOST), TypeError),
        ("NumPy's function of both", lambda xp, a: np.add(a, HOST), TypeError),
        ("a product", lambda xp, a: a @ HOST.T, TypeError),
        ("a mask", lambda xp, a: xp.where(MASK, a, 0), TypeError),
        ("concatenated", lambda xp, a: xp.concatenate([a, HOST]), TypeError),
        ("assigned to all", lambda xp, a: put(a, ..., HOST), ValueError),
        ("assigned to some", lambda xp, a: put(a, 0, HOST[1]), ValueError),
        ("copied", lambda xp, a: xp.copyto(a, HOST), ValueError),
        ("np.asarray of an array", lambda xp, a: np.asarray(a), TypeError),
        ("as the result", lambda xp, a: xp.add(a, 1, out=HOST.copy()), TypeError),
        ("written from the device", lambda xp, a: raised(HOST.copy(), a), TypeError),
        ("as integer index", lambda xp, a: a[PLACES], SAME),
        ("as integer index of an assignment", lambda xp, a: put(a, PLACES, 5), SAME),
        ("made an array of the device", lambda xp, a: xp.asarray(HOST) + a, SAME),
        ("a number of NumPy's", lambda xp, a: a * np.float32(2), SAME),
        ("a number of NumPy's in float64", lambda xp, a: a + np.float64(0.5), SAME),
    ],
    "lists": [
        ("list · array", lambda xp, a: [1, 2, 3, 4] * a, TypeError),
        ("array − list", lambda xp, a: a - [1, 2, 3, 4], TypeError),
        ("compared", lambda xp, a: a == [1, 2, 3, 4], TypeError),
        ("a function of one", lambda xp, a: xp.add(a, [1, 2, 3, 4]), TypeError),
        ("chosen from", lambda xp, a: xp.where(a > 0, a, [1, 2, 3, 4]), TypeError),
        ("assigned", lambda xp, a: put(a, 0, [1, 2, 3, 4]), ValueError),
        ("reduced", lambda xp, a: xp.sum([1, 2, 3]), AttributeError),
        ("a list of arrays reduced", lambda xp, a: xp.max([a, a]), AttributeError),
        ("as index", lambda xp, a: a[[0, 1]], SAME),
        ("as indices", lambda xp, a: a[[0, 1], [1, 2]], SAME),
        ("of arrays made an array", lambda xp, a: xp.array([a, a]), SAME),
    ],
    "arrays of no axes": [
        ("a reduction gives one", lambda xp, a: isinstance(a.sum(), xp.ndarray), True),
        ("an element is one", lambda xp, a: isinstance(a[0, 0], xp.ndarray), True),
        ("an element is a view", lambda xp, a: raised(a[0, 0], 1, a[0]), [-4, -4, -3, -2]),
        ("in range()", lambda xp, a: list(range(xp.arange(3).sum())), TypeError),
        ("an element in range()", lambda xp, a: list(range(xp.arange(3)[2])), TypeError),
        ("as a shape", lambda xp, a: xp.zeros(xp.arange(3).sum()), TypeError),
        ("in a shape", lambda xp, a: a.reshape(xp.arange(3).max(), -1), TypeError),
        ("in a shape of zeros", lambda xp, a: xp.zeros((xp.arange(3).sum(), 2)), TypeError),
        ("as a shape to reshape to", lambda xp, a: a.reshape(xp.arange(3).sum() - 4), TypeError),
        ("as an axis", lambda xp, a: a.sum(xp.arange(3)[1]), TypeError),
        ("as index of a list", lambda xp, a: [5, 6, 7][xp.arange(3)[1]], TypeError),
        ("as key of a dictionary", lambda xp, a: {a.sum(): 1}[a.sum()], TypeError),
        ("a comparison as a bool", lambda xp, a: xp.array_equal(a, a) is True, False),
        ("as index of an array", lambda xp, a: a[xp.arange(3)[1]], SAME),
        ("in arithmetic", lambda xp, a: (a - a.max()) / a.sum(dtype="f8"), SAME),
    ],
    "reductions": [
        ("sum(where=)", lambda xp, a: xp.sum(a, where=a > 0), TypeError),
        ("a method with where=", lambda xp, a: a.sum(where=a > 0), TypeError),
        ("mean(where=)", lambda xp, a: xp.mean(a, where=a > 0), TypeError),
        ("the method mean with where=", lambda xp, a: a.mean(where=a > 0), TypeError),
        ("any(where=)", lambda xp, a: xp.any(a, where=a > 0), TypeError),
        ("sum(initial=)", lambda xp, a: xp.sum(a, initial=1), TypeError),
        ("max(initial=)", lambda xp, a: xp.max(a, initial=9), TypeError),
        ("var(correction=)", lambda xp, a: xp.var(a, correction=1), TypeError),
        ("keepdims, axis tuple", lambda xp, a: xp.sum(a, axis=(0, 1), keepdims=True), SAME),
        ("of the largest", lambda xp, a: xp.max(a, axis=(0, 1), keepdims=True), SAME),
        ("of a mean", lambda xp, a: xp.mean(a, axis=(0, -1), keepdims=True), SAME),
        ("out", lambda xp, a: xp.sum(a, axis=0, out=xp.empty(4, "f4")), SAME),
        ("dtype", lambda xp, a: xp.sum(a, axis=1, dtype="f8"), SAME),
        ("argmax with keepdims", lambda xp, a: xp.argmax(a, axis=1, keepdims=True), SAME),
        ("of nothing", lambda xp, a: xp.max(a[:0], axis=0), BOTH_REFUSE),
    ],
    "ufuncs": [
        ("where=", lambda xp, a: xp.add(a, 1, where=a > 0, out=xp.zeros_like(a)), TypeError),
        ("order=", lambda xp, a: xp.add(a, 1, order="F"), TypeError),
        ("signature=", lambda xp, a: xp.add(a, 1, signature="dd->d"), TypeError),
        ("logical_and.reduce", lambda xp, a: xp.logical_and.reduce(a > 0), NotImplementedError),
        ("maximum.reduce", lambda xp, a: xp.maximum.reduce(a), NotImplementedError),
        ("maximum.accumulate", lambda xp, a: xp.maximum.accumulate(a), NotImplementedError),
        ("multiply.at", lambda xp, a: at(xp, "multiply", "f4"), NotImplementedError),
        ("subtract.at of floats", lambda xp, a: at(xp, "subtract", "f4"), TypeError),
        ("add.at of small integers", lambda xp, a: at(xp, "add", "i2"), TypeError),
        ("maximum.at of float16", lambda xp, a: at(xp, "maximum", "f2"), TypeError),
        ("out", lambda xp, a: xp.add(a, 1, out=xp.zeros_like(a)), SAME),
        ("dtype", lambda xp, a: xp.add(a, 1, dtype="f8"), SAME),
        ("casting", lambda xp, a: xp.add(a, a.astype("f8"), out=xp.zeros_like(a), casting="unsafe"), SAME),
        ("add.reduce", lambda xp, a: xp.add.reduce(a), SAME),
        ("where", lambda xp, a: xp.where(a > 0, a, 0), SAME),
        ("NumPy's functions of an array", lambda xp, a: np.sum(np.exp(a * 0), axis=0) + np.where(a[0] > 0, 1, 2), SAME),
        ("add.at", lambda xp, a: at(xp, "add", "f4"), SAME),
        ("add.at of float16", lambda xp, a: at(xp, "add", "f2"), SAME),
        ("add.at of integers", lambda xp, a: at(xp, "add", "i8"), SAME),
        ("subtract.at of integers", lambda xp, a: at(xp, "subtract", "i4"), SAME),
        ("maximum.at", lambda xp, a: at(xp, "maximum", "f4"), SAME),
    ],
    "memory order of results": [
        ("arithmetic", lambda xp, a: (a.T * 2).strides, [12, 4]),
        ("a function", lambda xp, a: xp.abs(a.T).strides, [12, 4]),
        ("where", lambda xp, a: xp.where(a.T > 0, a.T, 0).strides, [12, 4]),
        ("clip", lambda xp, a: a.T.clip(0, 1).strides, [12, 4]),
        ("concatenate", lambda xp, a: xp.concatenate([a.T, a.T]).strides, [12, 4]),
        ("a reduction", lambda xp, a: xp.zeros((2, 3, 4), "f4").transpose(1, 0, 2).sum(2).strides, [8, 4]),
        ("einsum", lambda xp, a: xp.einsum("ij,jk->ik", a, a.T).strides, [4, 12], ORDER),
        ("in place", lambda xp, a: xp.add(a.T, 1, out=a.T).strides, SAME),
        ("into what is in it", lambda xp, a: xp.multiply(a.T, 2, out=xp.empty_like(a.T)), SAME),
        ("empty_like", lambda xp, a: xp.empty_like(a.T).strides, SAME),
        ("astype", lambda xp, a: a.T.astype("f8").strides, SAME),
        ("the function copy", lambda xp, a: xp.copy(a.T).strides, SAME),
        ("the method copy", lambda xp, a: a.T.copy().strides, SAME),
        ("the method copy in its own order", lambda xp, a: a.T.copy("K"), SAME),
    ],
    "views": [
        ("as_strided(writeable=)", lambda xp, a: strided(xp)(a, (2, 2), (16, 4), writeable=False), TypeError),
        ("a broadcast view written", lambda xp, a: put(xp.broadcast_to(a[0], (3, 4)), 0, 1), [[1] * 4] * 3, ValueError),
        ("a broadcast view raised", lambda xp, a: raised(xp.broadcast_to(a[0], (3, 4)), 1), UNDEFINED, ValueError),
        ("setflags", lambda xp, a: a.setflags(write=False), AttributeError),
        ("flags.writeable", lambda xp, a: a.flags.writeable, AttributeError),
        ("as_strided", lambda xp, a: strided(xp)(a, (2, 2), (16, 4)), SAME),
        ("of overlapping memory", lambda xp, a: xp.add(a[:-1], a[1:], out=a[1:]), SAME),
        ("of each row", lambda xp, a: xp.stack([row * 2 for row in a]), SAME),
    ],
    "einsum and tensordot": [
        ("einsum(out=)", lambda xp, a: xp.einsum("ij->j", a, out=xp.empty(4, "f4")), TypeError),
        ("tensordot(out=)", lambda xp, a: xp.tensordot(a, a.T, 1, out=None), BOTH_REFUSE),
        ("einsum", lambda xp, a: xp.einsum("ij,kj->ik", a, a) + 0, SAME),
        ("einsum of three axes", lambda xp, a: xp.einsum("ijk,kj->i", a.reshape(3, 2, 2), a[:2, :2]), SAME),
        ("tensordot", lambda xp, a: xp.tensordot(a, a, ((0,), (0,))), SAME),
    ],
    "indices": [
        ("out of range, read", lambda xp, a: a[xp.array([0, 4])], [[-5, -4, -3, -2], [-1, 0, 1, 2]], IndexError),
        ("out of range, in pairs", lambda xp, a: a[xp.array([0, 1]), xp.array([0, 5])], [-5, 0], IndexError),
        ("out of range, below", lambda xp, a: a[0][xp.array([-6])], [-3], IndexError),
        ("out of range, taken", lambda xp, a: xp.take(a, xp.array([13])), [-4], IndexError),
        ("out of range, taken of an axis", lambda xp, a: a.take(xp.array([4]), axis=1), [[-5], [-1], [3]], IndexError),
        ("out of range, written", lambda xp, a: put(a[:, 0], xp.array([4]), 9), [-5, 9, 3], IndexError),
        ("out of range, added to", lambda xp, a: xp.add.at(a, xp.array([3]), 1) is None, True, IndexError),
        ("a plain number out of range", lambda xp, a: a[3], BOTH_REFUSE),
        ("two values for one place", lambda xp, a: put(a[0], xp.array([1, 1]), a[0, :2]), UNDEFINED, Undefined),
        ("a histogram by assignment", lambda xp, a: counted(a[0], xp.array([1, 1, 2])), SAME, Undefined),
        ("one value for a place that comes twice", lambda xp, a: put(a[0], xp.array([1, 1]), 5), SAME),
    ],
    "missing": [
        *((name, lambda xp, a, name=name: getattr(xp, name) is None, AttributeError) for name in
          ("vecdot", "matvec", "vecmat", "unstack", "errstate", "seterr", "nditer", "ndenumerate", "block", "insert")),
        ("clip(min=)", lambda xp, a: xp.clip(a, min=0), TypeError),
        ("Generator.normal", lambda xp, a: xp.random.Generator.normal is None, AttributeError),
        ("Generator.permutation", lambda xp, a: xp.random.Generator.permutation is None, AttributeError),
        ("the method clip(min=)", lambda xp, a: a.clip(min=0), SAME),  # the function has no min
        ("clip with None", lambda xp, a: xp.clip(a, None, 0), SAME),
        ("Generator.standard_normal", lambda xp, a: xp.random.Generator.standard_normal is None, SAME, NO_RANDOM),
    ],
    "numbers": [
        ("small float32", lambda xp, a: xp.full(2, 1e-30, "f4") * xp.full(2, 1e-9, "f4"), [0, 0]),
        ("small float32, by a number", lambda xp, a: xp.full(2, 1e-30, "f4") * np.float32(1e-10), [0, 0]),
        ("small float32 as a factor", lambda xp, a: xp.asarray(np.full(2, 1e-39, "f4")) * np.float32(1e9), [0, 0]),
        ("small float32 compared", lambda xp, a: xp.asarray(np.full(2, 1e-39, "f4")) > 0, [False, False]),
        ("a negative power of an integer", lambda xp, a: xp.arange(2, 4) ** -1, [0, 0], ValueError),
        ("an empty shape for a given one", lambda xp, a: xp.zeros_like(a[0, :2], shape=()), [0, 0]),
        ("small float64", lambda xp, a: xp.full(2, 1e-300) * xp.full(2, 1e-10), SAME),
        ("small float32 copied", lambda xp, a: xp.asarray(np.full(2, 1e-39, "f4")).copy(), SAME),
        ("float32 and a Python number", lambda xp, a: a * 0.5, SAME),
        ("float32 and a float64 of no axes", lambda xp, a: a * xp.asarray(0.5), SAME),
        ("float32 and int32", lambda xp, a: a + xp.arange(4, dtype="i4"), SAME),
    ],
}  # fmt: skip

WAITS = [  # code that waits for the device: description, code, number of waits. No row of TABLE waits
    ("float()", lambda xp, a: float(a.sum()), 1),
    ("float() of the largest", lambda xp, a: a * float(a.max()), 1),
    ("int()", lambda xp, a: int(a.sum()), 1),
    ("bool()", lambda xp, a: bool(a.any()), 1),
    ("if", lambda xp, a: 1 if a.any() else 0, 1),
    ("and", lambda xp, a: a.any() and a.all(), 1),
    ("an f-string", lambda xp, a: f"{a.sum()}", 1),
    ("an f-string with a format", lambda xp, a: f"{a.sum():.2f}", 1),
    ("item()", lambda xp, a: a.max().item(), 1),
    ("tolist()", lambda xp, a: a.tolist(), 1),
    ("get()", lambda xp, a: a if xp is np else a.get(), 1),
    ("Python's max", lambda xp, a: max(a[0]), 3),
    ("Python's max of two", lambda xp, a: max(a[0, 0], a[1, 1]), 1),
    ("an array as a slice's end", lambda xp, a: a[: (a > 0).sum()], 1),
    ("a mask as index", lambda xp, a: a[a > 0], 1),
    ("a mask of the host as index", lambda xp, a: a[MASK], 1),
    ("a list of bools as index", lambda xp, a: a[[True, False, True]], 1),
    ("an assignment to a mask", lambda xp, a: put(a, a > 0, 0), 1),
    ("nonzero", lambda xp, a: a.nonzero()[0] + 0, 1),
    ("where with one argument", lambda xp, a: xp.where(a)[1] + 0, 1),
    ("allclose", lambda xp, a: bool(xp.allclose(a, a)), 1),
]


POINTERS = ["pointers"] * 3
PRODUCTS = [  # launches of products: description, shapes of x and y, code, launches, reason why the double differs
    ("matrices", [(5, 7), (7, 2)], lambda xp, x, y: x @ y, ["product"]),
    ("the first transposed", [(7, 5), (7, 2)], lambda xp, x, y: x.T @ y, ["product"]),
    ("the second transposed", [(5, 7), (2, 7)], lambda xp, x, y: x @ y.T, ["product"]),
    ("both transposed", [(7, 5), (2, 7)], lambda xp, x, y: x.T @ y.T, ["product"]),
    ("a part of the columns", [(5, 9), (7, 2)], lambda xp, x, y: x[:, :7] @ y, ["copy", "product"]),
    ("a part of the rows", [(5, 14), (9, 2)], lambda xp, x, y: x[:, ::2].T @ y[:5], ["copy", "product"]),
    ("parts of both", [(5, 14), (2, 14)], lambda xp, x, y: x[:, ::2] @ y.T[::2], ["copy", "copy", "product"]),
    ("into transposed", [(5, 7), (7, 2)],
     lambda xp, x, y: xp.matmul(x, y, out=xp.empty((2, 5), "f4").T), ["product", "copy"]),
    ("many", [(3, 5, 7), (3, 7, 2)], lambda xp, x, y: x @ y, ["product"]),
    ("many, into", [(3, 5, 7), (3, 7, 2)],
     lambda xp, x, y: xp.matmul(x, y, out=xp.empty((3, 5, 2), "f4")), ["product"]),
    ("many, the first transposed", [(3, 7, 5), (3, 7, 2)], lambda xp, x, y: x.swapaxes(1, 2) @ y, ["copy", "product"]),
    ("many, the second transposed", [(3, 5, 7), (3, 2, 7)], lambda xp, x, y: x @ y.swapaxes(1, 2), ["copy", "product"]),
    ("many, the order of matrices", [(5, 3, 7), (3, 7, 2)], lambda xp, x, y: x.swapaxes(0, 1) @ y, ["copy", "product"]),
    ("many, parts of both", [(3, 9, 7), (3, 7, 4)],
     lambda xp, x, y: x[:, ::2] @ y[:, :, ::2], ["copy", "copy", "product"]),
    ("one with many", [(5, 7), (3, 7, 2)], lambda xp, x, y: x @ y, [*POINTERS, "product"]),
    ("many with one", [(3, 5, 7), (7, 2)], lambda xp, x, y: x @ y, [*POINTERS, "product"]),
    ("one transposed with many", [(7, 5), (3, 7, 2)], lambda xp, x, y: x.T @ y, ["copy", *POINTERS, "product"]),
    ("many with one transposed", [(3, 5, 7), (2, 7)], lambda xp, x, y: x @ y.T, ["copy", *POINTERS, "product"]),
    ("two axes against two", [(2, 1, 5, 7), (1, 3, 7, 2)], lambda xp, x, y: x @ y, [*2 * POINTERS, "product"]),
    ("tensordot", [(5, 7), (7, 2)], lambda xp, x, y: xp.tensordot(x, y, 1), ["product"]),
    ("einsum", [(5, 7), (7, 2)], lambda xp, x, y: xp.einsum("ij,jk->ik", x, y), ["copy", "copy", "product"], COPIES),
    ("einsum, transposed", [(7, 5), (7, 2)],
     lambda xp, x, y: xp.einsum("ji,jk->ik", x, y), ["copy", "product"], COPIES),
    ("tensordot, turned", [(2, 3, 4), (5, 4, 3)],
     lambda xp, x, y: xp.tensordot(x, y, ((1, 2), (2, 1))), ["copy", "product"], COPIES),
]  # fmt: skip


class Row(NamedTuple):
    """A row of the table."""

    name: str
    code: Any
    expected: Any
    double: Any = None


ROWS = [Row(f"{topic}: {row[0]}", *row[1:]) for topic, rows in TABLE.items() for row in rows]
each_row = pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
each_wait = pytest.mark.parametrize(("code", "expected"), [row[1:] for row in WAITS], ids=[row[0] for row in WAITS])
each_product = pytest.mark.parametrize(
    ("shapes", "code", "expected", "unknown"),
    [(*row[1:4], row[4:]) for row in PRODUCTS],
    ids=[row[0] for row in PRODUCTS],
)


def outcome(code, xp):
    """Return the outcome on NumPy, CuPy or the double: the class of an error, or shape, dtype, strides and values."""
    try:
        y = code(xp, xp.array(HOST))
    except Exception as error:
        return type(error)
    values = y.host if hasattr(y, "host") else y.get() if hasattr(y, "get") else np.asarray(y)
    strides = zip(getattr(y, "strides", values.strides), values.shape, strict=True)
    longer = [s for s, n in strides if n > 1]  # the stride of an axis of length 1 may be any number
    return values.shape, values.dtype, longer, values.tolist()


def is_expected(row, ours):
    """Return whether this outcome is the one in the table."""
    if row.expected is UNDEFINED:
        return not isinstance(ours, type)
    if row.expected in (SAME, BOTH_REFUSE):
        return ours == outcome(row.code, np) and isinstance(ours, type) == (row.expected is BOTH_REFUSE)
    return (ours if isinstance(ours, type) else ours[-1]) == row.expected and ours != outcome(row.code, np)
