"""Real CuPy without a GPU: its kernels compiled for the CPU and run there, so that CI can test them.

    from minires import cupy_on_cpu

    device = cupy_on_cpu.install()          # before CuPy is imported
    import cupy

    with device.recording() as record:
        y = cupy.arange(5.0) * 2            # on the CPU, by the code that CuPy wrote for the GPU
    record.launches                         # what would have been started, with grid and block
    record.synchronisations                 # where a program would have waited

Nothing of CuPy is replaced by a look-alike. Its dispatch, its rules of shapes, dtypes and strides, its memory pool,
its code generation and the CUDA code in its kernels and in yours are what they are; below them, three things stand in
for a GPU:

- *null devices* (null_device.py): the functions of CUDA's runtime and driver that CuPy calls, on host memory
  (memory.py);
- *execution* (execution.py): the CUDA source of each kernel, compiled by g++ with a header that has threads take
  turns;
- *cuBLAS* (cublas.py): its matrix products, by NumPy.

**What it proves**: that kernels compile, that their results are right, with red zones around every allocation and
fresh memory, a block's shared memory too, full of NaN (``check=True``), that no integer is divided by zero, that a
program computes with what is on its current device (``devices=2``), that results do not depend on which thread comes
first and that no two threads (of kernels with barriers: blocks) write to the same byte without an atomic
(``races=True``, or inside `NullDevice.watching_races`, slow), that grids, blocks and barriers are such as a device can
do, and how many launches, copies, allocations and synchronisations a program makes.

**What it does not prove**: speed, occupancy, how cuBLAS rounds, the order of events on several streams, behaviour when
memory runs out, conversion of floats that do not fit an integer, races of threads that write what was there before.
Subnormal float64 numbers are flushed in kernels that compute in float32 too. Threads of a warp do not run in lockstep;
code that relies on that without ``__syncwarp`` fails here, as it may on a GPU.

**What does not run**: what comes in binaries, not in source: `sort`, `argsort` and `unique` (Thrust), `cupy.random`
(cuRAND), `cupy.fft`, and of `cupy.linalg` all but products.

It leans on CuPy's private tables, so it knows one version (`CUPY_VERSION`), on Linux on x86-64, and needs gcc and g++:
``pip install 'minires-net[cupy-on-cpu]'`` brings that version. Use a process of its own: CuPy stays on the CPU for
the rest of its life. In pytest, a conftest.py calls `install`; a script ends with `leave`, or CuPy looks for its
device.
"""

from minires.cupy_on_cpu.carry import carried, to_device
from minires.cupy_on_cpu.installation import CUPY_VERSION, install, leave
from minires.cupy_on_cpu.null_device import DeviceFault, Launch, NullDevice, Record

__all__ = ["CUPY_VERSION", "DeviceFault", "Launch", "NullDevice", "Record", "carried", "install", "leave", "to_device"]
