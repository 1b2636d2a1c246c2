"""The text-book form of every kernel, on NumPy or CuPy, for arrays of any strides."""

from minires.kernels.reference.conv import conv2d, conv2d_grads, conv2d_input_grad, conv2d_weight_grad

__all__ = [
    "conv2d",
    "conv2d_grads",
    "conv2d_input_grad",
    "conv2d_weight_grad",
]
