"""The command ``minires``. Each subcommand imports what it needs when it runs, so that ``--help`` is quick."""

from __future__ import annotations

import argparse
import io
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from minires.errors import MiniresError, SettingsError

_FLAGS: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("--model", {"default": "resnet20"}, "resnet18 … resnet200, resnet20 … resnet1202 (CIFAR), plain20 … plain110"),
    (
        "--data",
        {"default": "fashion-mnist-mini"},
        "fashion-mnist-mini (embedded), fashion-mnist, cifar10, cifar100, folder",
    ),
    ("--root", {"metavar": "DIR"}, "where the data are; a folder holds train/CLASS/ and test/CLASS/ (or val/CLASS/)"),
    ("--size", {"type": int}, "height and width of the images of a folder (224; 32 for a CIFAR network)"),
    ("--epochs", {"type": int, "default": 8}, "passes over the training images"),
    ("--batch-size", {"type": int, "default": 128}, "images in a step"),
    ("--lr", {"type": float, "default": 0.2}, "the largest learning rate of the schedule"),
    ("--schedule", {"default": "one-cycle"}, "constant, multistep, cosine, one-cycle"),
    (
        "--milestones",
        {"type": int, "nargs": "+", "metavar": "EPOCH"},
        "epochs done before each drop to a tenth, for multistep (a half and three quarters of all)",
    ),
    ("--momentum", {"type": float, "default": 0.9}, "of SGD"),
    ("--nesterov", {"action": "store_true"}, "Nesterov's momentum"),
    ("--weight-decay", {"type": float, "default": 5e-4}, "of SGD, on all parameters"),
    ("--label-smoothing", {"type": float, "default": 0.0}, "of the training loss"),
    ("--augment", {"default": "flip"}, "none, flip, crop-flip"),
    ("--seed", {"type": int, "default": 0}, "of everything random"),
    ("--device", {"default": "cpu"}, "cpu, cuda, cuda:1, …"),
    ("--dtype", {"default": "float32"}, "float32, float16; the latter for CUDA: on the CPU it is correct and slow"),
    ("--threads", {"type": int}, "threads that compute (all CPUs); the results do not depend on it"),
    ("--out", {"metavar": "DIR"}, "where the run is kept (runs/DATA-MODEL-seedSEED); must be empty or not exist"),
    ("--quiet", {"action": "store_true"}, "print nothing"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with ``arguments``, by default those of the process; its exit code.

    0: done; 1: a check failed; 2: an error, told in one line on stderr (of the command line itself, by SystemExit);
    130: interrupted by Ctrl-C.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # rather a "?" than no table where the terminal has no "×"
    try:
        options = _parser().parse_args(arguments)
        command: Callable[[argparse.Namespace], int | None] = options.command
        return command(options) or 0
    except (MiniresError, OSError) as error:
        print(f"minires: error: {error}", file=sys.stderr)
        return 2
    except MemoryError as error:
        print(f"minires: error: not enough memory: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as interrupt:
        print(f"minires: {str(interrupt) or 'interrupted'}", file=sys.stderr)
        return 130


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, as all others of the command."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"minires: error: {message}; see {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    from minires import __version__

    parser = _Parser(prog="minires", description="A residual network you can read end to end.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"minires {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Callable[[argparse.Namespace], int | None], text: str) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = commands.add_parser(
            name, help=text, description=text[0].upper() + text[1:] + ".", allow_abbrev=False
        )
        made.set_defaults(command=command)
        return made

    train = add("train", _train, "train a network, or go on with a run")
    for flag, how, text in _FLAGS:
        # Only what was typed arrives, so that a resumed run can tell a contradiction from a default.
        shown = f" ({how['default']})" if "default" in how else ""
        train.add_argument(flag, **{**how, "default": argparse.SUPPRESS}, help=text + shown)
    train.add_argument(
        "--resume",
        nargs="?",
        const=True,
        default=None,
        metavar="RUN",
        help="go on, bit for bit, with the run in this directory or of this last.safetensors (that in --out); its "
        "settings are taken over",
    )

    kept = "best.safetensors or last.safetensors of a run, or its directory, which stands for the best"
    evaluate = add("evaluate", _evaluate, "print a checkpoint's accuracy and loss on the test images")
    evaluate.add_argument("checkpoint", metavar="CHECKPOINT", help=kept)
    evaluate.add_argument("--data", help="another data set with the same classes (the run's own)")
    evaluate.add_argument("--root", metavar="DIR", help="where the data are (as for the run)")
    evaluate.add_argument(
        "--batch-size", type=int, help="images at a time (as for the run: then the loss is the same to the last digit)"
    )
    evaluate.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, … (cpu)")

    predict = add("predict", _predict, "print the five most probable classes of image files; needs minires[image]")
    predict.add_argument("checkpoint", metavar="CHECKPOINT", help=kept)
    predict.add_argument("images", metavar="IMAGE", nargs="+", help="scaled and cut to the size that was learnt")
    predict.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, … (cpu)")

    summary = add("summary", _summary, "print a network's layers, output shapes, parameters, multiply-adds, memory")
    summary.add_argument("model", metavar="MODEL", help="as for train --model")
    summary.add_argument(
        "--input", metavar="CxHxW", help="the shape of an image (3x224x224; 3x32x32 for a CIFAR network)"
    )
    summary.add_argument("--num-classes", type=int, help="outputs of the network (1000; 10 for a CIFAR network)")

    profile = add("profile", _profile, "measure where a training step's time goes, with the plan of each convolution")
    profile.add_argument("model", metavar="MODEL", help="as for train --model")
    profile.add_argument(
        "--input", metavar="CxHxW", help="the shape of an image (3x224x224; 3x32x32 for a CIFAR network)"
    )
    profile.add_argument("--batch-size", type=int, default=16, help="images in a step (16)")
    profile.add_argument("--inference", action="store_true", help="a forward pass in evaluation mode instead")
    profile.add_argument(
        "--fold", action="store_true", help="with batch norm folded into the convolutions; inference only"
    )
    profile.add_argument("--steps", type=int, default=7, help="how many are measured (7)")
    profile.add_argument("--threads", type=int, help="threads that compute (all CPUs)")

    check = add("check", _check, "prove gradients: of every operation, or of your own; needs minires[testing]")
    check.add_argument(
        "operations",
        metavar="OPERATION",
        nargs="*",
        help="conv2d, add, … (all); or module:name or file.py:name of your own, found from the current directory: an "
        "Op, a Module, a function of Tensors, a tuple (forward, vjp), or a function of arrays beside its name_vjp, "
        "name_grad, name_backward or name_bwd",
    )
    check.add_argument("--device", help="cpu, cuda, cuda:1, … (all there are; of your own: cpu)")
    check.add_argument("--kernels", choices=("reference", "fast", "cuda"), help="one kernel set (all)")
    check.add_argument("--dtype", choices=("float64", "float32"), help="one dtype (both)")
    check.add_argument(
        "--examples",
        type=int,
        metavar="N",
        help="cases in each row, each in five memory orders (3; of your own 20, of a module 3)",
    )
    check.add_argument("--seed", type=int, default=0, help="of the cases (0)")
    check.add_argument(
        "--shapes", nargs="+", metavar="SHAPE", help="of your own operation's inputs, as in 2x3 3 (drawn, all equal)"
    )
    check.add_argument(
        "--order", type=int, choices=(1, 2), default=1, help="2: second derivatives of your own operation, too (1)"
    )
    check.add_argument("--json", metavar="FILE", help="write the whole table there; - is stdout")
    return parser


def _train(options: argparse.Namespace) -> None:
    from minires.train.loop import last_of, resumed_settings, train
    from minires.train.settings import Settings

    given = {name: value for name, value in vars(options).items() if name not in ("command", "resume")}
    if "milestones" in given:
        given["milestones"] = tuple(given["milestones"])
    if options.resume is None:
        settings, resume = Settings(**given), None
    else:
        resume = last_of(Settings(**given).directory if options.resume is True else options.resume)
        settings = resumed_settings(resume, **given)
    result = train(settings, resume=resume or False)
    if not settings.quiet:
        print(
            f"finished: test accuracy {result.history[-1]['test_accuracy']:.4f} after {len(result.history)} epochs, "
            f"best {result.best['test_accuracy']:.4f} after epoch {result.best['epoch']}; "
            f"see {result.directory}"
        )


def _evaluate(options: argparse.Namespace) -> None:
    from minires.train import evaluate

    found = evaluate(options.checkpoint, options.data, options.root, options.batch_size, options.device, quiet=False)
    print(f"accuracy {found.accuracy!r}  loss {found.loss!r}  on {found.images} test images")
    if found.recorded is not None:
        accuracy, loss = found.recorded["test_accuracy"], found.recorded["test_loss"]
        print(f"accuracy {accuracy!r}  loss {loss!r}  recorded after epoch {found.recorded['epoch']}")


def _predict(options: argparse.Namespace) -> None:
    from minires.train import predict

    for image, answers in zip(options.images, predict(options.checkpoint, options.images, options.device), strict=True):
        print(image)
        for name, probability in answers:
            print(f"  {100 * probability:6.2f} %  {name}")


def _summary(options: argparse.Namespace) -> None:
    from minires import models
    from minires.models.summary import summarize

    shape = _image_shape(options)
    classes = {} if options.num_classes is None else {"num_classes": options.num_classes}
    if classes and not 0 < options.num_classes < 2**31:
        raise SettingsError(f"num-classes must be an integer from 1 to 2**31 - 1, got {options.num_classes}")
    print(summarize(getattr(models, options.model)(in_channels=shape[0], **classes), shape))


def _check(options: argparse.Namespace) -> int:
    from minires import __version__

    try:
        from minires.testing.catalogue.command import Options, run
    except ModuleNotFoundError as error:
        if error.name != "hypothesis":
            raise
        raise SettingsError("minires check needs Hypothesis: pip install minires[testing]") from error
    given = {name: value for name, value in vars(options).items() if name != "command"}
    return 0 if run(Options(**given), __version__) else 1


def _profile(options: argparse.Namespace) -> None:
    from minires import models, nn, threads
    from minires.train.profile import profile
    from minires.train.settings import check_threads

    shape = _image_shape(options)
    for name in ("batch_size", "steps", "threads"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise SettingsError(f"{name.replace('_', '-')} must be at least 1, got {value}")
    check_threads(options.threads)
    if options.fold and not options.inference:
        raise SettingsError("--fold is for inference: batch norm is folded by its running statistics")
    if options.threads is not None:
        threads.set_num_threads(options.threads)
    model = getattr(models, options.model)(in_channels=shape[0])
    model = nn.fold_batch_norm(model.eval()) if options.fold else model
    phase = "inference" if options.inference else "training"
    print(profile(model, (options.batch_size, *shape), phase=phase, steps=options.steps))


def _image_shape(options: argparse.Namespace) -> tuple[int, ...]:
    """(C, H, W) of --input, or what is natural for the network."""
    from minires.train.settings import model_names, natural_size

    if options.model not in model_names():
        raise SettingsError(f"model {options.model!r} is not one of {', '.join(model_names())}")
    size = natural_size(options.model)
    return (3, size, size) if options.input is None else _shape(options.input)


def _shape(text: str) -> tuple[int, ...]:
    sizes = re.fullmatch(r"([1-9]\d*)[x×]([1-9]\d*)[x×]([1-9]\d*)", text)
    if not sizes:
        raise SettingsError(f"input {text!r} is not a shape; expected channels, height and width, as in 3x224x224")
    return tuple(map(int, sizes.groups()))
