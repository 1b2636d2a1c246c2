"""Each differentiable operation: which kernel computes it, and which operations are its derivatives."""

from minires.functional.activation import relu
from minires.functional.arithmetic import broadcast_to, exp, log, matmul, sqrt, sum_to
from minires.functional.batch_norm import batch_norm
from minires.functional.conv import conv2d

__all__ = ["batch_norm", "broadcast_to", "conv2d", "exp", "log", "matmul", "relu", "sqrt", "sum_to"]
