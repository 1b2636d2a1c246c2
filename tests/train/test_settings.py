import dataclasses
import json

import pytest

from minires import models
from minires.errors import CheckpointError, DeviceError, SettingsError
from minires.train import Settings
from minires.train.settings import FREE, model_names, natural_size

FOLDER = {"data": "folder", "root": "images"}


def test_settings_of_a_run_older_than_dtypes_are_those_of_float32():
    older = {name: value for name, value in json.loads(Settings().to_json()).items() if name != "dtype"}
    assert Settings.from_json(json.dumps(older)) == Settings(dtype="float32")


def test_settings_survive_the_journey_through_json():
    for settings in (
        Settings(),
        Settings(schedule="multistep", milestones=(2, 5), lr=1, **FOLDER, size=20, threads=2, nesterov=True),
        Settings(dtype="float16"),
    ):
        assert Settings.from_json(settings.to_json()) == settings


@pytest.mark.parametrize("text", ["", "[]", "{", '{"colour": 3}', '{"epochs": 0}', '{"epochs": "eight"}', "null"])
def test_settings_of_somebody_else_are_an_error(text):
    with pytest.raises(CheckpointError, match="settings in this checkpoint are not minires' own"):
        Settings.from_json(text)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "resnet21"}, "model 'resnet21' is not one of plain20, .*, resnet1202"),
        ({"model": "summarize"}, "model 'summarize' is not one of"),
        ({"data": "mnist"}, "data 'mnist' is not one of fashion-mnist-mini, fashion-mnist, cifar10, cifar100, folder"),
        ({"data": "cifar10"}, "the data cifar10 need a root"),
        ({"root": "x"}, "root 'x' has no use: fashion-mnist-mini comes with the package"),
        ({"size": 32}, "size 32 has no use"),
        ({**FOLDER, "size": 0}, "size must be an integer of at least 1, got 0"),
        ({"epochs": 0}, "epochs must be an integer of at least 1, got 0"),
        ({"epochs": 2.0}, r"epochs must be an integer of at least 1, got 2\.0"),
        ({"batch_size": True}, "batch_size must be an integer of at least 1, got True"),
        ({"lr": 0}, "lr must be a number greater than 0 .* got 0"),
        ({"lr": float("nan")}, "lr must be a number greater than 0 .* got nan"),
        ({"lr": float("inf")}, "lr must be a number greater than 0 and less than inf, got inf"),
        ({"lr": "0.1"}, r"lr must be a number .* got '0\.1'"),
        ({"weight_decay": -1e-4}, "weight_decay must be a number at least 0"),
        ({"momentum": 1.0}, r"momentum must be a number at least 0 and less than 1, got 1\.0"),
        ({"momentum": 0, "nesterov": True}, "nesterov needs a momentum"),
        ({"label_smoothing": 1}, "label_smoothing must be a number at least 0 and less than 1, got 1"),
        ({"schedule": "linear"}, "schedule 'linear' is not one of constant, multistep, cosine, one-cycle"),
        ({"milestones": (1,)}, "milestones belong to the schedule multistep, not to one-cycle"),
        ({"schedule": "multistep", "milestones": (8,)}, r"milestones must lie between 1 and epochs - 1 = 7, got 8"),
        ({"schedule": "multistep", "milestones": (0,)}, "milestones must be an integer of at least 1, got 0"),
        ({"augment": "rotate"}, "augment 'rotate' is not one of none, flip, crop-flip"),
        ({"dtype": "float64"}, "dtype 'float64' is not one of float32, float16"),
        ({"seed": -1}, "seed must be an integer of at least 0, got -1"),
        ({"seed": 2**64}, "seed must be less than"),
        ({"threads": 0}, "threads must be an integer of at least 1, got 0"),
    ],
)
def test_an_impossible_setting_is_an_error_that_names_it(changes, message):
    with pytest.raises(SettingsError, match=message):
        Settings(**changes)


def test_a_name_of_no_device_is_an_error():
    with pytest.raises(DeviceError, match="device 'tpu' is not one of"):
        Settings(device="tpu")


OTHER = {
    "model": "plain20", "data": "cifar10", "size": 64, "epochs": 9, "batch_size": 64, "lr": 0.1,
    "schedule": "cosine", "momentum": 0.8, "nesterov": True, "weight_decay": 0.0, "label_smoothing": 0.1,
    "augment": "none", "seed": 1, "dtype": "float16",
}  # fmt: skip


def test_every_setting_is_either_free_or_kept_when_resuming():
    names = {field.name for field in dataclasses.fields(Settings)}
    assert names == {*OTHER, *FREE, "milestones"}


@pytest.mark.parametrize("name", OTHER)
def test_resuming_with_a_contradictory_setting_is_an_error_that_names_it(name):
    begun = Settings(**FOLDER)
    # A value that only the other data accept is compared all the same.
    other = Settings.from_json(json.dumps({**json.loads(begun.to_json()), name: OTHER[name]}))
    with pytest.raises(SettingsError, match=f"cannot resume with {name} {OTHER[name]!r}: the run was begun with"):
        other.check_continues(begun)


def test_milestones_must_be_the_same_when_resuming():
    begun = Settings(schedule="multistep", milestones=(2, 5))
    with pytest.raises(SettingsError, match=r"cannot resume with milestones \(3,\): the run was begun with \(2, 5\)"):
        Settings(schedule="multistep", milestones=(3,)).check_continues(begun)


def test_places_and_speed_may_change_when_resuming():
    Settings(data="cifar10", root="there", device="cuda:1", out="x", threads=3, quiet=True).check_continues(
        Settings(data="cifar10", root="here")
    )


def test_the_names_are_those_of_the_models():
    assert {"resnet18", "resnet20", "resnet200", "resnet1202", "plain20", "plain110"} <= set(model_names())
    assert not {"ResNet", "BasicBlock", "PadShortcut"} & set(model_names())
    for name in model_names():
        imagenet = "CifarResNet" not in str(getattr(models, name).__annotations__["return"])
        assert natural_size(name) == (224 if imagenet else 32), name


def test_the_directory_tells_runs_apart():
    assert str(Settings(seed=3).directory) == "runs/fashion-mnist-mini-resnet20-seed3"
    assert str(Settings(out="here").directory) == "here"
