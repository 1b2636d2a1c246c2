"""Kernels for the CPU: the reference's functions, blocked, threaded and fused, in float32 and float64.

A kernel is in the file that has the same name in ``reference/``. Two exceptions: the fused forms ``batch_norm_act*``
are in batch_norm.py, and ``conv2d_act`` is in conv.py, because the plain forms call them.
"""

from minires.kernels.fast.activation import relu, relu_grad
from minires.kernels.fast.arithmetic import add, add_
from minires.kernels.fast.batch_norm import (
    batch_norm,
    batch_norm_act,
    batch_norm_act_grads,
    batch_norm_act_inference,
    batch_norm_grads,
    batch_norm_inference,
)
from minires.kernels.fast.conv import conv2d, conv2d_act, conv2d_grads, conv2d_input_grad, conv2d_weight_grad
from minires.kernels.fast.linear import linear, linear_grads
from minires.kernels.fast.optim import adam_, sgd_
from minires.kernels.fast.pooling import (
    adaptive_avg_pool2d,
    adaptive_avg_pool2d_grad,
    max_pool2d,
    max_pool2d_grad,
    max_pool2d_winners,
)

__all__ = [
    "adam_",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool2d_grad",
    "add",
    "add_",
    "batch_norm",
    "batch_norm_act",
    "batch_norm_act_grads",
    "batch_norm_act_inference",
    "batch_norm_grads",
    "batch_norm_inference",
    "conv2d",
    "conv2d_act",
    "conv2d_grads",
    "conv2d_input_grad",
    "conv2d_weight_grad",
    "linear",
    "linear_grads",
    "max_pool2d",
    "max_pool2d_grad",
    "max_pool2d_winners",
    "relu",
    "relu_grad",
    "sgd_",
]
