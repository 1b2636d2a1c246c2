"""Arrays on the second device are computed there, while CuPy's current device is the first."""

import threading

import numpy as np
import pytest
from half_training import training
from hypothesis import given, settings
from hypothesis import strategies as st
from idx_files import write_set

import minires as mr
from minires import functional as F
from minires import models, nn, optim
from minires.autograd.op import Op
from minires.cli import main
from minires.data import DataLoader, Dataset
from minires.device import asarray, available, device_of, synchronize
from minires.errors import DeviceError
from minires.testing.catalogue import ENTRIES
from minires.testing.catalogue.check import check, trials
from minires.testing.catalogue.table import all_settings
from minires.testing.layouts import MEMORY_ORDERS, lay_out

pytestmark = pytest.mark.skipif(not available("cuda:1"), reason="there is one device")

SETTINGS = [s._replace(device="cuda:1") for s in all_settings() if (s.device, s.dtype) == ("cuda", "float32")]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
@settings(max_examples=1)
@given(data=st.data())
def test_gradients_of_both_orders_are_right_there(entry, data):
    check(data.draw(trials(entry, SETTINGS)))


@pytest.mark.parametrize("order", MEMORY_ORDERS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_arrays_go_from_device_to_device_in_their_memory_order(order, dtype):
    array = lay_out(np.arange(24, dtype=dtype).reshape(2, 3, 4), order)
    x = mr.tensor(array)
    for device in ("cuda:1", "cuda:0", "cuda:1", "cpu"):
        x = x.to(device)
        assert x.device == device
        np.testing.assert_array_equal(x.numpy(), array)
        assert np.argsort(x.array.strides).tolist() == np.argsort(mr.tensor(array).array.strides).tolist()


GAPS = {
    "a slice": lambda x: x[:, :3],
    "every other": lambda x: x[:, ::2],
    "backwards": lambda x: x[::-1],
    "broadcast": lambda x: F.broadcast_to(x[:1], (5, 4)),
    "turned and cut": lambda x: x.permute(1, 0)[:, 1:],
}


@pytest.mark.parametrize("name", GAPS)
def test_arrays_that_are_no_stretch_of_memory_go_too_and_so_do_their_gradients(name):
    found = []
    for device in ("cpu", "cuda:1"):
        x = mr.tensor(np.arange(12.0).reshape(3, 4), device="cpu" if device == "cpu" else "cuda:0", requires_grad=True)
        y = GAPS[name](x).to(device)
        assert y.device == device
        (y * y).mean().backward()  # a gradient without strides, back to the first device
        found.append((y.numpy(), x.grad.numpy()))
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)
    z = mr.zeros(GAPS[name](x).shape, dtype="float64", device="cuda:1").assign_(GAPS[name](x.detach()))
    np.testing.assert_array_equal(z.numpy(), found[0][0])


def test_a_network_on_two_devices_learns_as_on_one():
    rng, found = np.random.default_rng(0), []
    images, labels = rng.standard_normal((4, 3, 6, 6)), rng.integers(0, 5, 4)
    for first, second in (("cuda:0", "cuda:0"), ("cuda:0", "cuda:1")):
        mr.manual_seed(0)
        lower, upper = nn.Conv2d(3, 8, 3).to(first, "float64"), nn.Linear(8, 5).to(second, "float64")
        optimizer = optim.SGD([*lower.parameters(), *upper.parameters()], lr=0.1, momentum=0.9)
        for _ in range(2):
            optimizer.zero_grad()
            y = F.relu(lower(mr.tensor(images, device=first)))
            logits = upper(F.adaptive_avg_pool2d(y, 1).flatten(1).to(second))
            F.cross_entropy(logits, mr.tensor(labels, device=second)).backward()
            optimizer.step()
        found.append([p.numpy() for p in (*lower.parameters(), *upper.parameters())])
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_index_on_the_other_device_is_refused():
    x, index = mr.ones((3, 4), device="cuda:1"), mr.tensor([0, 2], device="cuda:0")
    with pytest.raises(DeviceError, match=r"different devices: cuda:1, cuda:0; move one with \.to"):
        x[index]
    assert x[index.to("cuda:1")].shape == x[index.to("cpu")].shape == (2, 4)


def test_devices_do_not_mix_and_a_third_is_not_there():
    x, y = mr.ones((2, 3), device="cuda:0"), mr.ones((2, 3), device="cuda:1")
    with pytest.raises(DeviceError, match="different devices: cuda:0, cuda:1"):
        x + y
    with pytest.raises(DeviceError, match="cuda:2 not available: the last CUDA device here is cuda:1"):
        x.to("cuda:2")
    with pytest.raises(DeviceError, match="cuda:2 not available"):
        synchronize("cuda:2")
    assert (x + y.to(x.device)).device == "cuda:0"


def test_a_tensor_is_written_used_and_copied_there():
    x = mr.tensor(np.ones((2, 3), "f4"), device="cuda:1")
    x.assign_(mr.tensor(np.full((2, 3), 2, "f4"), device="cuda:0"))
    with x.writable() as array:
        array[0] = 5
    assert x.numpy().tolist() == [[5, 5, 5], [2, 2, 2]]
    y = mr.from_dlpack(x.array)
    assert (y.device, (2 * y + 1).device, y.sum().item()) == ("cuda:1", "cuda:1", 21)


def test_gradients_add_up_there():
    x = mr.ones((2, 3), device="cuda:1").requires_grad_()
    for _ in range(2):
        (x * x + F.relu(x)).sum().backward()
    assert x.grad.device == "cuda:1"
    assert (x.grad.numpy() == 6).all()


class Cube(Op):
    def forward(self, x):
        self.save(x)
        return x * x * x

    def backward(self, gy):
        (x,) = self.saved
        return 3 * x * x * gy


def test_an_operation_of_ones_own_computes_there():
    x = mr.tensor(np.arange(3.0), device="cuda:1").requires_grad_()
    Cube.apply(x).sum().backward()
    assert x.grad.numpy().tolist() == [0, 3, 12]


def test_a_thread_computes_there_too():
    found = []
    x = mr.ones((2, 3), device="cuda:1")
    thread = threading.Thread(target=lambda: found.append((2 * x).sum().item()))
    thread.start()
    thread.join()
    assert found == [12]


def trained(device, optimizer, **options):
    """Return ResNet-20's losses, parameters and optimizer state after three steps."""
    model = models.resnet20(seed=0).to(device)
    made = getattr(optim, optimizer)(model.parameters(), lr=0.01, **options)
    rng = np.random.default_rng(0)
    images = mr.tensor(rng.standard_normal((4, 3, 8, 8)), device=device, dtype="float32")
    labels = mr.tensor(rng.integers(0, 10, 4), device=device)
    losses = []
    for _ in range(3):
        made.zero_grad(set_to_none=False)
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        made.step()
        losses.append(loss.item())
    return losses, model, made, images


@pytest.mark.parametrize(("optimizer", "options"), [("SGD", {"momentum": 0.9}), ("AdamW", {})])
def test_training_there_is_training_on_the_first(optimizer, options):
    first, _, _, _ = trained("cuda:0", optimizer, **options)
    losses, model, made, images = trained("cuda:1", optimizer, **options)
    assert losses == first
    assert {t.device for t in model.state_dict().values()} == {"cuda:1"}
    arrays = [value for kept in made.state.values() for value in kept.values() if not isinstance(value, int)]
    assert {device_of(array) for array in arrays} == {"cuda:1"}
    made.load_state_dict(made.state_dict())
    model.eval()
    logits = model(images)
    folded = nn.fold_batch_norm(model, images)
    np.testing.assert_allclose(folded(images).numpy(), logits.numpy(), rtol=1e-3, atol=1e-4)


def test_training_in_float16_there_is_training_on_the_first():
    first, *_ = training(np.float16, "cuda:0")
    losses, model, *_ = training(np.float16, "cuda:1")
    assert (losses == first).all()
    assert {p.device for p in model.parameters()} == {"cuda:1"}


def test_one_optimizer_and_its_scaler_serve_both_devices():
    ps = [nn.Parameter(mr.ones((3, 5), dtype="float16", device=f"cuda:{n}")) for n in (0, 1)]
    optimizer, scaler = optim.SGD(ps, lr=1.0), optim.LossScaler(8)
    for p in ps:
        scaler.scale((p * p).sum()).backward()
    assert scaler.step(optimizer)
    for p in ps:
        assert (p.numpy() == -1).all()


def test_an_optimizers_state_moves_there():
    ps = [nn.Parameter(mr.ones((3, 5), device=f"cuda:{n}")) for n in (0, 1)]
    first, second = (optim.SGD([p], lr=0.5, momentum=0.5) for p in ps)
    for p, optimizer in zip(ps, (first, second), strict=True):
        p.grad = mr.ones((3, 5), device=p.device)
        if optimizer is second:
            optimizer.load_state_dict(first.state_dict())
        optimizer.step()
    assert [device_of(optimizer.state[0]["velocity"]) for optimizer in (first, second)] == ["cuda:0", "cuda:1"]
    assert (ps[1].numpy() == 1 - 0.5 * 1.5).all()


def test_batches_are_sent_there():
    rng = np.random.default_rng(0)
    images = Dataset(rng.integers(0, 256, (11, 3, 4, 5), np.uint8), rng.integers(0, 2, 11), ("cat", "dog"))
    here, there = (list(DataLoader(images, 3, device=device)) for device in ("cpu", "cuda:1"))
    for pair, expected in zip(there, here, strict=True):
        for x, y in zip(pair, expected, strict=True):
            assert x.device == "cuda:1"
            np.testing.assert_array_equal(x.numpy(), y.numpy())


def test_the_commands_train_and_evaluate_there(tmp_path, capsys):
    root = write_set(tmp_path, 20, 10)
    recipe = ["--data", "fashion-mnist", "--root", str(root), "--batch-size", "8", "--epochs", "1", "--quiet"]
    assert main(["train", *recipe, "--device", "cuda:1", "--out", str(tmp_path / "run")]) == 0
    last = str(tmp_path / "run" / "last.safetensors")
    assert main(["evaluate", last, "--root", str(root), "--device", "cuda:1"]) == 0


def test_an_array_that_is_there_is_not_copied():
    x = asarray(np.ones(3), "cuda:1")
    assert asarray(x, "cuda:1") is x
