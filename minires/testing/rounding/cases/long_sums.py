"""Check that the error of a long sum does not grow with its length, in every kernel that adds up.

The bound of `check_rounding` holds for sums in any order, so it also allows the error of the worst order. These cases
test what decision 5 promises. 32,768 numbers of one sign, added one after another in float32, give a sum that is wrong
in its fifth digit; in float16 it stops at 2048.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from minires import kernels
from minires.device import Array, asarray, asnumpy, is_array
from minires.geometry import Geometry
from minires.testing.rounding.cases import all_in_float16
from minires.testing.rounding.check import outputs_of

_N = 32768
_LABELS = np.zeros(_N, np.int64)
# Windows of 2048 pixels; the pixel in the middle is in all of them, and has won them all.
_OVERLAPPING, _SIZE, _WON = Geometry((2048, 1)), (4095, 1), np.arange(2048)[::-1].reshape(1, 1, -1, 1)


class LongSum(NamedTuple):
    """Arguments of a kernel, which results are long sums, and how many units of the last digit these may err."""

    arguments: tuple[Any, ...]
    results: tuple[int, ...] = (0,)
    allowed: float = 4.0
    on_cuda: bool = True  # False for a matrix product, whose order cuBLAS chooses: decision 5


def check_long_sum(kernel_set: str, kernel: str, device: str = "cpu", dtype: Any = np.float32) -> float:
    """Return the largest relative error of a kernel's long sums, in units of the last digit.

    Raises
    ------
    AssertionError : if a result errs by more than it may.
    KeyError : if the kernel has no such case.
    """
    worst = 0.0
    for case in LONG_SUMS[kernel]():
        if kernel_set == "cuda" and not case.on_cuda:
            continue
        lowered = [_lowered(argument, dtype) for argument in case.arguments]
        function = getattr(kernels.KernelSet(kernel_set), kernel)
        function = all_in_float16(function) if np.dtype(dtype) == np.float16 else function
        found = outputs_of(function(*(asarray(a, device) if is_array(a) else a for a in lowered)))
        exact = outputs_of(
            getattr(kernels.KernelSet("reference"), kernel)(*(_lowered(argument, np.float64) for argument in lowered))
        )
        for result in case.results:
            value, true = asnumpy(found[result]).astype(np.float64), exact[result]
            unit = np.finfo(dtype).eps * np.maximum(np.abs(true), np.finfo(dtype).tiny)
            error = float((np.abs(value - true) / unit).max())
            assert error <= case.allowed, (
                f"{kernel_set}.{kernel} of {np.dtype(dtype)}: result {result} errs by {error:.3g}"
            )
            worst = max(worst, error)
    return worst


def _lowered(argument: Any, dtype: Any) -> Any:
    return argument.astype(dtype) if is_array(argument) and argument.dtype.kind == "f" else argument


def _full(*shape: int) -> Array:
    return np.full(shape, 1.1)


def _varied(*shape: int) -> Array:
    return np.random.default_rng(0).uniform(0.5, 1.5, shape)


def _by_pixel(*shape: int) -> Array:
    """Return values (N, C, H, W) in the memory order of the fast kernels."""
    N, C, H, W = shape
    return np.ascontiguousarray(_varied(H, W, N, C)).transpose(2, 3, 0, 1)


def _reduced() -> list[LongSum]:
    """Return sums over one axis, several and all, contiguous or not."""
    first = _varied(_N, 2)
    return [
        LongSum((first, 0)),
        LongSum((np.asfortranarray(first), 0)),
        LongSum((_full(2, _N).T, 0)),
        LongSum((_by_pixel(4, 2, 64, 64), (0, 2, 3))),
        LongSum((_full(_N),)),
    ]


def _statistics() -> list[LongSum]:
    """Return channels of many pixels, also of a prime count, with a mean near zero and far from it."""
    images = [_by_pixel(8, 2, 64, 64), _varied(1, 1, 1, 32749), _by_pixel(8, 2, 64, 64) + 100]
    return [LongSum((x, *[_varied(x.shape[1])] * 2, 1e-5), (1, 2, 3), 16) for x in images]


def _gradients() -> list[LongSum]:
    images = [_by_pixel(8, 2, 64, 64), _varied(1, 1, 1, 32749)]
    return [LongSum((x, x, _varied(x.shape[1]), np.zeros(x.shape[1]), np.ones(x.shape[1])), (1, 2), 16) for x in images]


def _statistics_of_act() -> list[LongSum]:
    return [case._replace(arguments=(*case.arguments[:3], None, True, case.arguments[3])) for case in _statistics()]


def _gradients_of_act() -> list[LongSum]:
    return [case._replace(arguments=(case.arguments[0], *case.arguments, True, False)) for case in _gradients()]


def _losses() -> list[LongSum]:
    logits = _varied(2, _N)
    return [
        LongSum((x, _LABELS[: len(x)], 0.1, -100, reduction))
        for x in (logits, np.asfortranarray(logits), _varied(1024, 2))
        for reduction in ("mean", "sum")
    ]


_PRODUCT = 64.0  # BLAS adds up some hundred products one after another

LONG_SUMS: dict[str, Callable[[], list[LongSum]]] = {
    "adaptive_avg_pool2d": lambda: [
        LongSum((x, grid)) for x in (_full(1, 1, 256, 256), _by_pixel(1, 2, 256, 256)) for grid in ((1, 1), (2, 3))
    ],
    "adaptive_avg_pool2d_grad": lambda: [LongSum((_full(1, 1, 1, 4096), size)) for size in ((1, 1), (2, 3))],
    "amax_share": lambda: [LongSum((_full(1000, 50),))],
    "amin_share": lambda: [LongSum((_full(1000, 50),))],
    "avg_pool2d": lambda: [
        LongSum((x, Geometry((n, n), (n, n))))
        for n in (3, 128)
        for x in (_full(1, 1, 128, 128), _by_pixel(1, 2, 128, 128))
    ],
    "avg_pool2d_grad": lambda: [LongSum((_full(1, 1, 2048, 1), _OVERLAPPING, _SIZE))],
    "batch_norm": _statistics,
    "batch_norm_act": _statistics_of_act,
    "batch_norm_act_grads": _gradients_of_act,
    "batch_norm_grads": _gradients,
    "batch_norm_inference_grads": _gradients,
    "conv2d": lambda: [
        *[
            LongSum((_full(1, 2, 65, 65), _full(2, 2 // g, 64, 64), Geometry((64, 64), groups=g)), allowed=_PRODUCT)
            for g in (1, 2)
        ],
        LongSum((_full(1, _N, 2, 2), _full(1, _N, 1, 1), Geometry((1, 1))), allowed=_PRODUCT, on_cuda=False),
    ],
    "conv2d_act": lambda: [
        LongSum(
            (_full(1, 2, 65, 65), _full(2, 2, 64, 64), None, None, None, False, Geometry((64, 64))), allowed=_PRODUCT
        )
    ],
    "conv2d_grads": lambda: [
        LongSum((gy, _by_pixel(1, 2, 128, 128), _full(2, 1, 2, 2), Geometry((2, 2), groups=2)), (1,), 8)
        for gy in [_by_pixel(1, 2, 127, 127)]
    ],
    "conv2d_input_grad": lambda: [
        LongSum(
            (_full(1, 2, 32, 32), _full(2, 2 // g, 32, 32), Geometry((32, 32), groups=g), (63, 63)), allowed=_PRODUCT
        )
        for g in (1, 2)
    ],
    "conv2d_weight_grad": lambda: [
        LongSum((_full(1, 2, 128, 128), _full(1, 2, 128, 128), Geometry((1, 1), groups=g)), allowed=_PRODUCT)
        for g in (1, 2)
    ],
    "cross_entropy": _losses,
    "cross_entropy_grad": lambda: [
        LongSum((np.ones(()), _varied(2, _N), _LABELS[:2], 0.0, -100, "sum")),
        LongSum((np.ones(()), _varied(1024, 2), _LABELS[:1024], 0.0, -100, "mean"), allowed=8),
    ],
    "getitem_grad": lambda: [
        LongSum((_full(_N), _LABELS, (1,))),
        LongSum((_varied(_N, 3), (np.arange(_N) % 2,), (2, 3))),
        LongSum((_varied(3, _N), (slice(None), np.arange(_N) % 2), (3, 2))),
    ],
    "linear": lambda: [LongSum((_full(2, _N), _full(3, _N)), allowed=_PRODUCT)],
    "linear_grads": lambda: [
        LongSum((_full(_N, 2), _full(_N, 3), _full(2, 3)), (1,), _PRODUCT),
        LongSum((_full(2, _N), _full(2, 3), _full(_N, 3)), (0,), _PRODUCT),
    ],
    "log_softmax": lambda: [LongSum((x, 1)) for x in (_varied(2, _N), np.asfortranarray(_varied(2, _N)))],
    "matmul": lambda: [
        LongSum((_full(_N), _full(_N)), allowed=_PRODUCT),
        LongSum((_full(2, _N), _full(_N)), allowed=_PRODUCT),
        LongSum((_full(2, 1, _N), _full(2, _N, 2)), allowed=_PRODUCT),
    ],
    "max_pool2d_grad": lambda: [LongSum((_full(1, 1, 2048, 1), _WON, _OVERLAPPING, _SIZE))],
    "mean": _reduced,
    "softmax": lambda: [LongSum((x, 1)) for x in (_varied(2, _N), np.asfortranarray(_varied(2, _N)))],
    "sum": _reduced,
    "sum_to": lambda: [LongSum((_varied(_N, 2), (2,))), LongSum((_by_pixel(4, 2, 64, 64), (1, 2, 1, 1)))],
    "var": lambda: [*_reduced(), LongSum((_varied(_N, 2) + 100, 0)), LongSum((_full(_N) * 100 + np.arange(_N) % 2,))],
}
