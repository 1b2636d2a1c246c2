"""Draw the figures of performance.md: ``python docs/draw_performance.py docs/images``; needs matplotlib.

They show the newest record of each kind in benchmarks/records.
"""

import json
import pathlib

from drawing import plt, save

RECORDS = pathlib.Path(__file__).parent.parent / "benchmarks" / "records"
COLOURS = {"minires": "tab:blue", "torch NCHW": "0.75", "torch channels_last": "0.5"}
PHASES = ("training", "inference", "folded")


def newest(kind):
    """Return the results of the newest record of a kind, and on which machine and when they were measured."""
    record = json.loads(max(RECORDS.glob(f"{kind}-*.json")).read_text(encoding="utf-8"))
    machine = record["machine"]
    return record["results"], f"{machine['cpu']}, {machine['threads']} threads; {record['date'][:10]}"


def steps():
    """Draw the time of each network and phase, relative to PyTorch's faster memory order."""
    results, measured = newest("step")
    results = {name: found for name, found in results.items() if name != "dezero"}
    figure, axes = plt.subplots(1, len(results), figsize=(11, 3.6), sharey=True, layout="constrained")
    for axis, (network, found) in zip(axes, results.items(), strict=True):
        medians = {name: [found[phase]["milliseconds"][name]["median"] for phase in PHASES] for name in COLOURS}
        best = [min(medians[name][i] for name in COLOURS if name != "minires") for i in range(len(PHASES))]
        for place, (name, colour) in enumerate(COLOURS.items()):
            heights = [t / b for t, b in zip(medians[name], best, strict=True)]
            axis.bar([i + 0.27 * (place - 1) for i in range(len(PHASES))], heights, 0.25, color=colour, label=name)
        axis.axhline(1, color="black", linewidth=0.8)
        axis.set_xticks(range(len(PHASES)), ["training", "inference", "inference,\nfolded"])
        axis.set_title(f"{network}, images {' × '.join(map(str, found['images']))}", fontsize=10)
    axes[0].set_ylabel("time / PyTorch's faster order")
    figure.legend(*axes[0].get_legend_handles_labels(), fontsize=8, loc="outside upper center", ncols=len(COLOURS))
    save(figure, "performance_steps.png", f"random images; {measured}")


def growth():
    """Draw the time of a training step against batch, pixels, depth and channels."""
    results, measured = newest("growth")
    figure, axes = plt.subplots(1, len(results), figsize=(11, 3.2), sharey=True, layout="constrained")
    for axis, (name, found) in zip(axes, results.items(), strict=True):
        sizes, times, exponent = found["sizes"], found["milliseconds"], found["expected"]
        axis.loglog(sizes, times, "o-", color=COLOURS["minires"])
        axis.loglog(sizes, [times[-1] * (n / sizes[-1]) ** exponent for n in sizes], "--", color="0.6")
        axis.set(xlabel=name, title=f"dashed: exponent {exponent}")
        axis.set_xticks(sizes, map(str, sizes))
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("training step, ms")
    networks = "ResNet-20 (batch, pixels), CIFAR ResNets (depth), one residual block (channels)"
    save(figure, "performance_growth.png", f"{networks}; random images; {measured}")


if __name__ == "__main__":
    steps()
    growth()
