"""Tests of the tests: an error planted in a hand-written backward pass is caught, whichever kernels compute it."""

import numpy as np
import pytest

import minires as mr
from minires import kernels, testing
from minires.testing.differences import verdict

F = mr.functional
LABELS = [0, 2, -100, 1]

# The operation, the shapes of its inputs, and the kernel that computes its gradients.
OPERATIONS = {
    "conv2d": (lambda x, w: F.conv2d(x, w, padding=1), [(2, 2, 4, 5), (3, 2, 3, 3)], "conv2d_grads"),
    "conv2d, stride 2": (lambda x, w: F.conv2d(x, w, stride=2), [(2, 2, 5, 5), (3, 2, 2, 2)], "conv2d_grads"),
    "batch norm": (
        lambda x, g, b: F.batch_norm(x, None, None, g, b, training=True),
        [(3, 2, 3, 2), (2,), (2,)],
        "batch_norm_act_grads",
    ),
    "batch norm, shortcut, relu": (
        lambda x, g, b, s: F.batch_norm_act(x, None, None, g, b, training=True, shortcut=s),
        [(3, 2, 3, 2), (2,), (2,), (3, 2, 3, 2)],
        "batch_norm_act_grads",
    ),
    "batch norm, inference": (
        lambda x, g, b: F.batch_norm(x, mr.zeros(2, dtype=np.float64), mr.ones(2, dtype=np.float64), g, b),
        [(3, 2, 3, 2), (2,), (2,)],
        "batch_norm_inference_grads",
    ),
    "relu": (F.relu, [(4, 5)], "relu_grad"),
    "max pool": (lambda x: F.max_pool2d(x, 3, 2, 1), [(2, 2, 5, 5)], "max_pool2d_grad"),
    "average pool": (lambda x: F.avg_pool2d(x, 3, 2, 1), [(2, 2, 5, 5)], "avg_pool2d_grad"),
    "adaptive pool": (lambda x: F.adaptive_avg_pool2d(x, (2, 3)), [(2, 2, 5, 5)], "adaptive_avg_pool2d_grad"),
    "linear": (F.linear, [(3, 4), (5, 4), (5,)], "linear_grads"),
    "cross entropy": (lambda x: F.cross_entropy(x, mr.tensor(LABELS)), [(4, 3)], "cross_entropy_grad"),
}


def scaled(results, *_, **__):
    """Make the results 0.1 % too large."""
    return tuple(None if g is None else g * 1.001 for g in results)


def negated(results, *_, **__):
    """Give the results the wrong sign."""
    return tuple(None if g is None else -g for g in results)


def one_element_lost(results, *_, **__):
    """Set the largest element of each gradient to zero."""
    lost = [None if g is None else np.array(g) for g in results]
    for g in lost:
        if g is not None:
            g.flat[np.abs(g).argmax()] = 0
    return tuple(lost)


def swapped_taps(results, gy, x, w, geometry, wants):
    """Exchange R and S in the weight gradient."""
    gx, gw = results
    return gx, None if gw is None else gw.swapaxes(2, 3)


def swapped_filter(results, gy, x, w, geometry, wants):
    """Exchange R and S of the filter for the input gradient."""
    swapped = kernels.reference.conv2d_grads(gy, x, w.swapaxes(2, 3), geometry, wants)
    return swapped[0], results[1]


def unflipped_filter(results, gy, x, w, geometry, wants):
    """Correlate with the filter instead of the flipped filter for the input gradient."""
    flipped = kernels.reference.conv2d_grads(gy, x, w[:, :, ::-1, ::-1], geometry, wants)
    return flipped[0], results[1]


def without_mean_term(results, gy, y, x, gamma, mean, inv_std, relu, wants_shortcut, overwrite):
    """Forget the gradient through the mean: do not subtract gbeta / M."""
    gx, ggamma, gbeta, gshortcut = results
    M = x.size // x.shape[1]
    return gx + (gamma * inv_std * gbeta / M)[:, None, None], ggamma, gbeta, gshortcut


def without_variance_term(results, gy, y, x, gamma, mean, inv_std, relu, wants_shortcut, overwrite):
    """Forget the gradient through the variance: do not subtract x_hat · ggamma / M."""
    gx, ggamma, gbeta, gshortcut = results
    M = x.size // x.shape[1]
    x_hat = (x - mean[:, None, None]) * inv_std[:, None, None]
    return gx + x_hat * (gamma * inv_std * ggamma / M)[:, None, None], ggamma, gbeta, gshortcut


def unbiased_variance(results, gy, y, x, gamma, mean, inv_std, relu, wants_shortcut, overwrite):
    """Use M − 1 instead of M."""
    M = x.size // x.shape[1]
    return results[0] * (M / (M - 1)), *results[1:]


def without_mask(results, gy, y, x, gamma, mean, inv_std, relu, wants_shortcut, overwrite):
    """Forget ReLU in the gradient of the shortcut."""
    return *results[:3], gy if wants_shortcut else None


def without_target(results, gy, logits, labels, **options):
    """Return the softmax without subtracting the label."""
    return (kernels.reference.softmax(logits, 1) * gy / len(labels),)


def all_rows_counted(results, gy, logits, labels, **options):
    """Divide by all rows, instead of those that count."""
    return (results[0] * (np.sum(labels != options["ignore_index"]) / len(labels)),)


FAULTS = [(name, fault) for name in OPERATIONS for fault in (scaled, one_element_lost)]
FAULTS += [pytest.param(name, negated, marks=pytest.mark.long) for name in OPERATIONS]
FAULTS += [("conv2d", fault) for fault in (swapped_taps, swapped_filter, unflipped_filter)]
NORM = (without_mean_term, without_variance_term, unbiased_variance)
FAULTS += [(name, fault) for name in ("batch norm", "batch norm, shortcut, relu") for fault in NORM]
FAULTS += [("batch norm, shortcut, relu", without_mask)]
FAULTS += [("cross entropy", fault) for fault in (without_target, all_rows_counted)]


def check(name):
    """Run the check as a user would."""
    function, shapes, _ = OPERATIONS[name]
    rng = np.random.default_rng(7)
    tensors = [mr.tensor(rng.standard_normal(shape), requires_grad=True) for shape in shapes]
    return testing.check_gradient(function, *tensors, rng=np.random.default_rng(8))


def found(*_):
    """Replace the search for the wrong elements, which costs more than the verdict and has separate tests."""
    raise testing.GradientError("the gradient is wrong")


@pytest.mark.parametrize("kernel_set", ["reference", "fast"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_the_right_gradient_passes(name, kernel_set):
    with kernels.using(kernel_set):
        check(name)


@pytest.mark.parametrize("kernel_set", [pytest.param("reference", marks=pytest.mark.long), "fast"])
@pytest.mark.parametrize(("name", "fault"), FAULTS, ids=lambda value: getattr(value, "__name__", value))
def test_a_planted_error_is_caught(monkeypatch, name, fault, kernel_set):
    kernel = OPERATIONS[name][2]
    with kernels.using(kernel_set):
        chosen = kernels.choose(np.zeros(1))
        right = getattr(chosen, kernel)

        def wrong(*arguments, **options):
            kept = [a.copy(order="K") if isinstance(a, np.ndarray) else a for a in arguments]  # some are overwritten
            results = right(*arguments, **options)
            faulty = fault(results if isinstance(results, tuple) else (results,), *kept, **options)
            return faulty if isinstance(results, tuple) else faulty[0]

        monkeypatch.setattr(chosen, kernel, wrong)
        monkeypatch.setattr(verdict, "localise", found)
        with pytest.raises(testing.GradientError):
            check(name)
