"""What costs on a GPU and not on NumPy: where a program waits for the device, and what products launch."""

import cupy
import numpy as np
import pytest

HOST = np.arange(12, dtype="f4").reshape(3, 4) - 5
MASK, PLACES = HOST > 0, np.array([0, 2])
A_MASK = cupy.asarray(MASK)


def put(array, index, value):
    array[index] = value


def into(xp, x, y, out):
    return xp.matmul(x, y, out=out)


WAITS = [  # how often a program waits for the device
    ("float()", lambda a: float(a.sum()), 1),
    ("int()", lambda a: int(a.sum()), 1),
    ("bool()", lambda a: bool(a.any()), 1),
    ("if", lambda a: 1 if a.any() else 0, 1),
    ("and", lambda a: a.any() and a.all(), 1),
    ("an f-string", lambda a: f"{a.sum()}", 1),
    ("an f-string with a format", lambda a: f"{a.sum():.2f}", 1),
    ("item()", lambda a: a.max().item(), 1),
    ("get()", lambda a: a.get(), 1),
    ("Python's max", lambda a: max(a[0]), 3),
    ("an array as a slice's end", lambda a: a[: A_MASK.sum()], 1),
    ("a mask as index", lambda a: a[A_MASK], 1),
    ("a mask of the host as index", lambda a: a[MASK], 1),
    ("a list of bools as index", lambda a: a[[True, False, True]], 1),
    ("an assignment to a mask", lambda a: put(a, A_MASK, 0), 1),
    ("nonzero", lambda a: a.nonzero(), 1),
    ("where with one argument", lambda a: cupy.where(a), 1),
    ("where", lambda a: cupy.where(A_MASK, a, 0), 0),
    ("arithmetic with what was reduced", lambda a: (a - a.max()) / a.sum(), 0),
    ("an index of the host", lambda a: a[PLACES], 0),
    ("a list as index", lambda a: a[[0, 1]], 0),
    ("array_equal", lambda a: cupy.array_equal(a, a), 0),
    ("asarray of the host's", lambda a: cupy.asarray(HOST) + a, 0),
]


@pytest.mark.parametrize(("code", "expected"), [row[1:] for row in WAITS], ids=[row[0] for row in WAITS])
def test_what_makes_a_program_wait_is_counted(device, code, expected):
    a = cupy.asarray(HOST)
    with device.recording() as record:
        code(a)
    assert record.synchronisations == expected


POINTERS = ["pointers"] * 3
LAUNCHES = [  # of products: the shapes of x and y, how they are multiplied, and what is launched
    ("matrices", (5, 7), (7, 2), lambda xp, x, y: x @ y, ["product"]),
    ("the first transposed", (7, 5), (7, 2), lambda xp, x, y: x.T @ y, ["product"]),
    ("the second transposed", (5, 7), (2, 7), lambda xp, x, y: x @ y.T, ["product"]),
    ("both transposed", (7, 5), (2, 7), lambda xp, x, y: x.T @ y.T, ["product"]),
    ("a part of the columns", (5, 9), (7, 2), lambda xp, x, y: x[:, :7] @ y, ["copy", "product"]),
    ("into transposed", (5, 7), (7, 2), lambda xp, x, y: into(xp, x, y, xp.empty((2, 5), "f4").T), ["product", "copy"]),
    ("many", (3, 5, 7), (3, 7, 2), lambda xp, x, y: x @ y, ["product"]),
    ("many, into", (3, 5, 7), (3, 7, 2), lambda xp, x, y: into(xp, x, y, xp.empty((3, 5, 2), "f4")), ["product"]),
    ("many, the first transposed", (3, 7, 5), (3, 7, 2), lambda xp, x, y: x.swapaxes(1, 2) @ y, ["copy", "product"]),
    ("many, the second transposed", (3, 5, 7), (3, 2, 7), lambda xp, x, y: x @ y.swapaxes(1, 2), ["copy", "product"]),
    ("many, the order of matrices", (5, 3, 7), (3, 7, 2), lambda xp, x, y: x.swapaxes(0, 1) @ y, ["copy", "product"]),
    ("one with many", (5, 7), (3, 7, 2), lambda xp, x, y: x @ y, [*POINTERS, "product"]),
    ("many with one", (3, 5, 7), (7, 2), lambda xp, x, y: x @ y, [*POINTERS, "product"]),
    ("one transposed with many", (7, 5), (3, 7, 2), lambda xp, x, y: x.T @ y, ["copy", *POINTERS, "product"]),
    ("two axes against two", (2, 1, 5, 7), (1, 3, 7, 2), lambda xp, x, y: x @ y, [*2 * POINTERS, "product"]),
    ("einsum", (5, 7), (7, 2), lambda xp, x, y: xp.einsum("ij,jk->ik", x, y), ["copy", "copy", "product"]),
    ("einsum, transposed", (7, 5), (7, 2), lambda xp, x, y: xp.einsum("ji,jk->ik", x, y), ["copy", "product"]),
    ("tensordot", (5, 7), (7, 2), lambda xp, x, y: xp.tensordot(x, y, 1), ["product"]),
    ("tensordot, turned", (2, 3, 4), (5, 4, 3),
     lambda xp, x, y: xp.tensordot(x, y, ((1, 2), (2, 1))), ["copy", "product"]),
]  # fmt: skip
SHORT = {"cublas": "product", "cupy_copy": "copy", "cupy_mat_ptrs": "pointers"}


@pytest.mark.parametrize(
    ("shape_x", "shape_y", "code", "expected"), [row[1:] for row in LAUNCHES], ids=[row[0] for row in LAUNCHES]
)
def test_what_products_launch_is_counted_and_their_values_are_numpys(device, shape_x, shape_y, code, expected):
    rng = np.random.default_rng(0)
    x, y = (rng.integers(-4, 5, shape).astype("f4") for shape in (shape_x, shape_y))
    there = cupy.asarray(x), cupy.asarray(y)
    with device.recording() as record:
        result = code(cupy, *there)
    names = [launch.kernel for launch in record.launches]
    assert [next((SHORT[start] for start in SHORT if name.startswith(start)), name) for name in names] == expected
    assert np.array_equal(result.get(), code(np, x, y))
