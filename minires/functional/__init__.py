"""The differentiable operations. Each names the kernel that computes it and the operations that are its derivatives."""

from minires.functional import methods
from minires.functional.activation import relu, sigmoid, tanh
from minires.functional.arithmetic import maximum, where
from minires.functional.batch_norm import batch_norm, batch_norm_act
from minires.functional.conv import conv2d, conv2d_act
from minires.functional.creation import from_dlpack, ones, tensor, zeros
from minires.functional.dropout import dropout
from minires.functional.elementary import absolute, clip, exp, log, sqrt
from minires.functional.joining import concatenate, stack
from minires.functional.linear import linear
from minires.functional.matmul import matmul
from minires.functional.pooling import adaptive_avg_pool2d, avg_pool2d, max_pool2d
from minires.functional.shape import broadcast_to, pad, sum_to
from minires.functional.softmax import cross_entropy, log_softmax, softmax

__all__ = [
    "absolute",
    "adaptive_avg_pool2d",
    "avg_pool2d",
    "batch_norm",
    "batch_norm_act",
    "broadcast_to",
    "clip",
    "concatenate",
    "conv2d",
    "conv2d_act",
    "cross_entropy",
    "dropout",
    "exp",
    "from_dlpack",
    "linear",
    "log",
    "log_softmax",
    "matmul",
    "max_pool2d",
    "maximum",
    "methods",
    "ones",
    "pad",
    "relu",
    "sigmoid",
    "softmax",
    "sqrt",
    "stack",
    "sum_to",
    "tanh",
    "tensor",
    "where",
    "zeros",
]
