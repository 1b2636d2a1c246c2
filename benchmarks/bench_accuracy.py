"""Compare the accuracy after training with the fast kernels and with the reference kernels.

    python benchmarks/bench_accuracy.py [--seeds 10] [--epochs 4] [--processes 2] [--record]

ResNet-20 learns the embedded images with the settings of ``make train``, once with each kernel set for each seed. The
initial weights, batches and flips are equal. Rounding differs, and after some hundred steps this makes two different
networks. So the accuracies are compared as two samples. The benchmark prints both means, and their difference in
standard errors of the paired differences. The exit status is 1 if the difference is more than three standard errors.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import statistics
import sys
import tempfile

from harness import at_least, describe, machine, write

from minires import kernels
from minires.train import Settings, train

SETS = ("reference", "fast")
FAR = 3.0  # standard errors


def accuracy(kernel_set: str, seed: int, epochs: int) -> float:
    """Train, and return the test accuracy in percent after the last epoch."""
    settings = {"lr": 0.2, "schedule": "one-cycle", "weight_decay": 5e-4, "augment": "flip", "batch_size": 128}
    with tempfile.TemporaryDirectory() as out, kernels.using(kernel_set):
        result = train(Settings(epochs=epochs, seed=seed, out=f"{out}/run", threads=1, quiet=True, **settings))
    return 100 * float(result.history[-1]["test_accuracy"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=at_least(2), default=10)
    parser.add_argument("--epochs", type=at_least(1), default=4)
    parser.add_argument("--processes", type=at_least(1), default=2)
    parser.add_argument("--record", action="store_true", help="write a JSON file to benchmarks/records/")
    options = parser.parse_args()
    described = machine(threads=1)
    describe(described)
    with concurrent.futures.ProcessPoolExecutor(options.processes) as pool:
        runs = {
            (name, seed): pool.submit(accuracy, name, seed, options.epochs)
            for seed in range(options.seeds)
            for name in SETS
        }
        results = {name: [runs[name, seed].result() for seed in range(options.seeds)] for name in SETS}
    for name, found in results.items():
        print(f"{name:9} mean {statistics.mean(found):.2f} %, deviation {statistics.stdev(found):.2f}: ", end="")
        print(" ".join(f"{a:.1f}" for a in found))
    differences = [fast - slow for slow, fast in zip(results["reference"], results["fast"], strict=True)]
    error = statistics.stdev(differences) / len(differences) ** 0.5
    mean = statistics.mean(differences)
    print(f"fast less reference: {mean:+.2f} %, with a standard error of {error:.2f}")
    if options.record:
        write("accuracy", described, results, epochs=options.epochs)
    if abs(mean) > FAR * error:
        sys.exit("the fast kernels come to another accuracy")


if __name__ == "__main__":
    main()
