"""Training steps at full size are recorded or compiled, each in a separate process, and counted rightly."""

import importlib
import json
import pathlib
import re
import subprocess
import sys

import cupy
import numpy as np
import pytest

from minires.geometry import Geometry

BENCHMARKS = pathlib.Path(__file__).parents[2] / "benchmarks"


def finished(*arguments):
    """Run Python in a process and return it when it has ended."""
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=300)


def run(*options):
    """Return the output of bench_launches.py; fail unless its exit status is 0."""
    done = finished(BENCHMARKS / "bench_launches.py", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_training_step_keeps_its_budget_of_launches_and_never_waits(device):
    found = re.findall(r"(\w+): (\d+) launches of at most (\d+), \d+ memsets, (\d+) synchronisations", run())
    assert [network for network, *_ in found] == ["resnet18", "resnet20"]
    assert all(200 < int(launches) <= int(most) and int(waits) == 0 for _, launches, most, waits in found)


@pytest.mark.parametrize("architecture", ["80", "90"])
def test_nvrtc_compiles_every_kernel_for(device, architecture):
    (count,) = re.findall(rf"(\d+) programs compiled for sm_{architecture}", run("--nvrtc", architecture))
    assert int(count) > 250


FOR_G_PLUS_PLUS = """
from minires import cupy_on_cpu
cupy_on_cpu.install(nvrtc=True)
import cupy
kernel = cupy.RawKernel('extern "C" __global__ void k(float *y, int n) { char c[n]; c[0] = 1; y[0] = c[0]; }', "k")
try:
    kernel((1,), (1,), (cupy.zeros(1, "f4"), cupy.int32(3)))
except cupy.cuda.compiler.CompileException as error:
    print(error)
"""


def test_nvrtc_refuses_what_g_plus_plus_takes(device):
    assert "expression must have a constant value" in finished("-c", FOR_G_PLUS_PLUS).stdout


# --- Reductions by few blocks ---

PLANTED = f"""
import sys
sys.path.insert(0, {str(BENCHMARKS)!r})
import bench_launches
unplanted = bench_launches.step_of

def step_of(network):
    import cupy
    step, x = unplanted(network), cupy.ones(10**6, "f4")
    return lambda: (step(), x.sum())

bench_launches.step_of = step_of
sys.argv[1:] = []
bench_launches.main()
"""


def test_a_reduction_by_few_blocks_that_is_planted_into_a_step_fails_the_benchmark(device):
    done = finished("-c", PLANTED)
    assert done.returncode == 1, done.stderr
    assert done.stdout.count("too few blocks: cupy_sum starts 1 for an array of 1000000 numbers") == 2


# What is started with an x of a million numbers, and for which kernels that are too few blocks.
STARTS = {
    "x.sum()": ["cupy_sum"],
    "x.reshape(10, -1).max(axis=1)": ["cupy_max"],
    "x.reshape(1000, -1).max(axis=1)": [],
    "x[:100_000].sum()": ["cupy_sum"],
    "x[:99_999].sum()": [],
    "x[:100_000] * 2": [],
    "cupy.ElementwiseKernel('raw T x', 'T y', 'y = 0; for (int i = 0; i < 1000; i++) y += x[i];', 'own')"
    "(x, cupy.empty(10, 'f4'))": ["own"],
    "raw((63,), (256,), (x,))": ["raw"],
    "raw((64,), (256,), (x,))": [],
    "raw((1,), (256,), (x[:10],))": [],
    "x[None] @ x[:, None]": ["_tensordot_core_mul_sum"],
    "x.reshape(10, -1) @ x.reshape(-1, 10)": [],  # a product of cuBLAS, whose blocks are not known
}
SCRIPT = f"""
import json, sys
sys.path.insert(0, {str(BENCHMARKS)!r})
from minires import cupy_on_cpu
device = cupy_on_cpu.install(execute=False, check=False)
import cupy
from watched_launches import need_all, too_few_blocks, watch
negative = cupy.ones(3, "f4").__neg__
negative()  # a kernel that is loaded too early
watched = watch(device)
x, raw = cupy.empty(10**6, "f4"), cupy.RawKernel('extern "C" __global__ void raw(float *x) {{}}', "raw")
found = {{}}
for code in json.loads(sys.argv[1]):
    watched.clear()
    with device.recording() as record:
        eval(code)
    need_all(watched, record)
    found[code] = [launch.kernel for launch, _ in too_few_blocks(watched)]
print(json.dumps(found), flush=True)
watched.clear()
with device.recording() as record:
    negative()
need_all(watched, record)
"""


def test_launches_of_few_blocks_with_a_large_array_are_found_whatever_their_name(device):
    done = finished("-c", SCRIPT, json.dumps(list(STARTS)))
    assert json.loads(done.stdout) == STARTS, done.stderr
    assert "RuntimeError: the arrays of 0 launches were seen, and 1 kernels were started" in done.stderr


# --- The roofline ---


@pytest.fixture
def counting(monkeypatch):
    """Return the kernels for CUDA with counters."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("roofline").Counting()


def zeros(*shape):
    return cupy.zeros(shape, np.float32)


# x (2, 4, 5, 6) and w (6, 2, 3, 3) in two groups give y (2, 6, 3, 3): 2 · 6 · 3 · 3 = 108 sums of 2 · 3 · 3 = 18 terms.
GEOMETRY = Geometry((3, 3), (2, 2), (1, 1), groups=2)
X, W, Y = (2, 4, 5, 6), (6, 2, 3, 3), (2, 6, 3, 3)
CONV = 108 * 18
# x (2, 3, 5) and weight (7, 5) give y (2, 3, 7): 42 sums of 5 terms.
LINEAR = 42 * 5


@pytest.mark.parametrize(
    ("kernel", "shapes", "more", "expected"),
    [
        ("conv2d", {"x": X, "w": W}, {"geometry": GEOMETRY}, CONV),
        (
            "conv2d_act",
            {"x": X, "w": W},
            {"scale": None, "bias": None, "shortcut": None, "relu": True, "geometry": GEOMETRY},
            CONV,
        ),
        ("conv2d_input_grad", {"gy": Y, "w": W}, {"geometry": GEOMETRY, "size": (5, 6)}, CONV),
        ("conv2d_weight_grad", {"gy": Y, "x": X}, {"geometry": GEOMETRY}, CONV),
        ("conv2d_grads", {"gy": Y, "x": X, "w": W}, {"geometry": GEOMETRY}, 2 * CONV),
        ("conv2d_grads", {"gy": Y, "x": X, "w": W}, {"geometry": GEOMETRY, "wants": (False, True)}, CONV),
        ("conv2d_grads", {"gy": Y, "x": X, "w": W}, {"geometry": GEOMETRY, "wants": (False, False)}, 0),
        ("linear", {"x": (2, 3, 5), "weight": (7, 5)}, {}, LINEAR),
        ("linear_grads", {"gy": (2, 3, 7), "x": (2, 3, 5), "weight": (7, 5)}, {}, 2 * LINEAR),
        ("linear_grads", {"gy": (2, 3, 7), "x": (2, 3, 5), "weight": (7, 5)}, {"wants": (True, False)}, LINEAR),
        ("matmul", {"a": (2, 3, 5), "b": (5, 7)}, {}, LINEAR),
        ("relu", {"x": X}, {}, 0),
    ],
)
def test_the_multiplications_that_a_call_asks_for_are_counted(counting, kernel, shapes, more, expected):
    arguments = {**{name: zeros(*shape) for name, shape in shapes.items()}, **more}
    getattr(counting, kernel)(*arguments.values())
    getattr(counting, kernel)(**arguments)
    assert counting.rows[kernel]["calls"] == 2
    assert counting.rows[kernel]["operations"] == 2 * 2 * expected  # an addition with each, in two calls


@pytest.mark.parametrize(
    ("kernel", "arguments", "expected"),
    [
        ("conv2d", lambda x: (x, zeros(*W), GEOMETRY), 240 + 108 + 108),
        ("relu", lambda x: (x,), 2 * 240),
        ("add_", lambda x: (x, zeros(*X)), 3 * 240),  # the first is read and written
        ("sgd_", lambda x: ([x], [zeros(*X)], [zeros(*X)], 1.0), 5 * 240),  # all but the gradient are
        ("reshape", lambda x: (x, (240,)), 0),
        ("getitem", lambda x: (x, (slice(None), 0)), 0),
        ("getitem", lambda x: (x, np.array([1])), 240 + 120),  # a copy, by an index that the host has
    ],
)
def test_arrays_are_read_once_and_what_is_made_is_written_once(counting, kernel, arguments, expected):
    getattr(counting, kernel)(*arguments(zeros(*X)))
    assert counting.rows[kernel]["bytes"] == 4 * expected
