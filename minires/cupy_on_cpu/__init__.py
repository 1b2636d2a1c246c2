"""Run the real CuPy without a GPU: compile its kernels for the CPU and run them there, so that CI can test them.

    from minires import cupy_on_cpu

    device = cupy_on_cpu.install()          # before CuPy is imported
    import cupy

    with device.recording() as record:
        y = cupy.arange(5.0) * 2            # on the CPU, by the code that CuPy wrote for the GPU
    record.launches                         # each kernel that was started, with grid and block
    record.synchronisations                 # how often the program would have waited

CuPy itself is unchanged: its dispatch, its rules for shapes, dtypes and strides, its memory pool, its code generation,
and the CUDA code of its kernels and of yours. Below them, three parts take the place of a GPU:

- *fake devices* (null_device.py): the functions of CUDA's runtime and driver that CuPy calls (cuda_api.py), on host
  memory (memory.py);
- *execution* (execution.py): the CUDA source of each kernel, compiled by g++ with a header in which threads take turns;
- *cuBLAS* (cublas.py): its matrix products, by NumPy.

**What it proves**

- Kernels compile and their results are right. With ``check=True``, red zones surround every allocation, and fresh
  memory, a block's shared memory too, is full of NaN.
- No integer is divided by zero.
- A program computes only with memory of its current device (``devices=2``).
- Results do not depend on the order of the threads, and no two threads (in kernels with barriers: blocks) write to the
  same byte without an atomic (``races=True``, or inside `NullDevice.watching_races`; slow).
- A real device can launch the grids and blocks, and all threads of a block reach its barriers.
- How many launches, copies, allocations and synchronisations a program makes.

**What it does not prove**: speed, occupancy, how cuBLAS rounds, the order of events on several streams, behaviour when
memory runs out, conversion of floats that do not fit in an integer, and races of threads that write the value that was
there before. Subnormal float64 numbers are flushed in kernels that also compute in float32. Threads of a warp do not
run in lockstep; code that relies on lockstep without ``__syncwarp`` fails here, as it may on a GPU.

**What does not run**: code that CuPy ships as binaries, not as source: `sort`, `argsort` and `unique` (Thrust),
`cupy.random` (cuRAND), `cupy.fft`, and all of `cupy.linalg` except products.

It depends on CuPy's private tables, so it works with one version (`CUPY_VERSION`), on Linux on x86-64, and needs gcc
and g++: ``pip install 'minires-net[cupy-on-cpu]'`` installs that version. Use a separate process, because CuPy then
stays on the CPU until the process ends. In pytest, a conftest.py calls `install`.
"""

from minires.cupy_on_cpu.carry import carried, to_device
from minires.cupy_on_cpu.installation import CUPY_VERSION, install
from minires.cupy_on_cpu.null_device import NullDevice
from minires.cupy_on_cpu.record import DeviceFault, Launch, Record

__all__ = ["CUPY_VERSION", "DeviceFault", "Launch", "NullDevice", "Record", "carried", "install", "to_device"]
