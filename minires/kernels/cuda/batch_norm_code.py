"""The CUDA code of batch_norm.py: sums over channels in two steps, and the arithmetic of each pixel."""

from __future__ import annotations

import functools
from typing import Any

from minires.kernels.cuda.raw import element_kernel

REDUCTIONS = r"""
// Block (c, part): mean and sum of squared deviations of a part of channel c.
extern "C" __global__ void statistics(const T *x, double *found, long long M) {
    const long long start = M * blockIdx.y / gridDim.y, stop = M * (blockIdx.y + 1) / gridDim.y;
    x += blockIdx.x * M;
    double sum = 0, squares = 0;
    for (long long i = start + threadIdx.x; i < stop; i += THREADS) sum += x[i];
    const double mean = total(sum) / (stop - start);
    for (long long i = start + threadIdx.x; i < stop; i += THREADS) squares += (x[i] - mean) * (x[i] - mean);
    squares = total(squares);
    if (threadIdx.x == 0) {
        double *mine = found + 2 * ((long long)blockIdx.x * gridDim.y + blockIdx.y);
        mine[0] = mean;
        mine[1] = squares;
    }
}

// Thread c: (3) of batch_norm.py.
extern "C" __global__ void mean_and_variance(
    const double *found, Wide *mean, Wide *var, Wide *inv_std, int C, int parts, long long M, double eps) {
    const int c = blockIdx.x * blockDim.x + threadIdx.x;
    if (c >= C) return;
    found += 2 * (long long)c * parts;
    double sum = 0, squares = 0;
    for (int i = 0; i < parts; i++) sum += (M * (i + 1) / parts - M * i / parts) * found[2 * i];
    const double average = sum / M;
    for (int i = 0; i < parts; i++) {
        const double apart = found[2 * i] - average;
        squares += found[2 * i + 1] + (M * (i + 1) / parts - M * i / parts) * apart * apart;
    }
    mean[c] = average;
    var[c] = squares / M;
    inv_std[c] = 1 / sqrt(squares / M + eps);
}

// Block (c, part): sums of gz and gz · (x − mean) over a part of channel c.
extern "C" __global__ void gradient_sums(
    const T *gy, const T *y, const T *x, const Wide *means, double *found, long long M, int relu) {
    const long long start = M * blockIdx.y / gridDim.y, stop = M * (blockIdx.y + 1) / gridDim.y;
    const long long channel = blockIdx.x * M;
    const Wide mean = means[blockIdx.x];
    double sum = 0, products = 0;
    for (long long i = channel + start + threadIdx.x; i < channel + stop; i += THREADS) {
        const T gz = relu && y[i] <= T(0) ? T(0) : gy[i];
        sum += gz;
        products += (double)gz * (x[i] - mean);
    }
    sum = total(sum);
    products = total(products);
    if (threadIdx.x == 0) {
        double *mine = found + 2 * ((long long)blockIdx.x * gridDim.y + blockIdx.y);
        mine[0] = sum;
        mine[1] = products;
    }
}

// Thread c: gbeta and ggamma, and their shares of each of M pixels, which are not rounded to float16.
extern "C" __global__ void sums_of_parts(
    const double *found, const Wide *inv_std, T *gbeta, T *ggamma, double *shares, int C, int parts, double M) {
    const int c = blockIdx.x * blockDim.x + threadIdx.x;
    if (c >= C) return;
    found += 2 * (long long)c * parts;
    double sum = 0, products = 0;
    for (int i = 0; i < parts; i++) {
        sum += found[2 * i];
        products += found[2 * i + 1];
    }
    gbeta[c] = sum;
    ggamma[c] = products * inv_std[c];
    shares[c] = sum / M;
    shares[C + c] = products * inv_std[c] / M;
}
"""


@functools.cache
def normalised(shortcut: bool, relu: bool) -> Any:
    """Return a kernel for (1) of batch_norm.py."""
    code = "Wide z = (x - mean) * (gamma * inv_std) + beta" + (" + shortcut;" if shortcut else ";")
    code += "y = z < 0 ? Wide(0) : z;" if relu else "y = z;"
    inputs = "T x, T gamma, T beta, U mean, U inv_std" + ", T shortcut" * shortcut
    return element_kernel(inputs, "T y", code, f"minires_batch_norm{'_add' * shortcut}{'_relu' * relu}")


@functools.cache
def input_gradient(relu: bool, keeps_gz: bool) -> Any:
    """Return a kernel for (2) of batch_norm.py, and for gz if wanted."""
    code = "T masked = y <= T(0) ? T(0) : gy;" if relu else "T masked = gy;"
    code += "gx = gamma * inv_std * (masked - Wide(of_beta) - (x - mean) * inv_std * Wide(of_gamma));"
    code += "gz = masked;" * keeps_gz
    inputs = "T gy, T y, T x, T gamma, U mean, U inv_std, float64 of_beta, float64 of_gamma"
    name = f"minires_batch_norm_grad{'_relu' * relu}{'_kept' * keeps_gz}"
    return element_kernel(inputs, "T gx" + ", T gz" * keeps_gz, code, name)
