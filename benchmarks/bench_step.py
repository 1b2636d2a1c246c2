"""Time a training step and inference of whole residual networks beside PyTorch eager.

    python benchmarks/bench_step.py [--models resnet20 …] [--threads 2] [--rounds 7] [--compile] [--dezero] [--record]
    python benchmarks/bench_step.py --device cuda [--models resnet20 …] [--rounds 7] [--compile] [--record]

The training step is the forward pass, cross-entropy, the backward pass and SGD with momentum. Inference is the forward
pass in evaluation mode. In the row "folded", minires' batch norms are folded into the convolutions; PyTorch eager
cannot do this.

minires and PyTorch run in one process, in turn, with the same number of threads, the same state and the same images.
PyTorch runs in both of its memory orders. Logits, loss and gradients are compared before the times are measured. The
ratio is minires' time divided by the time of PyTorch's faster order.

With ``--compile``, torch.compile (NCHW) takes part too, but not in the ratio. It folds and fuses; it needs a C++
compiler and minutes to compile. Without PyTorch, minires runs alone. On a GPU, both multiply in float32 (no TF32), and
each call is timed until the device has finished.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from harness import at_least, describe, in_turns, machine, write

import minires as mr

try:
    import torch
except ImportError:
    torch = None
else:
    from torch_twins import twin_of

RATES = {"lr": 1e-3, "momentum": 0.9}
LEAST_ROUNDS = 7

CALLS = 2  # timed calls in a turn
COMPILED = "torch.compile"

# The largest error that minires may have, relative to that of PyTorch's float32 result. Both errors are distances from
# the float64 result, since rounding grows with the network. Winograd convolutions round about 6 times as much as direct
# ones (1.7e-5 against 3e-6 of the largest value), and two samples of an error can differ by a factor of 2.
ALLOWED = 2 * 6


class Case(NamedTuple):
    """The shape (N, C, H, W) of a network's batch, and the number of classes."""

    images: tuple[int, int, int, int]
    classes: int


CASES = {
    "resnet20": Case((128, 3, 32, 32), 10),
    "resnet18": Case((16, 3, 224, 224), 1000),
    "resnet50": Case((8, 3, 224, 224), 1000),
}


class Results(NamedTuple):
    """The values to compare: logits in training mode, the loss, all gradients, logits in evaluation mode."""

    logits: np.ndarray
    loss: float
    gradients: list[np.ndarray]
    inferred: np.ndarray


@dataclass
class Contender:
    """A network of minires or PyTorch with its batch; both libraries are used in the same way."""

    name: str
    model: Any
    optimizer: Any
    images: Any
    labels: Any
    cross_entropy: Callable[[Any, Any], Any]
    without_graph: Callable[[], Any]
    wait: Callable[[], object]  # until the device has finished
    folded_model: Any = None  # with batch norms folded into convolutions; minires only

    def mode(self, phase: str) -> None:
        self.model.train(phase == "training")
        if phase == "folded" and self.name == "minires":  # with the present weights
            self.folded_model = mr.nn.fold_batch_norm(self.model)

    def backward(self) -> tuple[Any, Any]:
        logits = self.model(self.images)
        loss = self.cross_entropy(logits, self.labels)
        self.optimizer.zero_grad()
        loss.backward()
        return logits, loss

    def training(self) -> None:
        self.backward()
        self.optimizer.step()
        self.wait()

    def inference(self) -> Any:
        return self._inferred(self.model)

    def folded(self) -> Any:
        return self._inferred(self.folded_model or self.model)

    def _inferred(self, model: Any) -> Any:
        with self.without_graph():
            logits = model(self.images)
        self.wait()
        return logits

    def results(self) -> Results:
        self.mode("training")
        logits, loss = self.backward()
        gradients = [on_host(p.grad) for p in self.model.parameters()]
        self.mode("inference")
        return Results(on_host(logits.detach()), loss.item(), gradients, on_host(self.inference()))


def on_host(tensor: Any) -> np.ndarray:
    """Return the values of a tensor of minires or PyTorch as a NumPy array, from any device."""
    return (tensor if isinstance(tensor, mr.Tensor) else tensor.cpu()).numpy()


def minires_contender(network: str, device: str = "cpu") -> Contender:
    case = CASES[network]
    return contender_of(getattr(mr.models, network)(seed=0).to(device), case.images, case.classes)


def contender_of(model: mr.nn.Module, shape: Sequence[int], classes: int) -> Contender:
    """Return a contender: a network of minires with random images (N, C, H, W) and labels on its device."""
    rng = np.random.default_rng(0)
    first = next(model.parameters())
    images = mr.tensor(rng.standard_normal(tuple(shape), dtype=np.float32), device=first.device, dtype=first.dtype)
    labels = mr.tensor(rng.integers(0, classes, shape[0]), device=first.device)
    optimizer = mr.optim.SGD(model.parameters(), **RATES)
    wait = functools.partial(mr.device.synchronize, first.device)
    return Contender("minires", model, optimizer, images, labels, mr.functional.cross_entropy, mr.no_grad, wait)


def torch_contender(
    name: str, twin: Callable[[], Any], ours: Contender, dtype: Any, order: Any, compiled: bool = False
) -> Contender:
    """Return a contender: a network of PyTorch with the state of ``ours``, in one dtype and memory order."""
    model = twin()
    model.load_state_dict({key: torch.tensor(value.numpy()) for key, value in ours.model.state_dict().items()})
    device = ours.images.device
    model = model.to(device, dtype, memory_format=order)
    optimizer = torch.optim.SGD(model.parameters(), **RATES)
    images = torch.tensor(ours.images.numpy()).to(device, dtype, memory_format=order)
    labels = torch.tensor(ours.labels.numpy()).to(device)
    wait = (lambda: None) if device == "cpu" else functools.partial(torch.cuda.synchronize, device)
    without_graph = torch.inference_mode
    if compiled:
        model, without_graph = torch.compile(model), torch.no_grad  # inference mode would be compiled again
    return Contender(name, model, optimizer, images, labels, torch.nn.functional.cross_entropy, without_graph, wait)


def distance(result: Any, exact: Any) -> float:
    """Return ‖result − exact‖ / ‖exact‖."""
    return float(np.linalg.norm(np.subtract(result, exact, dtype=np.float64)) / np.linalg.norm(exact))


def distances(results: Results, exact: Results) -> dict[str, float]:
    """Return the relative distances of results from those in float64.

    All gradients are one vector. Most of its distance comes from ReLU: a few of its inputs are so close to zero that
    they have one sign in float32 and the other in float64.
    """
    return {
        "logits": distance(results.logits, exact.logits),
        "gradients": distance(*(np.concatenate([g.ravel() for g in r.gradients]) for r in (results, exact))),
        "inferred logits": distance(results.inferred, exact.inferred),
    }


def verify(network: str, ours: Contender, theirs: Sequence[Contender], exact: Contender) -> dict[str, Any]:
    """Return all distances from float64; end the program if those of minires exceed the rounding of float32."""
    reference, mine = exact.results(), ours.results()
    found = {ours.name: distances(mine, reference)}
    found |= {contender.name: distances(contender.results(), reference) for contender in theirs}
    for what, error in found[ours.name].items():
        allowed = ALLOWED * max(found[contender.name][what] for contender in theirs)
        if not error <= allowed:
            sys.exit(f"{network}: the {what} are {error:.1e} away from float64's, {allowed:.1e} are allowed")
    # The loss of a row changes by at most twice the largest change of its logits. Computing the loss adds a few
    # roundings of numbers up to the largest logit + log K.
    size = float(np.abs(reference.logits).max()) + np.log(reference.logits.shape[1])
    allowed = 2 * float(np.abs(mine.logits - reference.logits).max()) + 8 * float(np.finfo(np.float32).eps) * size
    if not abs(mine.loss - reference.loss) <= allowed:
        sys.exit(f"{network}: the loss is {mine.loss}, {reference.loss} in float64; {allowed:.1e} apart are allowed")
    return found


def measure(contenders: Sequence[Contender], phase: str, rounds: int) -> dict[str, list[float]]:
    """Return the times of each contender in milliseconds; in every round each has one turn."""
    for contender in contenders:
        contender.mode(phase)
    times = in_turns([getattr(contender, phase) for contender in contenders], rounds, CALLS)
    return {contender.name: record for contender, record in zip(contenders, times, strict=True)}


def run(network: str, device: str, rounds: int, compiled: bool) -> dict[str, Any]:
    """Verify, time and print one network; return its record."""
    ours, theirs, errors = minires_contender(network, device), [], {}
    try:
        twin = None if torch is None else twin_of(network)
    except ImportError:
        twin = None
        print(f"{network}: torchvision is not installed, so minires runs alone")
    if twin is not None:
        contiguous, channels_last = torch.contiguous_format, torch.channels_last
        theirs = [
            torch_contender("torch NCHW", twin, ours, torch.float32, contiguous),
            torch_contender("torch channels_last", twin, ours, torch.float32, channels_last),
        ]
        if compiled:
            theirs.append(torch_contender(COMPILED, twin, ours, torch.float32, contiguous, compiled=True))
        exact = torch_contender("torch float64", twin, ours, torch.float64, contiguous)
        errors = verify(network, ours, theirs, exact)
        del exact
        found = ", ".join(f"{what} {error:.0e}" for what, error in errors[ours.name].items())
        print(f"{network}: verified; minires' distance from float64: {found}")
    phases = {}
    for phase in ("training", "inference", "folded"):
        times = measure([ours, *theirs], phase, rounds)
        summary = {name: {"median": statistics.median(t), "minimum": min(t), "all": t} for name, t in times.items()}
        phases[phase] = {"milliseconds": summary}
        columns = [f"{s['median']:9.1f} {s['minimum']:8.1f}" for s in summary.values()]
        if theirs:
            ratios = {
                of: summary[ours.name][of] / min(summary[other.name][of] for other in theirs if other.name != COMPILED)
                for of in ("median", "minimum")
            }
            phases[phase]["ratio"] = ratios
            columns.append(f"{ratios['median']:9.2f} {ratios['minimum']:8.2f}")
        print(f"{network} {phase:10}| " + " | ".join(columns), flush=True)
    return {"images": CASES[network].images, "float64_distances": errors, **phases}


def run_dezero(rounds: int) -> dict[str, Any]:
    """Time the training step of ResNet-20 beside DeZero's, which takes seconds and has one call in a turn."""
    from dezero_twin import training_step

    ours = minires_contender("resnet20")
    ours.mode("training")
    theirs = training_step(ours.model, ours.images.numpy(), ours.labels.numpy(), RATES)
    error = distance(theirs(), ours.model(ours.images).numpy())
    if not error < 1e-4:
        sys.exit(f"resnet20: DeZero's logits differ by {error:.1e}")
    times: dict[str, list[float]] = {"minires": [], "dezero": []}
    for _ in range(rounds):
        for name, step in (("minires", ours.training), ("dezero", theirs)):
            for _ in range(CALLS if name == "minires" else 1):
                start = time.perf_counter()
                step()
                times[name].append(round((time.perf_counter() - start) * 1e3, 3))
    medians = {name: statistics.median(record) for name, record in times.items()}
    ratio = medians["dezero"] / medians["minires"]
    figures = ", ".join(f"{name} {median:.1f}" for name, median in medians.items())
    print(f"resnet20 training: {figures} ms, a ratio of {ratio:.1f}")
    return {"milliseconds": times, "ratio": ratio}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, … (cpu)")
    parser.add_argument("--threads", type=at_least(1), default=2)
    parser.add_argument("--rounds", type=at_least(LEAST_ROUNDS), default=LEAST_ROUNDS)
    parser.add_argument("--compile", action="store_true", help="also torch.compile")
    parser.add_argument("--dezero", action="store_true", help="also DeZero's training step of ResNet-20, if installed")
    parser.add_argument("--record", action="store_true", help="write a JSON file to benchmarks/records/")
    options = parser.parse_args()
    mr.set_num_threads(options.threads)
    described = machine(options.threads, options.device)
    describe(described)
    if torch is None:
        print("PyTorch is not installed, so minires runs alone: make parity")
    else:
        torch.set_num_threads(options.threads)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    heads = ["minires"]
    if torch is not None:
        heads += ["torch NCHW", "torch channels_last", *([COMPILED] if options.compile else []), "ratio"]
    print(f"{'median, minimum, ms':19}| " + " | ".join(f"{head:>18}" for head in heads))
    results = {network: run(network, options.device, options.rounds, options.compile) for network in options.models}
    if options.dezero:
        results["dezero"] = run_dezero(options.rounds)
    if options.record:
        write("step" if options.device == "cpu" else "step-gpu", described, results, rounds=options.rounds)


if __name__ == "__main__":
    main()
