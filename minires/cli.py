"""The command ``minires``. Each subcommand imports its modules when it runs, so that ``--help`` is quick."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

from minires.command_line import Parser
from minires.errors import MiniresError, SettingsError, install_command

_FLAGS: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("--model", {"default": "resnet20"}, "resnet18 … resnet200, resnet20 … resnet1202 (CIFAR), plain20 … plain110"),
    (
        "--data",
        {"default": "fashion-mnist-mini"},
        "fashion-mnist-mini (embedded), fashion-mnist, cifar10, cifar100, folder",
    ),
    (
        "--root",
        {"metavar": "DIR"},
        "directory of the data; a folder holds train/CLASS/, test/CLASS/ (or val/CLASS/)",
    ),
    ("--size", {"type": int}, "height and width of the images of a folder (224; 32 for a CIFAR network)"),
    ("--epochs", {"type": int, "default": 8}, "passes over the training images"),
    ("--batch-size", {"type": int, "default": 128}, "images in a step"),
    ("--lr", {"type": float, "default": 0.2}, "the largest learning rate of the schedule"),
    ("--schedule", {"default": "one-cycle"}, "constant, multistep, cosine, one-cycle"),
    (
        "--milestones",
        {"type": int, "nargs": "+", "metavar": "EPOCH"},
        "epochs done before each drop to a tenth, for multistep (1/2 and 3/4 of all)",
    ),
    ("--momentum", {"type": float, "default": 0.9}, "of SGD"),
    ("--nesterov", {"action": "store_true"}, "Nesterov's momentum"),
    ("--weight-decay", {"type": float, "default": 5e-4}, "of SGD, on all parameters"),
    ("--label-smoothing", {"type": float, "default": 0.0}, "of the training loss"),
    ("--augment", {"default": "flip"}, "none, flip, crop-flip"),
    ("--seed", {"type": int, "default": 0}, "of everything random"),
    ("--device", {"default": "cpu"}, "cpu, cuda, cuda:1, …"),
    ("--dtype", {"default": "float32"}, "float32, float16; float16 is for CUDA: on the CPU it is correct but slow"),
    ("--kernels", {"metavar": "SET"}, "reference (the text-book form), fast, cuda (the device's own)"),
    (
        "--threads",
        {"type": int},
        "number of threads (the CPUs that this process may use); the results do not depend on it",
    ),
    ("--out", {"metavar": "DIR"}, "directory of the run (runs/DATA-MODEL-seedSEED)"),
    ("--quiet", {"action": "store_true"}, "print nothing"),
)

_CLOSED = 128 + 13  # the exit code that a shell reports for SIGPIPE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with ``arguments``, by default those of the process, and return its exit code.

    - 0: done
    - 1: a check failed
    - 2: an error, reported as one line on stderr (an error of the command line itself raises SystemExit)
    - 130, 143, 129: stopped by Ctrl-C, SIGTERM, SIGHUP
    - 141: the reader of the output has closed it, as in ``| head``
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # print "?" for "×" on a terminal without it
    try:
        code = _run(_parser(), list(sys.argv[1:] if arguments is None else arguments))
    except SystemExit as ended:  # --help, or an error of the command line
        raise SystemExit(_flushed(int(ended.code or 0))) from None
    except BrokenPipeError:
        code = _CLOSED
    return _flushed(code)


def _run(parser: Parser, arguments: list[str]) -> int:
    try:
        options = parser.understand(arguments)
        command: Callable[[argparse.Namespace], int | None] = options.command
        return command(options) or 0
    except MiniresError as error:
        return _tell(parser.as_typed(arguments[0], str(error)))
    except BrokenPipeError:
        raise
    except OSError as error:
        return _tell(f"{error.strerror}: {error.filename}" if error.filename else error.strerror or str(error))
    except MemoryError as error:
        return _tell(f"not enough memory: {error}")
    except KeyboardInterrupt as interrupt:
        print(f"minires: {str(interrupt) or 'interrupted'}", file=sys.stderr)
        return 128 + int(getattr(interrupt, "signal", signal.SIGINT))


def _tell(text: str) -> int:
    """Print an error as one line, and return the exit code."""
    with contextlib.suppress(OSError):
        print(f"minires: error: {text}", file=sys.stderr)
    return 2


def _flushed(code: int) -> int:
    """Flush stdout, and return ``code``, or another exit code if that fails."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except OSError as error:
        with contextlib.suppress(OSError, ValueError):  # otherwise Python flushes again at exit, and fails
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)
        return _CLOSED if isinstance(error, BrokenPipeError) else _tell(f"cannot write the output: {error.strerror}")


def _parser() -> Parser:
    from minires import __version__

    parser = Parser(prog="minires", description="A residual network you can read end to end.")
    parser.add_argument("--version", action="version", version=f"minires {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Callable[[argparse.Namespace], int | None], text: str) -> argparse.ArgumentParser:
        made: Parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        made.set_defaults(command=command)
        parser.commands[name] = made
        return made

    train = add("train", _train, "train a network, or resume a run")
    for flag, how, text in _FLAGS:
        # Options that are not given are absent, so that a resumed run can tell a contradiction from a default.
        shown = f" ({how['default']})" if "default" in how else ""
        train.add_argument(flag, **{**how, "default": argparse.SUPPRESS}, help=text + shown)
    train.add_argument(
        "--resume",
        nargs="?",
        const=True,
        default=None,
        metavar="RUN",
        help="resume, bit for bit, the run in this directory or of this last.safetensors (that in --out), with its "
        "settings; --epochs may be larger, and --root, --device, --kernels, --threads and --out may differ",
    )

    kept = "best.safetensors or last.safetensors of a run, or its directory for the best"
    evaluate = add(
        "evaluate",
        _evaluate,
        "print a checkpoint's accuracy and loss on the test images, or on val/ if there is no test/",
    )
    evaluate.add_argument("checkpoint", metavar="CHECKPOINT", help=kept)
    evaluate.add_argument("--data", help="another data set with the same classes (the run's own)")
    evaluate.add_argument("--root", metavar="DIR", help="directory of the data (as for the run)")
    evaluate.add_argument(
        "--batch-size", type=int, help="images in a batch (as for the run, which gives the same loss to the last digit)"
    )
    evaluate.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, … (cpu)")
    evaluate.add_argument("--kernels", metavar="SET", help="reference, fast, cuda (those of the run)")

    predict = add("predict", _predict, "print the five most probable classes of image files; needs the extra 'image'")
    predict.add_argument("checkpoint", metavar="CHECKPOINT", help=kept)
    predict.add_argument(
        "images", metavar="IMAGE", nargs="+", help="scaled and cut to the size that the network learnt"
    )
    predict.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, … (cpu)")
    predict.add_argument("--kernels", metavar="SET", help="reference, fast, cuda (those of the device)")

    summary = add("summary", _summary, "print a network's layers, output shapes, parameters, multiply-adds, memory")
    summary.add_argument("model", metavar="MODEL", help="as for train --model")
    summary.add_argument(
        "--input", metavar="CxHxW", help="the shape of an image (3x224x224; 3x32x32 for a CIFAR network)"
    )
    summary.add_argument("--num-classes", type=int, help="outputs of the network (1000; 10 for a CIFAR network)")

    profile = add("profile", _profile, "time a training step kernel by kernel, with the plan of each convolution")
    profile.add_argument("model", metavar="MODEL", help="as for train --model")
    profile.add_argument(
        "--input", metavar="CxHxW", help="the shape of an image (3x224x224; 3x32x32 for a CIFAR network)"
    )
    profile.add_argument("--batch-size", type=int, default=16, help="images in a step (16)")
    profile.add_argument("--inference", action="store_true", help="a forward pass in evaluation mode instead")
    profile.add_argument(
        "--fold", action="store_true", help="with batch norm folded into the convolutions; inference only"
    )
    profile.add_argument("--steps", type=int, default=7, help="number of measured steps (7)")
    profile.add_argument("--kernels", metavar="SET", default="fast", help="reference, fast (fast)")
    profile.add_argument("--threads", type=int, help="number of threads (the CPUs that this process may use)")

    check = add("check", _check, "check the gradients of every operation, or of your own; needs the extra 'testing'")
    check.add_argument(
        "operations",
        metavar="OPERATION",
        nargs="*",
        help="conv2d, add, … (all); or module:name or file.py:name of your own, found from the current directory: an "
        "Op, a Module, a function of Tensors, a tuple (forward, vjp), or a function of arrays beside its name_vjp, "
        "name_grad, name_backward or name_bwd",
    )
    check.add_argument("--device", help="cpu, cuda, cuda:1, … (all available; for your own: cpu)")
    check.add_argument(
        "--kernels", choices=("reference", "fast", "cuda"), help="one kernel set (all; for your own: the device's)"
    )
    check.add_argument("--dtype", choices=("float64", "float32"), help="one dtype (both; for your own: float64)")
    check.add_argument(
        "--examples",
        type=int,
        metavar="N",
        help="cases in each row, each in five memory orders (3; for your own 20, for a module 3)",
    )
    check.add_argument("--seed", type=int, default=0, help="seed of the cases (0)")
    check.add_argument(
        "--shapes",
        nargs="+",
        metavar="SHAPE",
        help="of your own operation's inputs, as in 2x3 3 (all the same, random)",
    )
    check.add_argument(
        "--order", type=int, choices=(1, 2), default=1, help="2: also second derivatives of your own operation (1)"
    )
    check.add_argument("--json", metavar="FILE", help="write the whole table to this file; - is stdout")
    return parser


def _train(options: argparse.Namespace) -> None:
    from minires.train import command

    command.train(options)


def _evaluate(options: argparse.Namespace) -> None:
    from minires.train import command

    command.evaluate(options)


def _predict(options: argparse.Namespace) -> None:
    from minires.train import command

    command.predict(options)


def _summary(options: argparse.Namespace) -> None:
    from minires import models
    from minires.models.summary import summarize
    from minires.train import checks

    shape = _image_shape(options)
    classes = {} if options.num_classes is None else {"num_classes": options.num_classes}
    if classes:
        checks.integer("num_classes", options.num_classes)
    print(summarize(getattr(models, options.model)(in_channels=shape[0], **classes), shape))


def _check(options: argparse.Namespace) -> int:
    from minires import __version__

    try:
        from minires.testing.catalogue.command import Options, run
    except ModuleNotFoundError as error:
        if error.name != "hypothesis":
            raise
        raise SettingsError(f"minires check needs Hypothesis: {install_command('testing')}") from error
    given = {name: value for name, value in vars(options).items() if name != "command"}
    return 0 if run(Options(**given), __version__) else 1


def _profile(options: argparse.Namespace) -> None:
    from minires.train import command

    command.profile(options, _image_shape(options))


def _image_shape(options: argparse.Namespace) -> tuple[int, ...]:
    """Return (C, H, W) from --input, or the shape that the network was designed for."""
    from minires.train import checks
    from minires.train.settings import model_names, natural_size

    checks.one_of("model", options.model, model_names())
    size = natural_size(options.model)
    return (3, size, size) if options.input is None else _shape(options.input)


def _shape(text: str) -> tuple[int, ...]:
    sizes = re.fullmatch(r"([1-9]\d*)[x×]([1-9]\d*)[x×]([1-9]\d*)", text)
    if not sizes:
        raise SettingsError(f"`input` {text!r} is not a shape; expected channels, height and width, as in 3x224x224")
    return tuple(map(int, sizes.groups()))
