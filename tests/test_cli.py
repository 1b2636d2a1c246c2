import dataclasses
import json
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from minires import cli, device, functional
from minires.cli import main
from minires.errors import SettingsError
from minires.train import Settings


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("folder")
    rng = np.random.default_rng(0)
    for part, count in (("train", 6), ("test", 3)):
        for channel, name in enumerate(("red", "green", "blue")):
            (root / part / name).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 60, (8, 8, 3), np.uint8)
                pixels[..., channel] += 150
                Image.fromarray(pixels).save(root / part / name / f"{i}.png")
    return root


@pytest.fixture
def command(folder, tmp_path):
    flags = "--size 8 --epochs 2 --batch-size 6 --lr 0.05 --augment none"
    return ["train", "--data", "folder", "--root", str(folder), *flags.split(), "--out", str(tmp_path / "run")]


@pytest.fixture(scope="module")
def trained(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained")
    flags = "--size 8 --epochs 2 --batch-size 6 --lr 0.05 --augment none --quiet"
    assert main(["train", "--data", "folder", "--root", str(folder), *flags.split(), "--out", str(out)]) == 0
    return out


@pytest.fixture(autouse=True)
def ctrl_c():
    """Handle Ctrl-C as in a terminal, even if the tests run in the background, where it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def told(capsys, code, arguments):
    """Return the single line of an error."""
    assert main(arguments) == code
    out, err = capsys.readouterr()
    assert err.count("\n") == 1
    assert "Traceback" not in out + err
    return err


def test_the_flags_say_the_defaults_of_the_settings():
    said = {flag: how.get("default") for flag, how, _ in cli._FLAGS if how.get("action") != "store_true"}
    for field in dataclasses.fields(Settings):
        flag = "--" + field.name.replace("_", "-")
        assert said.get(flag, False) == field.default, flag
    assert len(cli._FLAGS) == len(dataclasses.fields(Settings))


def test_the_defaults_are_the_recipe():
    expected = (
        "--model resnet20 --data fashion-mnist-mini --epochs 8 --batch-size 128 --lr 0.2 --schedule one-cycle "
        "--weight-decay 5e-4 --augment flip --seed 0 --device cpu --momentum 0.9"
    )
    options = cli._parser().parse_args(["train", *expected.split(" ")])
    given = {name: value for name, value in vars(options).items() if name not in ("command", "resume")}
    assert Settings(**given) == Settings()


def test_training_evaluating_and_predicting(trained, folder, capsys):
    lines = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    best = max(lines, key=lambda line: line["test_accuracy"])
    assert main(["evaluate", str(trained / "best.safetensors")]) == 0
    out = capsys.readouterr().out
    assert out.splitlines() == [
        f"accuracy {best['test_accuracy']!r}  loss {best['test_loss']!r}  on 9 test images",
        f"accuracy {best['test_accuracy']!r}  loss {best['test_loss']!r}  recorded after epoch {best['epoch']}",
    ]
    assert main(["evaluate", str(trained)]) == 0  # the best network of the directory
    assert capsys.readouterr().out == out
    images = [str(folder / "test" / name / "0.png") for name in ("red", "blue")]
    assert main(["predict", str(trained / "last.safetensors"), *images]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [lines[0], lines[4]] == images
    for block in (lines[1:4], lines[5:8]):
        assert sorted(line.split()[-1] for line in block) == ["blue", "green", "red"]
        percents = [float(line.split()[0]) for line in block]
        assert percents == sorted(percents, reverse=True)
        assert sum(percents) == pytest.approx(100, abs=0.02)  # three numbers, each rounded by at most 0.005


def test_an_interrupted_run_exits_with_130_and_its_message_resumes_it(command, trained, monkeypatch, capsys, tmp_path):
    calls, real = [], functional.cross_entropy

    def cross_entropy(*arguments, **options):
        calls.append(1)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGINT)
        return real(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(functional, "cross_entropy", cross_entropy)
        err = told(capsys, 130, command)
    assert err.startswith(
        "minires: interrupted after 0 of 2 epochs and 2 of 3 batches, all saved; go on with: minires "
    )
    arguments = err.strip().rpartition("minires ")[2].split()
    assert main(arguments) == 0
    assert "finished: test accuracy" in capsys.readouterr().out
    for name in ("best.safetensors", "metrics.jsonl"):
        assert (tmp_path / "run" / name).exists()

    def without_times(path):
        return [{**json.loads(line), "seconds": 0, "images_per_second": 0} for line in path.read_text().splitlines()]

    assert without_times(tmp_path / "run" / "metrics.jsonl") == without_times(trained / "metrics.jsonl")


def test_resume_without_a_value_goes_on_in_out(trained, capsys):
    settings = Settings(out=str(trained))
    assert main(["train", "--resume", "--out", str(settings.directory)]) == 0
    assert "finished: test accuracy" in capsys.readouterr().out


def test_a_finished_run_says_so_again(trained, capsys):
    assert main(["train", "--resume", str(trained / "last.safetensors")]) == 0
    assert "finished: test accuracy" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("train --model vgg16", "--model 'vgg16' is not one of plain20, "),
        ("train --lr -1", "--lr must be a number greater than 0"),
        ("train --milestones 3", "--milestones belong to the --schedule multistep"),
        ("train --data cifar10 --root nowhere", "data_batch_1.bin is missing"),
        ("train --device tpu", "--device 'tpu' is not one of"),
        ("train --dtype half", "--dtype 'half' is not one of float32, float16"),
        ("train --resume nowhere", "nowhere is missing"),
        ("evaluate nowhere.safetensors", "nowhere.safetensors is missing"),
        ("predict nowhere.safetensors a.png", "nowhere.safetensors is missing"),
        ("summary vgg16", "model 'vgg16' is not one of"),
        ("summary resnet20 --input 3x32", "--input '3x32' is not a shape"),
        ("summary resnet20 --input 3x0x32", "--input '3x0x32' is not a shape"),
        ("summary resnet20 --num-classes -3", "--num-classes must be an integer of at least 1, got -3"),
        ("summary resnet20 --num-classes 0", "--num-classes must be an integer of at least 1, got 0"),
        ("summary resnet20 --input 3x1048576x1048576", "is too large for this machine"),
        ("profile vgg16", "model 'vgg16' is not one of"),
        ("profile resnet20 --batch-size 0", "--batch-size must be an integer of at least 1, got 0"),
        ("profile resnet20 --fold", "--fold is for --inference"),
        ("profile resnet20 --threads 1000000", "--threads must be at most 1024, got 1000000"),
        ("train --threads 1000000", "--threads must be at most 1024, got 1000000"),
        ("train --model resnet21", "; did you mean 'resnet20'?"),
        ("train --data cifar", "; did you mean 'cifar10'?"),
        ("train --batch-size 0", "--batch-size must be an integer of at least 1, got 0"),
        ("train --lr 1e99", "--lr must fit into float32"),
        ("train --kernels cuda", "--kernels cuda are for a GPU, and --device is cpu; leave --kernels out"),
        ("train --out=", "--out must be the path of a directory, got ''"),
        ("train --data folder", "--data folder needs a --root"),
        ("train --resume .", "there is nothing to resume: last.safetensors is missing; expected a run's directory"),
        ("evaluate .", "there is no run in .: neither best.safetensors nor last.safetensors"),
        ("predict . a.png", "there is no run in .: neither"),
        ("profile resnet20 --kernels cuda", "--kernels cuda are for a GPU, and device is cpu"),
        ("profile resnet20 --threads 0", "--threads must be an integer of at least 1, got 0"),
    ],
)
def test_an_error_is_one_line_on_stderr(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    err = told(capsys, 2, arguments.split())
    assert err.startswith("minires: error: ")
    assert message in err
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("train --epochs x", "--epochs must be an integer, got 'x'; see minires train --help"),
        ("train --lr", "argument --lr: expected one argument; see minires train --help"),
        ("train --lr high", "--lr must be a number, got 'high'; see minires train --help"),
        ("train --batch 3", "unknown argument '--batch'; did you mean --batch-size?; see minires train --help"),
        ("train --bach-size=3", "unknown argument '--bach-size=3'; did you mean --batch-size?; see minires train"),
        ("train run", "unknown argument 'run'; see minires train --help"),
        (
            "evalute run",
            "'evalute' is not one of the commands train, evaluate, predict, summary, profile, check; did you",
        ),
        (
            "resume run",
            "'resume' is not one of the commands train, evaluate, predict, summary, profile, check; did you",
        ),
        ("--colour", "'--colour' is not one of the commands train"),
        ("train --amp", "unknown argument '--amp'; see minires train --help"),
        ("test", "'test' is not one of the commands train, evaluate, predict, summary, profile, check; see minires"),
        ("", "no command; expected one of train, evaluate, predict, summary, profile, check; see minires"),
    ],
)
def test_a_mistyped_command_is_told_in_one_line(arguments, message, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments.split())
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"minires: error: {message}")


def test_the_names_of_settings_are_pythons_in_python_and_options_in_the_command(capsys):
    with pytest.raises(SettingsError, match=r"^`batch_size` must be an integer of at least 1, got 0$"):
        Settings(batch_size=0)
    assert told(capsys, 2, ["train", "--batch-size", "0"]).startswith("minires: error: --batch-size must be an integer")


@pytest.mark.skipif(not hasattr(signal, "SIGPIPE"), reason="needs pipes as POSIX has them")
@pytest.mark.parametrize("closed", ["pipe", "stdout"])
def test_output_that_nobody_reads_ends_the_command_quietly(closed):
    code = "import os, sys; from minires.cli import main; sys.stdin.read(); sys.exit(main(['summary', 'resnet20']))"
    if closed == "stdout":
        code = "import sys; sys.stdout = None; " + code
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.close()
        process.stdin.close()
        err = process.stderr.read()
    assert (process.returncode, err) == (141 if closed == "pipe" else 0, b"")


def test_a_run_whose_output_nobody_reads_stops_and_says_how_to_go_on(command, capsys, monkeypatch):
    def broken(*_):
        raise BrokenPipeError

    monkeypatch.setattr("minires.train.report.say", broken)
    err = told(capsys, 141, command)
    assert "nobody reads the output any more; go on with: minires train --resume " in err


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_other_signals_save_too_and_have_the_exit_code_that_a_shell_expects(command, capsys, monkeypatch, name, code):
    real = functional.cross_entropy

    def cross_entropy(*arguments, **options):
        monkeypatch.setattr(functional, "cross_entropy", real)
        signal.raise_signal(getattr(signal, name))
        return real(*arguments, **options)

    monkeypatch.setattr(functional, "cross_entropy", cross_entropy)
    err = told(capsys, code, command)
    assert err.startswith(f"minires: interrupted by {name} after 0 of 2 epochs and 1 of 3 batches, all saved; go on")


def test_two_runs_do_not_share_a_directory(command, tmp_path):
    processes = [
        subprocess.Popen([sys.executable, "-m", "minires", *command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    told = {process.wait(): process.communicate()[1].decode() for process in processes}
    assert set(told) == {0, 2}
    assert re.search("is in use: process|exists and is not empty", told[2])


def test_a_run_is_found_from_another_directory_and_its_data_may_move(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(folder.parent)
    flags = "--size 8 --epochs 1 --batch-size 6 --quiet --data folder"
    assert main(["train", *flags.split(), "--root", folder.name, "--out", str(tmp_path / "run")]) == 0
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", "run"]) == 0
    (tmp_path / "moved").symlink_to(folder, target_is_directory=True)
    err = told(capsys, 2, ["evaluate", "run", "--root", "gone"])
    assert (
        f"there is no directory {tmp_path / 'gone'}, where the run's data should be; say where they are by --root"
        in err
    )
    for arguments in (
        ["evaluate", "run", "--root", "moved", "--kernels", "reference"],
        ["train", "--resume", "run", "--root", "moved", "--epochs", "2", "--kernels", "reference"],
        ["predict", "run", str(folder / "test/red/0.png"), "--kernels", "reference"],
        ["profile", "resnet20", "--kernels", "reference", "--batch-size", "1", "--steps", "1"],
    ):
        assert main(arguments) == 0
    out = capsys.readouterr().out
    for text in (
        "kernels  reference on cpu",
        "epochs are 2 and were 1",
        "resumed after 1 of 2 epochs",
        "reference kernels",
    ):
        assert text in out


def test_too_little_memory_is_an_error(capsys, monkeypatch):
    def fail(options):
        raise MemoryError("Unable to allocate 4.55 PiB")

    monkeypatch.setattr(cli, "_summary", fail)
    err = told(capsys, 2, ["summary", "resnet20"])
    assert err == "minires: error: not enough memory: Unable to allocate 4.55 PiB\n"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.parametrize("arguments", ["summary resnet20", "train --help"])
def test_a_terminal_without_unicode_shows_question_marks(arguments, encoding):
    command = [sys.executable, "-m", "minires", *arguments.split()]
    result = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONIOENCODING": encoding}, check=True)
    assert result.stderr == b""
    assert ("…".encode(encoding, "replace") if "train" in arguments else b"?") in result.stdout
    assert {"summary": b"269,722", "train": b"--label-smoothing"}[arguments.split()[0]] in result.stdout


def test_an_interrupt_during_the_imports_is_one_line():
    code = (
        "import builtins, signal, sys, minires.cli\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "real = builtins.__import__\n"
        "def press(name, *rest):\n"
        "    if name == 'minires.train.loop': signal.raise_signal(signal.SIGINT)\n"
        "    return real(name, *rest)\n"
        "builtins.__import__ = press\n"
        "sys.exit(minires.cli.main(['train']))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "minires: interrupted\n")


def test_a_contradiction_is_told_by_the_name_of_the_setting(trained, capsys):
    err = told(capsys, 2, ["train", "--resume", str(trained), "--lr", "0.3"])
    assert "cannot resume with --lr 0.3 (the run has 0.05); leave it out" in err


def test_a_used_directory_is_refused(trained, command, capsys):
    err = told(capsys, 2, [*command[:-1], str(trained)])
    assert "exists and is not empty" in err


def test_a_directory_that_cannot_be_made_is_an_error(command, capsys, tmp_path):
    (tmp_path / "file").write_text("")
    err = told(capsys, 2, [*command[:-1], str(tmp_path / "file" / "run")])
    assert err.startswith("minires: error: ")


def test_cuda_without_cupy_is_an_error(command, capsys, monkeypatch):
    monkeypatch.setattr(device, "available", lambda name="cuda": False)
    err = told(capsys, 2, [*command, "--device", "cuda"])
    assert "not available: it needs a driver and CuPy (pip install 'minires-net[cuda12]')" in err


@pytest.mark.parametrize(
    ("arguments", "parameters"),
    [
        ("resnet18", "11,689,512"),  # torchvision's
        ("resnet20", "269,722"),  # 0.27 million in the paper
        ("resnet20 --input 1x28x28 --num-classes 5", "269,109"),  # less 2 · 9 · 16 and 5 · 65
    ],
)
def test_a_summary_counts_parameters(arguments, parameters, capsys):
    assert main(["summary", *arguments.split()]) == 0
    assert parameters in capsys.readouterr().out


@pytest.mark.parametrize("options", ["", "--inference", "--inference --fold --threads 1"])
def test_a_profile_shows_plans(options, capsys, monkeypatch):
    monkeypatch.setattr("minires.threads.set_num_threads", lambda n: None)
    assert main(["profile", "resnet20", "--batch-size", "2", "--steps", "1", *options.split()]) == 0
    assert re.search(r"^conv2d(_act)? +2×16×32×32, 16×16×3×3 +winograd ", capsys.readouterr().out, re.MULTILINE)


def test_the_module_is_the_command():
    result = subprocess.run([sys.executable, "-m", "minires", "--help"], capture_output=True, text=True, check=True)
    assert result.stdout.startswith("usage: minires")
    for name in ("train", "evaluate", "predict", "summary", "profile", "check"):
        assert re.search(rf"^ +{name} ", result.stdout, re.MULTILINE)


def test_help_imports_no_training_and_no_extra():
    code = (
        "import sys, minires.cli\n"
        "try: minires.cli.main(['train', '--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('minires.train', 'tqdm', 'matplotlib', 'PIL', 'torch') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"
