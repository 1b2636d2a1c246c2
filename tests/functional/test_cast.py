import numpy as np
import pytest

import minires as mr
from minires.errors import DeviceError, DtypeError


def test_gradients_come_back_in_the_dtype_they_belong_to():
    x = mr.tensor(np.array([1.0, 2.0], np.float32), requires_grad=True)
    y = x.to("float64")
    assert y.dtype == np.float64
    (y * y).sum().backward()
    assert x.grad.dtype == np.float32
    assert x.grad.numpy().tolist() == [2.0, 4.0]


def test_what_is_there_and_so_already_is_given_back_itself():
    x = mr.tensor([1.0])
    assert x.to("cpu") is x
    assert x.to(np.float32) is x
    assert x.to("cpu", dtype="float32") is x
    assert x.to(device="cpu") is x


def test_a_conversion_keeps_the_memory_order():
    x = mr.tensor(np.zeros((2, 3, 4)).transpose(2, 0, 1))
    assert x.to("float32").array.strides == tuple(s // 2 for s in x.array.strides)


def test_what_is_no_device_and_no_dtype_is_named():
    x = mr.tensor([1.0])
    with pytest.raises(DtypeError, match="'gpu' is not a dtype such as"):
        x.to("gpu")
    with pytest.raises(DeviceError, match="`device` 'cuda:x' is not one of"):
        x.to("cuda:x")
    with pytest.raises(DtypeError, match="cannot convert a complex128 tensor to float64"):
        mr.tensor([1j], dtype=np.complex128).to("float64")
