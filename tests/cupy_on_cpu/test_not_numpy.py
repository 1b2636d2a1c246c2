"""CuPy is not NumPy: one row for each thing in which they differ, or in which one might expect them to.

A row says what code does, how it is written, and what comes of it on CuPy: an error, or something else than on NumPy.
So code that relies on NumPy's side of it fails in the tests that run on CuPy. Rows with SAME are what can be relied on.
How often each waits, and what products launch, is in test_waits_and_launches.py; mistakes in kernels are in
test_planted.py.
"""

import cupy
import numpy as np
import pytest
from cupy._core import _routines_linalg
from cupy_backends.cuda.libs import cublas

from minires.testing.cupy_on_cpu import DeviceFault

SAME, BOTH_REFUSE = object(), object()
HOST = np.arange(12, dtype="f4").reshape(3, 4) - 5
HOST.setflags(write=False)
MASK = HOST > 0
PLACES = np.array([0, 2])


def put(array, index, value):
    """The array, once a value is assigned to some of it."""
    array[index] = value
    return array


def at(ufunc, dtype):
    """Some zeros, once ones and twos are put to them at places of which one comes twice."""
    xp = cupy if isinstance(ufunc, cupy.ufunc) else np
    y = xp.zeros(4, dtype)
    ufunc.at(y, xp.array([0, 0, 2]), xp.array([1, 2, 1], dtype))
    return y


def raised_by_one(array, element):
    """The array, once one is added to what was taken from it."""
    element += 1
    return array


TABLE = {  # what code does: how, with an array a like HOST; what comes of it on CuPy
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
        ("np.asarray of an array", lambda xp, a: np.asarray(a), TypeError),
        ("as integer index", lambda xp, a: a[PLACES], SAME),
        ("as integer index of an assignment", lambda xp, a: put(a, PLACES, 5), SAME),
        ("a number of NumPy's", lambda xp, a: a * np.float32(2), SAME),
    ],
    "lists": [
        ("list · array", lambda xp, a: [1, 2, 3, 4] * a, TypeError),
        ("a function of one", lambda xp, a: xp.add(a, [1, 2, 3, 4]), TypeError),
        ("reduced", lambda xp, a: xp.sum([1, 2, 3]), AttributeError),
        ("a list of arrays reduced", lambda xp, a: xp.max([a, a]), AttributeError),
        ("as index", lambda xp, a: a[[0, 1]], SAME),
        ("as indices", lambda xp, a: a[[0, 1], [1, 2]], SAME),
        ("of arrays made an array", lambda xp, a: xp.array([a, a]), SAME),
    ],
    "arrays of no axes": [
        ("a reduction gives one", lambda xp, a: isinstance(a.sum(), xp.ndarray), True),
        ("an element is one", lambda xp, a: isinstance(a[0, 0], xp.ndarray), True),
        ("an element is a view", lambda xp, a: raised_by_one(a[0], a[0, 0]), [-4, -4, -3, -2]),
        ("in range()", lambda xp, a: list(range(xp.arange(3).sum())), TypeError),
        ("as a shape", lambda xp, a: xp.zeros(xp.arange(3).sum()), TypeError),
        ("in a shape", lambda xp, a: a.reshape(xp.arange(3).max(), -1), TypeError),
        ("as index of a list", lambda xp, a: [5, 6, 7][xp.arange(3)[1]], TypeError),
        ("as key of a dictionary", lambda xp, a: {a.sum(): 1}[a.sum()], TypeError),
        ("a comparison as a bool", lambda xp, a: xp.array_equal(a, a) is True, False),
        ("as index of an array", lambda xp, a: a[xp.arange(3)[1]], SAME),
        ("in arithmetic", lambda xp, a: a - a.max(), SAME),
    ],
    "reductions": [
        ("sum(where=)", lambda xp, a: xp.sum(a, where=a > 0), TypeError),
        ("a method with where=", lambda xp, a: a.sum(where=a > 0), TypeError),
        ("mean(where=)", lambda xp, a: xp.mean(a, where=a > 0), TypeError),
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
        ("multiply.at", lambda xp, a: at(xp.multiply, "f4"), NotImplementedError),
        ("subtract.at of floats", lambda xp, a: at(xp.subtract, "f4"), TypeError),
        ("add.at of small integers", lambda xp, a: at(xp.add, "i2"), TypeError),
        ("maximum.at of float16", lambda xp, a: at(xp.maximum, "f2"), TypeError),
        ("out", lambda xp, a: xp.add(a, 1, out=xp.zeros_like(a)), SAME),
        ("dtype", lambda xp, a: xp.add(a, 1, dtype="f8"), SAME),
        ("casting", lambda xp, a: xp.add(a, a.astype("f8"), out=xp.zeros_like(a), casting="unsafe"), SAME),
        ("add.reduce", lambda xp, a: xp.add.reduce(a), SAME),
        ("add.at", lambda xp, a: at(xp.add, "f4"), SAME),
        ("add.at of float16", lambda xp, a: at(xp.add, "f2"), SAME),
        ("add.at of integers", lambda xp, a: at(xp.add, "i8"), SAME),
        ("maximum.at", lambda xp, a: at(xp.maximum, "f4"), SAME),
    ],
    "memory order of results": [
        ("arithmetic", lambda xp, a: (a.T * 2).strides, [12, 4]),
        ("a function", lambda xp, a: xp.abs(a.T).strides, [12, 4]),
        ("where", lambda xp, a: xp.where(a.T > 0, a.T, 0).strides, [12, 4]),
        ("clip", lambda xp, a: a.T.clip(0, 1).strides, [12, 4]),
        ("concatenate", lambda xp, a: xp.concatenate([a.T, a.T]).strides, [12, 4]),
        ("a reduction", lambda xp, a: xp.zeros((2, 3, 4), "f4").transpose(1, 0, 2).sum(2).strides, [8, 4]),
        ("einsum", lambda xp, a: xp.einsum("ij,jk->ik", a, a.T).strides, [4, 12]),
        ("in place", lambda xp, a: xp.add(a.T, 1, out=a.T).strides, SAME),
        ("empty_like", lambda xp, a: xp.empty_like(a.T).strides, SAME),
        ("astype", lambda xp, a: a.T.astype("f8").strides, SAME),
        ("the function copy", lambda xp, a: xp.copy(a.T).strides, SAME),
        ("the method copy", lambda xp, a: a.T.copy().strides, SAME),
    ],
    "views": [
        ("as_strided(writeable=)", lambda xp, a: strided(xp)(a, (2, 2), (16, 4), writeable=False), TypeError),
        ("a write to a broadcast view", lambda xp, a: put(xp.broadcast_to(a[0], (3, 4)), 0, 1), [[1] * 4] * 3),
        ("setflags", lambda xp, a: a.setflags(write=False), AttributeError),
        ("flags.writeable", lambda xp, a: a.flags.writeable, AttributeError),
        ("as_strided", lambda xp, a: strided(xp)(a, (2, 2), (16, 4)), SAME),
        ("of overlapping memory", lambda xp, a: xp.add(a[:-1], a[1:], out=a[1:]), SAME),
    ],
    "einsum and tensordot": [
        ("einsum(out=)", lambda xp, a: xp.einsum("ij->j", a, out=xp.empty(4, "f4")), TypeError),
        ("tensordot(out=)", lambda xp, a: xp.tensordot(a, a.T, 1, out=None), BOTH_REFUSE),
        ("einsum", lambda xp, a: xp.einsum("ij,kj->ik", a, a), SAME),
        ("einsum of three axes", lambda xp, a: xp.einsum("ijk,kj->i", a.reshape(3, 2, 2), a[:2, :2]), SAME),
        ("tensordot", lambda xp, a: xp.tensordot(a, a, ((0,), (0,))), SAME),
    ],
    "indices": [
        ("out of range, read", lambda xp, a: a[xp.array([0, 4])], [[-5, -4, -3, -2], [-1, 0, 1, 2]]),
        ("out of range, in pairs", lambda xp, a: a[xp.array([0, 1]), xp.array([0, 5])], [-5, 0]),
        ("out of range, below", lambda xp, a: a[0][xp.array([-6])], [-3]),
        ("out of range, taken", lambda xp, a: xp.take(a, xp.array([13])), [-4]),
        ("out of range, written", lambda xp, a: put(a[:, 0], xp.array([4]), 9), [-5, 9, 3]),
        ("out of range, added to", lambda xp, a: xp.add.at(a, xp.array([3]), 1) is None, True),
        ("a plain number out of range", lambda xp, a: a[3], BOTH_REFUSE),
    ],
    "missing": [
        *((name, lambda xp, a, name=name: getattr(xp, name) is None, AttributeError) for name in
          ("vecdot", "matvec", "vecmat", "unstack", "errstate", "seterr", "nditer", "ndenumerate", "block", "insert")),
        ("clip(min=)", lambda xp, a: xp.clip(a, min=0), TypeError),
        ("Generator.normal", lambda xp, a: xp.random.Generator.normal is None, AttributeError),
        ("Generator.permutation", lambda xp, a: xp.random.Generator.permutation is None, AttributeError),
        ("the method clip(min=)", lambda xp, a: a.clip(min=0), SAME),  # of methods there is more than of functions
        ("clip with None", lambda xp, a: xp.clip(a, None, 0), SAME),
        ("Generator.standard_normal", lambda xp, a: xp.random.Generator.standard_normal is None, SAME),
    ],
    "numbers": [
        ("small float32", lambda xp, a: xp.full(2, 1e-30, "f4") * xp.full(2, 1e-9, "f4"), [0, 0]),
        ("small float32 compared", lambda xp, a: xp.asarray(np.full(2, 1e-39, "f4")) > 0, [False, False]),
        ("a negative power of an integer", lambda xp, a: xp.arange(2, 4) ** -1, [0, 0]),
        ("an empty shape for a given one", lambda xp, a: xp.zeros_like(a[0, :2], shape=()), [0, 0]),
        ("small float64", lambda xp, a: xp.full(2, 1e-300) * xp.full(2, 1e-10), SAME),
        ("small float32 copied", lambda xp, a: xp.asarray(np.full(2, 1e-39, "f4")).copy(), SAME),
        ("float32 and a Python number", lambda xp, a: a * 0.5, SAME),
        ("float32 and a float64 of no axes", lambda xp, a: a * xp.asarray(0.5), SAME),
        ("float32 and int32", lambda xp, a: a + xp.arange(4, dtype="i4"), SAME),
    ],
}  # fmt: skip


def strided(xp):
    return xp.lib.stride_tricks.as_strided


def outcome(code, xp):
    """What comes of it: the class of an error, or shape, dtype and values."""
    try:
        y = code(xp, xp.array(HOST))
    except Exception as error:
        return type(error)
    y = y.get() if isinstance(y, cupy.ndarray) else np.asarray(y)
    return y.shape, y.dtype, y.tolist()


ROWS = [(topic, *row) for topic, rows in TABLE.items() for row in rows]


@pytest.mark.parametrize(("code", "expected"), [row[2:] for row in ROWS], ids=[": ".join(row[:2]) for row in ROWS])
def test_cupy_does_as_the_table_says_and_numpy_otherwise(code, expected):
    ours, numpys = outcome(code, cupy), outcome(code, np)
    if expected in (SAME, BOTH_REFUSE):
        assert ours == numpys
        assert isinstance(ours, type) == (expected is BOTH_REFUSE)
    else:
        assert ours != numpys
        assert (ours if isinstance(expected, type) else ours[2]) == expected


def test_an_assignment_to_one_place_twice_is_a_race(device):
    y, places = cupy.zeros(4, "f4"), cupy.array([0, 0, 2])
    with device.watching_races():
        y[cupy.array([0, 1, 2])] = cupy.arange(3, dtype="f4") + 1
        with pytest.raises(DeviceFault, match="a race"):
            y[places] = cupy.arange(3, dtype="f4") + 4
        cupy.add.at(y, places, cupy.ones(3, "f4"))  # by atomics


def test_products_round_to_tf32_only_if_they_are_told_to(device, monkeypatch):
    asked, product = [], cublas.gemmEx

    def gemm(*arguments):
        asked.append(arguments[17])  # the cublasComputeType
        product(*arguments)

    monkeypatch.setattr(cublas, "gemmEx", gemm)
    x, float32, fast_tf32, undecided = cupy.ones((2, 2), "f4"), 68, 77, 0
    before = _routines_linalg.get_compute_type("f4")
    try:
        for setting in (None, "0", "1"):
            monkeypatch.delenv("CUPY_TF32", raising=False)
            if setting is not None:
                monkeypatch.setenv("CUPY_TF32", setting)
            _routines_linalg.set_compute_type("f4", undecided)
            cupy.matmul(x, x)
    finally:
        _routines_linalg.set_compute_type("f4", before)
    assert asked == [float32, float32, fast_tf32]
