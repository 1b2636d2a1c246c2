"""Batches on a GPU, and `minires train` there."""

import json

import numpy as np
import pytest
from half_training import ROUNDINGS, moved
from idx_files import write_set

from minires.checkpoint import load
from minires.cli import main
from minires.data import DataLoader, Dataset, HorizontalFlip
from minires.train import sources


def images(count):
    rng = np.random.default_rng(0)
    return Dataset(rng.integers(0, 256, (count, 3, 4, 5), np.uint8), rng.integers(0, 2, count), ("cat", "dog"))


def loader(device, **options):
    return DataLoader(images(11), 3, shuffle=True, augment=[HorizontalFlip()], seed=1, device=device, **options)


@pytest.mark.parametrize("prefetch", [0, 2])
def test_batches_on_a_gpu_are_the_cpus(prefetch):
    there = list(loader("cuda", prefetch=prefetch))
    here = list(loader("cpu"))
    assert {t.device for pair in there for t in pair} == {"cuda:0"}
    for (x, labels), (y, expected) in zip(there, here, strict=True):
        np.testing.assert_array_equal(x.numpy(), y.numpy())
        np.testing.assert_array_equal(labels.numpy(), expected.numpy())


@pytest.mark.parametrize("prefetch", [0, 2])
def test_batches_of_any_structure_arrive_on_a_gpu(prefetch):
    class Named:
        def __len__(self):
            return 5

        def __getitem__(self, index):
            return {"x": np.full((2, 3), index, np.float32), "name": str(index), "pair": (index, np.arange(3))}

    there, here = (list(DataLoader(Named(), 2, device=device, prefetch=prefetch)) for device in ("cuda", "cpu"))
    assert [batch["name"] for batch in there] == [["0", "1"], ["2", "3"], ["4"]]
    for batch, expected in zip(there, here, strict=True):
        for tensor, same in ((batch["x"], expected["x"]), *zip(batch["pair"], expected["pair"], strict=True)):
            assert tensor.device == "cuda:0"
            np.testing.assert_array_equal(tensor.numpy(), same.numpy())
    assert list(DataLoader(["a", "b", "c"], 2, device="cuda")) == [["a", "b"], ["c"]]
    ((images, labels),) = DataLoader((np.ones((3, 2)), [1, 2, 3]), 4, device="cuda")
    assert images.device == labels.device == "cuda:0"


def test_a_batch_is_sent_while_the_one_before_is_used_and_nobody_waits(device):
    batches = loader("cuda").tensors(0)
    next(batches)
    sent = []
    with device.recording() as record:
        for _ in range(3):
            sent.append(record.copies["host to device"])
            next(batches)
    assert sent == [0, 2, 4]  # images and labels of the next batch, after the requested one; the last was sent before
    assert record.synchronisations == 0
    assert not record.launches
    batches.close()


def test_a_pass_that_is_broken_off_waits_for_what_is_on_its_way(device):
    batches = loader("cuda").tensors(0)
    next(batches)
    with device.recording() as record:
        batches.close()
    assert record.synchronisations == 1


@pytest.mark.parametrize("prefetch", [0, 2])
def test_what_goes_wrong_is_raised_behind_the_batches_before_it(prefetch):
    class Broken(HorizontalFlip):
        def apply(self, pixels, table):
            if len(pixels) == 2:  # the last batch of 11 images by threes
                raise OSError("no such picture")
            return super().apply(pixels, table)

    for device in ("cpu", "cuda"):
        batches = iter(DataLoader(images(11), 3, augment=[Broken()], device=device, prefetch=prefetch))
        assert [len(next(batches)[1]) for _ in range(3)] == [3, 3, 3]
        with pytest.raises(OSError, match="no such picture"):
            next(batches)


def test_batches_that_are_kept_stay_as_they_were():
    kept = [(x, x.numpy().copy()) for x, _ in loader("cuda")]
    for x, values in kept:
        np.testing.assert_array_equal(x.numpy(), values)


def metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_training_on_a_gpu_is_training_and_its_checkpoints_go_on_anywhere(tmp_path, capsys):
    root = write_set(tmp_path, 20, 10)
    recipe = ["--data", "fashion-mnist", "--root", str(root), "--batch-size", "8", "--lr", "0.02", "--quiet"]
    runs = {}
    for device in ("cpu", "cuda"):
        runs[device] = tmp_path / device
        assert main(["train", *recipe, "--epochs", "2", "--device", device, "--out", str(runs[device])]) == 0
    for here, there in zip(*map(metrics, runs.values()), strict=True):
        for name in ("train_loss", "test_loss"):
            assert there[name] == pytest.approx(here[name], rel=1e-3)
    for device in ("cuda", "cpu"):
        arguments = ["evaluate", str(runs["cuda"] / "last.safetensors"), "--root", str(root), "--device", device]
        assert main(arguments) == 0
    found = [float(line.split()[3]) for line in capsys.readouterr().out.splitlines() if "recorded" not in line]
    assert found == pytest.approx([metrics(runs["cuda"])[-1]["test_loss"]] * 2, rel=1e-5)


def moved_network(seed):
    """Return `sources.network` with each weight moved by half an ulp of float16, up or down."""
    real, rng = sources.network, np.random.default_rng(seed)

    def network(*arguments):
        model = real(*arguments)
        for p in model.parameters():
            p.assign_(moved(p.numpy(), rng))
        return model

    return network


def test_training_in_float16_has_float32s_losses_and_its_checkpoint_evaluates_on_the_cpu(tmp_path, monkeypatch, capsys):
    root = write_set(tmp_path, 20, 10)
    recipe = ["--data", "fashion-mnist", "--root", str(root), "--batch-size", "8", "--lr", "0.02", "--epochs", "2"]

    def losses(name, *flags):
        assert main(["train", *recipe, "--quiet", "--out", str(tmp_path / name), *flags]) == 0
        return np.array([[line["train_loss"], line["test_loss"]] for line in metrics(tmp_path / name)])

    single = losses("single")
    half = losses("half", "--device", "cuda", "--dtype", "float16")
    of_one = 0.0  # the effect of one rounding of all weights to float16; there are as many as in `half_training`
    for seed in range(4):
        with monkeypatch.context() as patch:
            patch.setattr(sources, "network", moved_network(seed))
            of_one = max(of_one, np.linalg.norm(losses(f"moved{seed}") - single))
    tolerance = ROUNDINGS**0.5 * of_one
    assert tolerance < 0.5 * (single[0, 0] - single[1, 0])  # so that it tells training from none
    assert np.linalg.norm(half - single) <= tolerance, (half, single, tolerance)
    weights = load(tmp_path / "half" / "last.safetensors")
    assert weights["model.fc.weight"].dtype == np.float16
    assert weights["optimizer.0.master"].dtype == np.float32
    for device in ("cuda", "cpu"):
        arguments = ["evaluate", str(tmp_path / "half" / "last.safetensors"), "--root", str(root), "--device", device]
        assert main(arguments) == 0
    there, here = (float(line.split()[3]) for line in capsys.readouterr().out.splitlines() if "recorded" not in line)
    assert there == half[1, 1]
    assert here == pytest.approx(there, abs=tolerance)
