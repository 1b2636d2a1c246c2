import dataclasses
import json
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from minires import kernels, models
from minires.errors import CheckpointError, DeviceError, SettingsError
from minires.train import Settings
from minires.train.settings import FREE, model_names, natural_size

FOLDER = {"data": "folder", "root": "images"}


@pytest.mark.parametrize("newer", ["dtype", "kernels"])
def test_settings_of_an_older_run_have_the_defaults_of_what_came_later(newer):
    older = {name: value for name, value in json.loads(Settings().to_json()).items() if name != newer}
    assert Settings.from_json(json.dumps(older)) == Settings()


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"epochs": np.int64(3)}, 3),
        ({"batch_size": np.uint8(3)}, 3),
        ({"seed": np.array(3)}, 3),
        ({"lr": np.float32(0.5)}, 0.5),
        ({"momentum": np.float16(0.5)}, 0.5),
        ({"weight_decay": Fraction(1, 4)}, 0.25),
        ({"nesterov": np.bool_(True)}, True),
        ({"model": np.str_("resnet32")}, "resnet32"),
        ({"milestones": np.array([2, 5]), "schedule": "multistep"}, (2, 5)),
        ({"milestones": [np.int32(2)], "schedule": "multistep"}, (2,)),
        ({"milestones": range(2, 4), "schedule": "multistep"}, (2, 3)),
        ({"out": Path("a/b")}, str(Path("a/b"))),
    ],
)
def test_numbers_and_texts_of_numpy_and_paths_become_those_of_python(given, kept):
    (name, *_) = given
    settings = Settings(**given)
    assert getattr(settings, name) == kept
    assert type(getattr(settings, name)) is type(kept)
    assert Settings.from_json(settings.to_json()) == settings


def test_a_root_is_kept_absolute_and_a_tilde_is_the_home_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    for root in ("images", Path("images"), tmp_path / "images", "there/../images"):
        assert Settings(data="folder", root=root).root == str(tmp_path / "images")
    assert Settings(data="folder", root="~/images").root == str(tmp_path / "home" / "images")
    assert Settings(out="~/run").directory == tmp_path / "home" / "run"


def test_a_run_may_have_more_epochs_when_resuming():
    Settings(epochs=9).check_continues(Settings(epochs=8))


def test_all_contradictions_are_told_side_by_side():
    message = (
        r"with `epochs` 7 \(the run has 8\), `lr` 0\.1 \(the run has 0\.2\), `seed` 3 \(the run has 0\); leave them out"
    )
    with pytest.raises(SettingsError, match=message):
        Settings(lr=0.1, seed=3, epochs=7).check_continues(Settings())


@pytest.mark.parametrize("name", ["reference", "fast"])
def test_the_kernels_that_were_asked_for_compute(name):
    with Settings(kernels=name).using_kernels():
        assert kernels.choose(np.zeros(1, np.float32)).name == name
    with kernels.using("reference"), Settings().using_kernels():
        assert kernels.choose(np.zeros(1, np.float32)).name == "reference"


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
        ({"data": "cifar10"}, "data cifar10 needs a root"),
        ({"root": "x"}, "root 'x' has no use: fashion-mnist-mini comes with the package"),
        ({"size": 32}, "size 32 has no use"),
        ({**FOLDER, "size": 0}, "size must be an integer of at least 1, got 0"),
        ({"epochs": 0}, "epochs must be an integer of at least 1, got 0"),
        ({"epochs": 2.0}, r"epochs must be an integer of at least 1, got 2\.0"),
        ({"batch_size": True}, "batch_size must be an integer of at least 1, got True"),
        ({"lr": 0}, "lr must be a number greater than 0 .* got 0"),
        ({"lr": float("nan")}, "lr must be a number greater than 0 .* got nan"),
        ({"lr": float("inf")}, "lr must be a number greater than 0 and finite, got inf"),
        ({"lr": "0.1"}, r"lr must be a number .* got '0\.1'"),
        ({"weight_decay": -1e-4}, "weight_decay must be a number at least 0"),
        ({"momentum": 1.0}, r"momentum must be a number at least 0 and less than 1, got 1\.0"),
        ({"momentum": 0, "nesterov": True}, "nesterov needs a momentum"),
        ({"label_smoothing": 1}, "label_smoothing must be a number at least 0 and less than 1, got 1"),
        ({"schedule": "linear"}, "schedule 'linear' is not one of constant, multistep, cosine, one-cycle"),
        ({"milestones": (1,)}, "milestones belong to the schedule multistep, not to one-cycle"),
        ({"schedule": "multistep", "milestones": (8,)}, "milestones must lie before the end of the 8 epochs, got 8"),
        ({"schedule": "multistep", "milestones": (0,)}, "milestones must be an integer of at least 1, got 0"),
        ({"augment": "rotate"}, "augment 'rotate' is not one of none, flip, crop-flip"),
        ({"dtype": "float64"}, "dtype 'float64' is not one of float32, float16"),
        ({"seed": -1}, "seed must be an integer of at least 0, got -1"),
        ({"seed": 2**64}, "seed must be at most 18446744073709551615, got 18446744073709551616"),
        ({"threads": 0}, "threads must be an integer of at least 1, got 0"),
        ({"threads": 1025}, "threads must be at most 1024, got 1025"),
        ({"model": "ResNet-20"}, "model 'ResNet-20' is not one of .*; did you mean 'resnet20'"),
        ({"dtype": "float64"}, "dtype 'float64' is not one of float32, float16$"),
        ({"dtype": "Float32"}, "dtype 'Float32' is not one of .*; did you mean 'float32'"),
        ({"data": "cifar-10"}, "data 'cifar-10' is not one of .*; did you mean 'cifar10'"),
        ({"batch_size": 2**31}, "batch_size must be at most 2147483647, got 2147483648"),
        ({"lr": 1e39}, r"lr must fit into float32, that is, be at most 3\.4e\+38; got 1e\+39"),
        ({"weight_decay": 1e99}, "weight_decay must fit into float32"),
        ({"nesterov": "no"}, "nesterov must be True or False, got 'no'"),
        ({"quiet": 1}, "quiet must be True or False, got 1"),
        ({"milestones": 3}, r"milestones must be epochs in a sequence, as in \(4, 6\), got 3"),
        ({"milestones": "3"}, "milestones must be epochs in a sequence"),
        ({"kernels": "quick"}, "kernels 'quick' is not one of reference, fast, cuda"),
        ({"kernels": "cuda"}, "kernels cuda are for a GPU, and device is cpu; leave kernels out"),
        ({"kernels": "fast", "device": "cuda"}, "kernels fast are for the CPU, and device is cuda"),
        ({"out": ""}, "out must be the path of a directory, got ''"),
        ({"out": 3}, "out must be the path of a directory, got 3"),
        ({"data": "folder", "root": ""}, "root must be the path of a directory, got ''"),
    ],
)
def test_an_impossible_setting_is_an_error_that_names_it(changes, message):
    with pytest.raises(SettingsError) as caught:
        Settings(**changes)
    assert re.search(message, str(caught.value).replace("`", ""))  # the names of settings are in backticks
    assert str(caught.value).startswith("`")


def test_a_name_of_no_device_is_an_error():
    with pytest.raises(DeviceError, match="`device` 'tpu' is not one of"):
        Settings(device="tpu")


OTHER = {
    "model": "plain20", "data": "cifar10", "size": 64, "epochs": 7, "batch_size": 64, "lr": 0.1,
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
    with pytest.raises(
        SettingsError, match=rf"cannot resume with `{name}` {OTHER[name]!r} \(the run has .*\); leave it out"
    ):
        other.check_continues(begun)


def test_milestones_must_be_the_same_when_resuming():
    begun = Settings(schedule="multistep", milestones=(2, 5))
    with pytest.raises(SettingsError, match=r"cannot resume with `milestones` \(3,\) \(the run has \(2, 5\)\)"):
        Settings(schedule="multistep", milestones=(3,)).check_continues(begun)


def test_places_and_speed_may_change_when_resuming():
    Settings(
        data="cifar10", root="there", device="cuda:1", kernels="cuda", out="x", threads=3, quiet=True
    ).check_continues(Settings(data="cifar10", root="here"))


def test_the_names_are_those_of_the_models():
    assert {"resnet18", "resnet20", "resnet200", "resnet1202", "plain20", "plain110"} <= set(model_names())
    assert not {"ResNet", "BasicBlock", "PadShortcut"} & set(model_names())
    for name in model_names():
        imagenet = "CifarResNet" not in str(getattr(models, name).__annotations__["return"])
        assert natural_size(name) == (224 if imagenet else 32), name


def test_the_directory_tells_runs_apart():
    assert str(Settings(seed=3).directory) == "runs/fashion-mnist-mini-resnet20-seed3"
    assert str(Settings(out="here").directory) == "here"
