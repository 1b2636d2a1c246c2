"""Cross-entropy on a GPU: a block of threads for each row of logits.

The formulas are those of kernels/reference/softmax.py. Results are equal to the reference's within rounding.

The host never waits for the device. So a label out of range raises no error here: its row costs NaN, and the gradient
of its logits is NaN.
"""

from __future__ import annotations

import numpy as np

from minires.device import Array, xp_of
from minires.kernels.checks import check_labels, check_loss_grad
from minires.kernels.cuda.raw import launch


def cross_entropy(logits: Array, labels: Array, label_smoothing: float, ignore_index: int, reduction: str) -> Array:
    """Return the cross-entropy of softmax(logits) in nats, as `reference.softmax.cross_entropy`.

    A label that is neither a class nor ``ignore_index`` costs NaN.
    """
    check_labels(logits, labels)
    xp, (N, K), labels = xp_of(logits), logits.shape, xp_of(labels).ascontiguousarray(labels)
    losses: Array = xp.empty(N) if K else xp.full(N, np.nan)  # in float64: rounded when they are added
    if N and K:
        scalars = np.int32(K), np.float64(label_smoothing), np.int64(ignore_index)
        launch(_CODE, "losses", logits.dtype, (N,), (xp.ascontiguousarray(logits), labels, losses, *scalars))
    if reduction == "none":
        return losses.astype(logits.dtype)
    loss: Array = xp.empty((), logits.dtype)
    how = np.int32(N), np.int64(ignore_index), np.int32(reduction == "mean")
    launch(_CODE, "total_loss", logits.dtype, (1,), (losses, labels, loss, *how))
    return loss


def cross_entropy_grad(
    gy: Array, logits: Array, labels: Array, label_smoothing: float, ignore_index: int, reduction: str
) -> Array:
    """Return the gradient with respect to the logits, as `reference.softmax.cross_entropy_grad`."""
    check_labels(logits, labels)
    check_loss_grad(gy, logits, labels, reduction)
    xp, (N, K) = xp_of(logits), logits.shape
    glogits: Array = xp.empty((N, K), logits.dtype)
    if N and K:
        how = np.int32(("none", "sum", "mean").index(reduction))
        scalars = np.int32(N), np.int32(K), np.float64(label_smoothing), np.int64(ignore_index), how
        arrays = *map(xp.ascontiguousarray, (gy, logits, labels)), glogits
        launch(_CODE, "gradients", logits.dtype, (N,), (*arrays, *scalars))
    return glogits


_CODE = r"""
__device__ double maximum(double value) { // over the block, for all its threads
    __shared__ double values[THREADS];
    __syncthreads();
    values[threadIdx.x] = value;
    for (int half = THREADS / 2; half; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) {
            const double a = values[threadIdx.x], b = values[threadIdx.x + half];
            values[threadIdx.x] = a > b || a != a ? a : b;
        }
    }
    __syncthreads();
    return values[0];
}

__device__ double largest(const T *row, int K) {
    double most = row[0];
    for (int k = threadIdx.x; k < K; k += THREADS) most = row[k] > most || row[k] != row[k] ? (double)row[k] : most;
    return maximum(most);
}

// Block n: the loss of row n.
extern "C" __global__ void losses(
    const T *logits, const long long *labels, double *loss, int K, double smoothing, long long ignored) {
    const T *row = logits + (long long)blockIdx.x * K;
    const long long label = labels[blockIdx.x];
    const double most = largest(row, K);
    double sum = 0, all = 0;
    for (int k = threadIdx.x; k < K; k += THREADS) {
        sum += exp((double)row[k] - most);
        all += (double)row[k] - most;
    }
    const double log_sum = log(total(sum));
    all = total(all) - K * log_sum;
    if (threadIdx.x) return;
    const bool is_class = label >= 0 && label < K;
    double cost = is_class ? -(1 - smoothing) * (row[label] - most - log_sum) : nan("");
    if (smoothing > 0) cost -= smoothing * all / K;
    loss[blockIdx.x] = label == ignored ? 0 : cost;
}

__device__ double counted(const long long *labels, int N, long long ignored) {
    double rows = 0;
    for (int n = threadIdx.x; n < N; n += THREADS) rows += labels[n] != ignored;
    return total(rows);
}

// One block: the sum, or the mean over the rows that count.
extern "C" __global__ void total_loss(
    const double *losses, const long long *labels, T *loss, int N, long long ignored, int mean) {
    double sum = 0;
    for (int n = threadIdx.x; n < N; n += THREADS) sum += losses[n];
    sum = total(sum);
    const double rows = counted(labels, N, ignored);
    if (threadIdx.x == 0) loss[0] = !mean ? sum : rows > 0 ? sum / rows : nan("");
}

// Block n: the gradient by row n. how: 0 for "none", 1 for "sum", 2 for "mean".
extern "C" __global__ void gradients(
    const T *gy, const T *logits, const long long *labels, T *gradient, int N, int K, double smoothing,
    long long ignored, int how) {
    const T *row = logits + (long long)blockIdx.x * K;
    const long long label = labels[blockIdx.x];
    double share = how ? gy[0] : gy[blockIdx.x];
    if (how == 2) share /= max(counted(labels, N, ignored), 1.0);
    const double most = largest(row, K);
    double sum = 0;
    for (int k = threadIdx.x; k < K; k += THREADS) sum += exp((double)row[k] - most);
    sum = total(sum);
    const bool is_class = label >= 0 && label < K;
    for (int k = threadIdx.x; k < K; k += THREADS) {
        const double apart = exp((double)row[k] - most) / sum - (k == label ? 1 - smoothing : 0) - smoothing / K;
        gradient[(long long)blockIdx.x * K + k] = label == ignored ? 0 : is_class ? share * apart : nan("");
    }
}
"""
