"""Kernels for CuPy: the reference's functions, each in a few launches. Where there is none, the reference's serves."""

from minires.kernels.cuda.batch_norm import (
    batch_norm,
    batch_norm_act,
    batch_norm_act_grads,
    batch_norm_act_inference,
    batch_norm_grads,
    batch_norm_inference,
)
from minires.kernels.cuda.conv import conv2d, conv2d_act, conv2d_grads, conv2d_input_grad, conv2d_weight_grad
from minires.kernels.cuda.optim import adam_, sgd_

__all__ = [
    "adam_",
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
    "sgd_",
]
