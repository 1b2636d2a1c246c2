// In place of CuPy's: cuda_on_cpu.h has the atomics.
#pragma once
