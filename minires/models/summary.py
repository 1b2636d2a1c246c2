"""List what each layer of a network outputs, holds and costs, from one forward pass."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minires.autograd.op import no_grad
from minires.autograd.tensor import Tensor
from minires.errors import ShapeError
from minires.functional.creation import tensor
from minires.nn import Conv2d, Linear, Module
from minires.options import several


@dataclass(frozen=True)
class LayerRow:
    """A row of a `Summary`: one call of one layer.

    Attributes
    ----------
    path, type : the layer's path in the model, and the name of its class
    output_shape : (N, …)
    parameters : the number of scalars to learn that no earlier row has counted
    multiply_adds : of a convolution or a linear layer for all N images; 0 for other layers
    activation_bytes : of the output for all N images; 0 if the output is the input or a view of it
    """

    path: str
    type: str
    output_shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    activation_bytes: int


@dataclass(frozen=True)
class Summary:
    """The result of `summarize`. ``str()`` makes a table of it.

    Attributes
    ----------
    model : the name of the model's class
    input_shape : (N, C, H, W)
    rows : one for each call of a layer, in the order of the calls
    parameters : the number of scalars to learn in the whole model, each counted once, also in layers that did not run
    """

    model: str
    input_shape: tuple[int, ...]
    rows: tuple[LayerRow, ...]
    parameters: int

    @property
    def multiply_adds(self) -> int:
        """The multiply-adds of all convolutions and linear layers."""
        return sum(row.multiply_adds for row in self.rows)

    @property
    def activation_bytes(self) -> int:
        """The bytes of all outputs listed."""
        return sum(row.activation_bytes for row in self.rows)

    def __str__(self) -> str:
        head = ("layer", "type", "output", "parameters", "multiply-adds", "activations")
        body = [
            (
                row.path or "(the model)",
                row.type,
                " × ".join(map(str, row.output_shape)),
                f"{row.parameters:,}" if row.parameters else "",
                f"{row.multiply_adds:,}" if row.multiply_adds else "",
                _bytes(row.activation_bytes) if row.activation_bytes else "",
            )
            for row in self.rows
        ]
        if others := self.parameters - sum(row.parameters for row in self.rows):
            body.append(("(not in a layer that ran)", "", "", f"{others:,}", "", ""))
        total = ("total", "", "", f"{self.parameters:,}", f"{self.multiply_adds:,}", _bytes(self.activation_bytes))
        title = (
            f"{self.model} on {' × '.join(map(str, self.input_shape))}: {_scaled(self.parameters)} parameters, "
            f"{_scaled(self.multiply_adds)} multiply-adds, {_bytes(self.activation_bytes)} of activations"
        )
        return table(title, head, body, total, left=3)


def summarize(model: Module, input_shape: Sequence[int]) -> Summary:
    """Return the output shape, parameters, multiply-adds and activation bytes of each layer of ``model``.

    The model runs once, in evaluation mode, on one black image; multiply-adds and bytes are proportional to N. A layer
    is a module without modules inside. A layer that is called twice has two rows. The model is not changed.

    Multiply-adds are exact for `Conv2d`, N · K · P · Q · (C / groups) · R · S, and for `Linear`. Nothing else is
    counted, as in published figures. Additions of biases and shortcuts, batch norm, ReLU and pooling add a few per
    cent.

    Activations are the outputs of the layers listed, in bytes of their dtype, for N images (one image if
    ``input_shape`` has no N). A training step keeps about as much for its backward pass. It keeps less where batch
    norm and ReLU run as one operation, as the value between them is counted here but not kept. It keeps more for
    operations that are not layers, such as an addition, a mean or a function, and for what kernels save. Inference
    needs only the few largest activations at a time.

    Parameters
    ----------
    model : a module that takes one tensor
    input_shape : (C, H, W) or (N, C, H, W)

    Raises
    ------
    ShapeError : if ``input_shape`` is not three or four positive integers, does not fit the model, or is too large to
        be held in memory.
    """
    shape = several(input_shape) or ()
    if len(shape) not in (3, 4) or not all(_is_positive_integer(n) for n in shape):
        raise ShapeError(f"input_shape must be positive integers (C, H, W) or (N, C, H, W), got {input_shape!r}")
    N, *image = (int(n) for n in (shape if len(shape) == 4 else (1, *shape)))
    rows: list[LayerRow] = []
    counted: set[int] = set()
    paths: dict[Module, str] = {}
    for path, module in model.named_modules():
        paths.setdefault(module, path)

    def note(module: Module, inputs: tuple[Any, ...], output: Any) -> None:
        own = {id(p): p.numel() for p in module.parameters() if id(p) not in counted}
        counted.update(own)
        if isinstance(output, Tensor):
            shape = (N, *output.shape[1:]) if output.shape[:1] == (1,) else output.shape
            new = not any(isinstance(x, Tensor) and x._version is output._version for x in inputs)
            size = math.prod(shape) * output.dtype.itemsize if new else 0
            cost = math.prod(shape) * _multiply_adds_per_output(module)
        else:
            shape, size, cost = (), 0, 0
        rows.append(LayerRow(paths[module], type(module).__name__, shape, sum(own.values()), cost, size))

    modes = {module: module.training for module in paths}
    removals = [
        module.register_forward_hook(note) for module in paths if not any(True for _ in module.named_children())
    ]
    try:
        model.eval()
        with no_grad():
            model(_zeros(model, (1, *image)))
    finally:
        for remove in removals:
            remove()
        for module, mode in modes.items():
            module.training = mode
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Summary(type(model).__name__, (N, *image), tuple(rows), parameters)


def table(
    title: str, head: Sequence[str], body: Sequence[Sequence[str]], total: Sequence[str] | None = None, *, left: int
) -> str:
    """Return a table as text, with lines between its parts.

    Parameters
    ----------
    title, head, body, total : the text above the table, and the cells of its rows
    left : the number of columns that are aligned left; the others are aligned right
    """
    rows = [head, *body] + ([total] if total else [])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]

    def line(row: Sequence[str]) -> str:
        cells = [
            cell.ljust(w) if i < left else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(cells).rstrip()

    rule = "─" * (sum(widths) + 2 * len(widths) - 2)
    end = [rule, line(total)] if total else []
    return "\n".join([title, rule, line(head), rule, *map(line, body), *end])


def _zeros(model: Module, shape: tuple[int, ...]) -> Tensor:
    """Return an input of zeros, with the dtype and on the device of the model's first parameter."""
    for parameter in model.parameters():
        return tensor(_black(shape, parameter.dtype), device=parameter.device)
    return tensor(_black(shape, np.dtype(np.float32)))


def _black(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, np.dtype[Any]]:
    try:
        return np.zeros(shape, dtype)
    except (ValueError, MemoryError) as error:
        raise ShapeError(
            f"input_shape {shape} is too large for this machine ({error}); choose a smaller one"
        ) from error


def _multiply_adds_per_output(module: Module) -> int:
    """Return the number of products that each output of a convolution or linear layer sums; 0 for other layers."""
    return math.prod(module.weight.shape[1:]) if isinstance(module, Conv2d | Linear) else 0


def _is_positive_integer(value: Any) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool) and value > 0


def _scaled(count: float) -> str:
    for unit in ("", " k", " M", " G"):
        if count < 1000 or unit == " G":
            break
        count /= 1000
    return f"{count:,.4g}{unit}" if unit else f"{count:,}"


def _bytes(size: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            break
        size /= 1024
    return f"{size:,.0f} B" if unit == "B" else f"{size:,.2f} {unit}"
