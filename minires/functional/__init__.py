"""Each differentiable operation: which kernel computes it, and which operations are its derivatives."""

from minires.functional.activation import relu
from minires.functional.arithmetic import exp, log, matmul, sqrt
from minires.functional.batch_norm import batch_norm
from minires.functional.conv import conv2d
from minires.functional.loss import cross_entropy, linear, log_softmax, softmax
from minires.functional.pooling import adaptive_avg_pool2d, avg_pool2d, max_pool2d
from minires.functional.shape import broadcast_to, sum_to

__all__ = [
    "adaptive_avg_pool2d",
    "avg_pool2d",
    "batch_norm",
    "broadcast_to",
    "conv2d",
    "cross_entropy",
    "exp",
    "linear",
    "log",
    "log_softmax",
    "matmul",
    "max_pool2d",
    "relu",
    "softmax",
    "sqrt",
    "sum_to",
]
