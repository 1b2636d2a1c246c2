"""Kernels for CuPy: the reference's functions in a few launches each. The reference computes the others.

A kernel is in the file that has the same name in ``reference/``. Two exceptions: the fused forms ``batch_norm_act*``
are in batch_norm.py, and ``conv2d_act`` is in conv.py, because the plain forms call them or share their code.
"""

from minires.kernels.cuda.arithmetic import blend_
from minires.kernels.cuda.batch_norm import (
    batch_norm,
    batch_norm_act,
    batch_norm_act_grads,
    batch_norm_act_inference,
    batch_norm_grads,
    batch_norm_inference,
)
from minires.kernels.cuda.conv import conv2d, conv2d_act, conv2d_grads, conv2d_input_grad, conv2d_weight_grad
from minires.kernels.cuda.dropout import dropout
from minires.kernels.cuda.linear import linear, linear_grads
from minires.kernels.cuda.masters import follow_, narrow_, unscale
from minires.kernels.cuda.optim import adam_, sgd_
from minires.kernels.cuda.pooling import (
    adaptive_avg_pool2d,
    adaptive_avg_pool2d_grad,
    avg_pool2d,
    avg_pool2d_grad,
    max_pool2d,
    max_pool2d_grad,
    max_pool2d_winners,
)
from minires.kernels.cuda.softmax import cross_entropy, cross_entropy_grad

__all__ = [
    "adam_",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool2d_grad",
    "avg_pool2d",
    "avg_pool2d_grad",
    "batch_norm",
    "batch_norm_act",
    "batch_norm_act_grads",
    "batch_norm_act_inference",
    "batch_norm_grads",
    "batch_norm_inference",
    "blend_",
    "conv2d",
    "conv2d_act",
    "conv2d_grads",
    "conv2d_input_grad",
    "conv2d_weight_grad",
    "cross_entropy",
    "cross_entropy_grad",
    "dropout",
    "follow_",
    "linear",
    "linear_grads",
    "max_pool2d",
    "max_pool2d_grad",
    "max_pool2d_winners",
    "narrow_",
    "sgd_",
    "unscale",
]
