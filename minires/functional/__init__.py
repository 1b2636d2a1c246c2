"""Each differentiable operation: which kernel computes it, and which operations are its derivatives."""

from minires.functional.arithmetic import broadcast_to, exp, log, matmul, sqrt, sum_to
from minires.functional.conv import conv2d

__all__ = ["broadcast_to", "conv2d", "exp", "log", "matmul", "sqrt", "sum_to"]
