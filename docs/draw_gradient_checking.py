"""Draw the figures of gradient_checking.md: ``python docs/draw_gradient_checking.py docs/images``; needs matplotlib.

Everything in them is computed here, by the checker's own code.
"""

import datetime
import platform

import numpy as np
from drawing import plt, save

from minires import testing
from minires.testing.differences.ladder import LADDERS, Walk
from minires.testing.differences.noise import EPS, sample_at

POINT = 0.7
FUNCTIONS = {
    "smooth: sin x": (lambda t: np.sin(POINT + t), np.cos(POINT)),
    "oscillating: sin 10⁴x": (lambda t: np.sin(1e4 * (POINT + t)), 1e4 * np.cos(1e4 * POINT)),
    "a kink 10⁻⁴ away: |x − 0.7001|": (lambda t: np.abs(t - 1e-4), -1.0),
}
MADE = f"NumPy {np.__version__} on {platform.machine()}; {datetime.date.today()}"
GREY, BLUE, RED = "0.6", "tab:blue", "tab:red"


def error_against_step():
    """Draw the error of a central difference at each step, and what the walk from fine to coarse steps makes of it."""
    figure, axes = plt.subplots(1, 3, figsize=(12, 4.2), sharey=True, layout="constrained")
    for axis, (title, (line, slope)) in zip(axes, FUNCTIONS.items(), strict=True):
        base = np.array([line(0.0)])
        ratio, steps = LADDERS[0]
        points = [sample_at(h, np.array([line(h)]), np.array([line(-h)]), base) for h in steps]
        plain = [float(abs(p.odd[0] / (2 * p.h) / slope - 1)) for p in points]
        walk = Walk(EPS * np.abs(base), ratio, points[:2])
        walked = [(walk.step[0], walk.bar[0], walk.value[0])]
        for point in points[2:]:
            walk.advance(point)
            walked.append((walk.step[0], walk.bar[0], walk.value[0]))
        at, bars, values = map(np.array, zip(*walked, strict=True))
        axis.loglog(steps, np.maximum(plain, 1e-17), ".", color=GREY, label="central difference: its error")
        axis.loglog(at, bars / abs(slope), ".-", markersize=3, color=BLUE, label="walk: the bar it claims")
        axis.loglog(at, np.maximum(abs(values / slope - 1), 1e-17), ".", color=RED, label="walk: its true error")
        axis.set(title=title, xlabel="step h", ylim=(3e-18, 10))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("relative error of the derivative")
    figure.legend(*axes[0].get_legend_handles_labels(), fontsize=8, loc="outside upper center", ncols=3)
    save(figure, "gradcheck_steps.png", f"three functions at x = {POINT}, in float64; {MADE}")


def detection(seeds=30):
    """Draw the share of planted relative errors that the check finds, by their size."""

    def square_vjp(error):
        return lambda gy, x: (2 * x * gy * (1 + error),)

    def matmul_vjp(error):
        return lambda gy, x, w: (gy @ w.T, x.T @ gy * (1 + error))

    def tanh_vjp(error):
        return lambda gy, x: (gy * (1 - np.tanh(x) ** 2) * (1 + error),)

    cases = {
        "square": (np.square, square_vjp, [(20,)]),
        "tanh": (np.tanh, tanh_vjp, [(20,)]),
        "matrix product": (np.matmul, matmul_vjp, [(6, 5), (5, 4)]),
    }
    sizes = 10.0 ** np.arange(-15, -1.9, 0.5)
    figure, axis = plt.subplots(figsize=(6, 4), layout="constrained")
    for name, (function, vjp_with, shapes) in cases.items():
        found = []
        for size in sizes:
            caught = 0
            for seed in range(seeds):
                rng = np.random.default_rng(seed)
                try:
                    testing.check_vjp(function, vjp_with(size), *(rng.standard_normal(s) for s in shapes), rng=seed)
                except testing.GradientError:
                    caught += 1
            found.append(caught / seeds)
        axis.semilogx(sizes, found, ".-", label=name)
    axis.axvline(1e-3, color=GREY, linestyle="--", label="a fixed rtol of 10⁻³")
    axis.set(xlabel="relative error planted in the gradient", ylabel="share found")
    axis.legend(fontsize=8, loc="center")
    axis.grid(alpha=0.3)
    drawn = f"{seeds} draws of normal numbers for each point"
    save(figure, "gradcheck_detection.png", f"minires.testing.check_vjp in float64; {drawn}; {MADE}")


if __name__ == "__main__":
    error_against_step()
    detection()
