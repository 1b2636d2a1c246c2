import numpy as np

import minires as mr


def test_operations_keep_their_kernel_set_for_the_backward_pass():
    x = mr.tensor(np.ones((1, 1, 3, 3)), requires_grad=True)
    with mr.kernels.using("reference"):
        y = mr.functional.conv2d(x, x)
    assert y._op.kernels.name == "reference"
