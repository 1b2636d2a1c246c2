"""How a process begins and ends with CuPy on the CPU."""

import subprocess
import sys

PROGRAM = """
from minires import cupy_on_cpu
cupy_on_cpu.install()
import cupy
x, stream, event = cupy.arange(10.0), cupy.cuda.Stream(), cupy.cuda.Event()
print(float((x * x).sum()))
"""


def test_a_process_ends_cleanly_though_cupy_still_holds_memory_and_streams():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout, done.stderr) == (0, "285.0\n", "")
