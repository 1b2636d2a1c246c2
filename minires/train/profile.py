"""Measure the time of a training step, or of inference, kernel by kernel, with the plan of each convolution.

The step runs with a kernel set that times each call of the chosen set's kernels. The rest of the step's time is the
engine: the graph, the modules, allocation, Python.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minires import optim
from minires.autograd.op import no_grad
from minires.device import Array, is_array
from minires.functional.creation import tensor
from minires.functional.softmax import cross_entropy
from minires.kernels import KernelSet, using
from minires.kernels.fast.plan import Plan, plan
from minires.models.summary import table
from minires.nn import Module
from minires.threads import get_num_threads

_CONVOLUTIONS = ("conv2d", "conv2d_act", "conv2d_grads")


@dataclass(frozen=True)
class Call:
    """One call of one kernel.

    Attributes
    ----------
    kernel : the kernel's name
    shapes : the shapes of its arrays, as text
    owner : the path of the first parameter among its arrays, or ""
    plan : the algorithm of a convolution; "" for the reference, which has only one
    multiplications : of a convolution by its definition, for all requested results; 0 for other kernels
    seconds : the time of the call
    """

    kernel: str
    shapes: str
    owner: str
    plan: str
    multiplications: int
    seconds: float


@dataclass(frozen=True)
class Row:
    """All calls of one kernel with the same shapes in a step; ``seconds`` is the median over the steps.

    Attributes
    ----------
    owners : the paths of the parameters among the arrays, in the order of the calls
    calls : the number of calls in a step
    """

    kernel: str
    shapes: str
    owners: tuple[str, ...]
    calls: int
    plan: str
    multiplications: int
    seconds: float


@dataclass(frozen=True)
class Profile:
    """The result of `profile`. ``str()`` shows it as a table, the slowest row first.

    Attributes
    ----------
    title : network, shape of the images, phase, kernels, threads
    rows : one for each kernel and shape
    seconds : the median time of a step
    kernel_seconds : the time that this step spent in kernels
    """

    title: str
    rows: tuple[Row, ...]
    seconds: float
    kernel_seconds: float

    @property
    def engine_share(self) -> float:
        """The share of a step's time that is spent outside kernels."""
        return 1 - self.kernel_seconds / self.seconds

    def __str__(self) -> str:
        head = ("kernel", "shapes", "plan", "first parameter", "calls", "ms", "share", "GFLOP/s")
        body = [
            (
                row.kernel,
                row.shapes,
                row.plan,
                row.owners[0] if row.owners else "",
                str(row.calls),
                f"{1e3 * row.seconds:.2f}",
                f"{100 * row.seconds / self.seconds:.1f} %",
                f"{2e-9 * row.multiplications / row.seconds:.0f}" if row.multiplications else "",
            )
            for row in self.rows
        ]
        title = f"{self.title}: {1e3 * self.seconds:.1f} ms, of which {1e3 * self.kernel_seconds:.1f} ms in kernels; "
        return table(title + f"the engine takes {100 * self.engine_share:.1f} %", head, body, left=4)


def profile(
    model: Module, input_shape: Sequence[int], *, phase: str = "training", steps: int = 7, kernels: str = "fast"
) -> Profile:
    """Return the time that ``model`` takes in each kernel, on random images and labels.

    Parameters
    ----------
    model : a network of (N, C, H, W) -> (N, classes); a training step changes its weights
    input_shape : (N, C, H, W)
    phase : "training" for a step of SGD with momentum; "inference" for a forward pass in evaluation mode
    steps : the number of measured steps; one more runs before them
    kernels : "fast" or "reference"

    Raises
    ------
    ValueError : if ``phase`` or ``kernels`` is not as above, or if ``steps`` is less than 1.
    """
    if phase not in ("training", "inference"):
        raise ValueError(f"phase must be 'training' or 'inference', got {phase!r}")
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    if kernels not in ("fast", "reference"):
        raise ValueError(f"kernels must be 'fast' or 'reference', got {kernels!r}")
    step = _training(model, input_shape) if phase == "training" else _inference(model, input_shape)
    recorder = _Recorder(model, kernels)
    with using(recorder):
        step()
        totals, found = [], []
        for _ in range(steps):
            recorder.calls.clear()
            start = time.perf_counter()
            step()
            totals.append(time.perf_counter() - start)
            found.append(list(recorder.calls))
    middle = sorted(range(steps), key=totals.__getitem__)[steps // 2]
    threads = get_num_threads()
    shape = " × ".join(map(str, input_shape))
    title = f"{type(model).__name__} on {shape}, {phase}, {kernels} kernels, {threads} threads"
    in_kernels = sum(call.seconds for call in found[middle])
    return Profile(title, _rows(found), totals[middle], in_kernels)


def _training(model: Module, input_shape: Sequence[int]) -> Callable[[], object]:
    images, labels = _batch(model, input_shape)
    optimizer = optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)

    def step() -> None:
        model.train()
        loss = cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def _inference(model: Module, input_shape: Sequence[int]) -> Callable[[], object]:
    images, _ = _batch(model, input_shape)
    model.eval()

    def step() -> None:
        with no_grad():
            model(images)

    return step


def _batch(model: Module, input_shape: Sequence[int]) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    images = tensor(rng.standard_normal(tuple(input_shape), dtype=np.float32))
    model.eval()
    with no_grad():
        classes = model(tensor(images.array[:1])).shape[1]
    return images, tensor(rng.integers(0, classes, input_shape[0]))


class _Recorder(KernelSet):
    """The fast or the reference kernels, with each call timed."""

    def __init__(self, model: Module, kernels: str) -> None:
        super().__init__(kernels)
        self.calls: list[Call] = []
        self._owners = {_address(p.array): path for path, p in model.named_parameters()}

    def wrapped(self, kernel: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function with its calls timed."""

        def timed(*arguments: Any, **options: Any) -> Any:
            start = time.perf_counter()
            result = function(*arguments, **options)
            seconds = time.perf_counter() - start
            self.calls.append(self._call(kernel, arguments, seconds))
            return result

        return timed

    def _call(self, kernel: str, arguments: tuple[Any, ...], seconds: float) -> Call:
        arrays = [a for a in arguments if is_array(a) and a.ndim > 1] or [a for a in arguments if is_array(a)]
        shapes = ", ".join("×".join(map(str, a.shape)) for a in arrays)
        owner = next((self._owners[_address(a)] for a in arguments if is_array(a) and _address(a) in self._owners), "")
        chosen, work = "", 0
        if kernel in _CONVOLUTIONS:
            found, results = _plan_of(kernel, arguments)
            chosen = found.name if self.name == "fast" else ""
            work = results * found.multiplications
        return Call(kernel, shapes, owner, chosen, work, seconds)


def _plan_of(kernel: str, arguments: tuple[Any, ...]) -> tuple[Plan, int]:
    """Return the plan of a convolution or of its gradients, and the number of requested results."""
    if kernel != "conv2d_grads":
        x, w, geometry = arguments[0], arguments[1], arguments[-1]
        return plan(geometry, x.shape, w.shape, x.dtype), 1
    _, x, w, geometry, *wants = arguments
    return plan(geometry, x.shape, w.shape, x.dtype), sum(wants[0]) if wants else 2


def _address(array: Array) -> int:
    """Return the memory address of an array, which a view of the whole array shares."""
    return int(array.__array_interface__["data"][0])


def _rows(found: Sequence[Sequence[Call]]) -> tuple[Row, ...]:
    groups: list[dict[tuple[str, str, str], list[Call]]] = []
    for calls in found:
        group = defaultdict(list)
        for call in calls:
            group[call.kernel, call.shapes, call.plan].append(call)
        groups.append(group)
    rows = []
    for (kernel, shapes, way), calls in groups[0].items():
        seconds = statistics.median(sum(c.seconds for c in group[kernel, shapes, way]) for group in groups)
        owners = tuple(dict.fromkeys(call.owner for call in calls if call.owner))
        rows.append(Row(kernel, shapes, owners, len(calls), way, sum(c.multiplications for c in calls), seconds))
    return tuple(sorted(rows, key=lambda row: -row.seconds))
