import shutil
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from minires.errors import CheckpointError, DataError
from minires.train import Settings, sources
from minires.train.sources import Description

CIFAR_RECORDS = np.zeros((10_000, 3073), np.uint8)


def rates(steps=10, **changes):
    settings = Settings(lr=0.5, **changes)
    description = Description.of(sources.dataset(Settings(), "test"))
    sgd = sources.optimizer(settings, sources.network(settings, description))
    schedule = sources.schedule(settings, sgd, steps)
    return [schedule.rate(settings.lr, step) for step in range(settings.epochs * steps)]


def test_a_constant_rate_stays():
    assert set(rates(schedule="constant")) == {0.5}


def test_a_rate_drops_to_a_tenth_at_each_milestone():
    found = rates(schedule="multistep", milestones=(2, 5))
    assert found == [0.5] * 20 + [0.5 * 0.1] * 30 + [0.5 * 0.1**2] * 30


def test_milestones_are_by_default_at_a_half_and_three_quarters():
    assert rates(schedule="multistep", epochs=4) == [0.5] * 20 + [0.5 * 0.1] * 10 + [0.5 * 0.1**2] * 10
    assert rates(schedule="multistep", epochs=1) == [0.5] * 5 + [0.5 * 0.1] * 2 + [0.5 * 0.1**2] * 3


def test_a_cosine_falls_at_every_step():
    found = rates(schedule="cosine")
    assert found[0] == 0.5
    assert all(a > b > 0 for a, b in pairwise(found))


def test_one_cycle_rises_to_the_largest_rate_and_falls_to_nearly_nothing():
    found = rates(schedule="one-cycle")
    assert found[0] == pytest.approx(0.5 / 25)  # 0.5 less a half cosine of nearly 0.5: two roundings
    assert max(found) == found[23] == 0.5  # 30 % of 80 steps, counted from 0
    assert found[-1] == pytest.approx(0.5 / 25 / 1e4)


@pytest.mark.parametrize("schedule", ["constant", "multistep", "cosine", "one-cycle"])
@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_every_schedule_has_a_rate_for_every_step_of_a_short_run(schedule, steps):
    assert all(0 < rate <= 0.5 for rate in rates(steps=steps, epochs=1, schedule=schedule))


@pytest.fixture
def folder(tmp_path):
    """Return a folder with three classes in train/, and two of them in val/."""
    for part, names in (("train", "cat dog owl"), ("val", "cat owl")):
        for shade, name in enumerate(names.split()):
            (tmp_path / part / name).mkdir(parents=True)
            for i in range(2):
                Image.new("RGB", (9, 7), (20 * shade, i, 0)).save(tmp_path / part / name / f"{i}.png")
    return tmp_path


def test_a_folder_has_images_to_train_and_to_test_whose_labels_mean_the_same(folder):
    settings = Settings(data="folder", root=folder, size=8)
    images = sources.dataset(settings, "train")
    tests = sources.dataset(settings, "val", images.classes)
    assert images.classes == tests.classes == ("cat", "dog", "owl")
    assert tests.labels.tolist() == [0, 0, 2, 2]
    assert images.images.shape == (6, 3, 8, 8)


def test_a_folder_is_tested_by_what_it_has_and_with_both_chosen_by_val(folder):
    settings = Settings(data="folder", root=folder, size=8)
    assert sources.held_out(settings).names == ("val",)
    shutil.copytree(folder / "val", folder / "test")
    assert sources.held_out(settings).names == ("val", "test")
    shutil.rmtree(folder / "val")
    assert sources.held_out(settings).names == ("test",)
    assert sources.held_out(Settings()).names == ("test",)
    assert sources.splits(settings) == ("train", "test")
    shutil.rmtree(folder / "train")
    with pytest.raises(DataError, match="train is missing"):
        sources.splits(settings)


def test_what_a_user_should_know_of_the_data_is_said(folder):
    settings = Settings(data="folder", root=folder, size=8, batch_size=6)
    (folder / "train" / "owl" / "broken.png").symlink_to(folder / "nowhere")
    parts = {split: sources.dataset(settings, split, ("cat", "dog", "owl")) for split in ("train", "val")}
    told = [
        "train: 6 images in 3 classes; 1 left out: owl/broken.png (a link to nothing)",
        "val: 4 images in 2 of 3 classes (none of dog)",
    ]
    assert sources.in_words(settings, parts) == told
    assert sources.in_words(replace(settings, batch_size=7), parts) == [
        *told,
        "batch-size 7 is more than the 6 training images: an epoch is one step with all of them",
    ]
    assert sources.in_words(Settings(), {"train": sources.dataset(Settings(), "train")}) == []


def test_a_single_class_is_nothing_to_train(folder):
    for name in ("dog", "owl"):
        shutil.rmtree(folder / "train" / name)
    with pytest.raises(DataError, match="2 images in one class, cat, so there is nothing to tell apart"):
        sources.dataset(Settings(data="folder", root=folder, size=8), "train")


def test_images_of_a_folder_have_the_size_that_the_network_was_made_for(folder):
    assert sources.dataset(Settings(data="folder", root=folder), "train").images.shape[2:] == (32, 32)
    settings = Settings(data="folder", root=folder, model="resnet18")
    assert sources.dataset(settings, "train").images.shape[2:] == (224, 224)


def test_a_folder_without_its_parts_is_an_error(tmp_path):
    settings = Settings(data="folder", root=tmp_path)
    for split in ("train", "test"):
        with pytest.raises(DataError, match=rf"{split} is missing; expected .* to hold train/ and test/ \(or val/\)"):
            sources.dataset(settings, split)


def test_a_root_in_the_home_directory_is_found(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder.parent))
    settings = Settings(data="folder", root=f"~/{folder.name}", size=8)
    assert len(sources.dataset(settings, "train")) == 6
    assert sources.held_out(settings).names == ("val",)


def test_cifar_is_read_from_its_root(tmp_path):
    CIFAR_RECORDS.tofile(tmp_path / "test_batch.bin")
    images = sources.dataset(Settings(data="cifar10", root=tmp_path), "test")
    assert images.images.shape == (10_000, 3, 32, 32)
    with pytest.raises(DataError, match=r"test\.bin is missing"):
        sources.dataset(Settings(data="cifar100", root=tmp_path), "test")


@pytest.mark.parametrize(("augment", "count"), [("none", 0), ("flip", 1), ("crop-flip", 2)])
def test_augmentation_is_as_told(augment, count):
    loader = sources.training_loader(Settings(augment=augment), sources.dataset(Settings(), "test"))
    assert len(loader.augment) == count
    assert loader.shuffle


@pytest.mark.parametrize(("batch_size", "sizes"), [(300, [300] * 3), (500, [500] * 2), (1000, [1000]), (1001, [1000])])
def test_all_batches_are_full_unless_there_is_but_one(batch_size, sizes):
    settings = Settings(batch_size=batch_size)
    loader = sources.training_loader(settings, sources.dataset(settings, "test"))
    assert [len(labels) for _, labels in loader.arrays(0)] == sizes


def test_a_description_survives_the_journey_through_json():
    description = Description.of(sources.dataset(Settings(), "train"))
    assert description.shape == (1, 28, 28)
    assert Description.from_json(description.to_json()) == description


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"images": 3}', '{"images": 3, "classes": 1}'])
def test_a_damaged_description_is_an_error(text):
    with pytest.raises(CheckpointError, match="description in this checkpoint is damaged"):
        Description.from_json(text)
