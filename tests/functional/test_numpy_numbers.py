"""NumPy's numbers, arrays without axes, and shapes in lists and arrays are accepted wherever Python's are."""

import numpy as np
import pytest

import minires as mr
from minires import models, nn

F = mr.functional
RNG = np.random.default_rng(0)
X = RNG.standard_normal((2, 4, 6, 6)).astype(np.float32)
ROWS = RNG.standard_normal((3, 4)).astype(np.float32)
FILTERS = RNG.standard_normal((4, 2, 3, 3)).astype(np.float32)
LABELS = np.array([0, 1, 7])


def images():
    return mr.tensor(X)


def rows():
    return mr.tensor(ROWS)


def drawn(function):
    mr.manual_seed(0)
    return function()


def statistics(momentum, eps, training):
    mean, var = mr.zeros(4), mr.ones(4)
    return F.batch_norm(images(), mean, var, None, None, training, momentum, eps), mean, var


# Each takes options; the numbers beside it are what they are called with.
CALLS = {
    "conv2d": (lambda s, p, d, g: F.conv2d(images(), mr.tensor(FILTERS), None, s, p, d, g), (1, (1, 2), 1, 2)),
    "max_pool2d": (lambda k, s, p: F.max_pool2d(images(), k, s, p), ((2, 3), 2, 1)),
    "avg_pool2d": (lambda k, s, p: F.avg_pool2d(images(), k, s, p), (2, (2, 1), 1)),
    "adaptive_avg_pool2d": (lambda n, m: F.adaptive_avg_pool2d(F.adaptive_avg_pool2d(images(), n), m), ((3, 2), 1)),
    "batch_norm": (statistics, (0.125, 0.25, True)),
    "batch_norm, evaluating": (statistics, (0.125, 0.25, False)),
    "cross_entropy": (lambda s, i: F.cross_entropy(rows(), mr.tensor(LABELS), "mean", s, i), (0.25, 7)),
    "softmax": (lambda d, e: (F.softmax(rows(), d), F.log_softmax(rows(), e)), (1, -1)),
    "dropout": (lambda p, t: drawn(lambda: F.dropout(rows(), p, t)), (0.5, True)),
    "manual_seed": (lambda s: (mr.manual_seed(s), F.dropout(rows()))[1], (3,)),
    "clip": (lambda a, b: (rows().clip(a, b), mr.tensor([1, 5, 9]).clip(2, 7)), (-0.25, 1)),
    "pad": (lambda p, v: F.pad(images(), p, value=v), ((1, 1, 2, 2), 0.5)),
    "zeros and ones": (lambda a, b, c: (mr.zeros(a, b), mr.zeros(c), mr.ones(c), mr.ones(a)), (2, 3, (2, 3))),
    "reshape": (lambda a, b, c: (rows().reshape(a), rows().view(b, c)), ((4, 3), 4, -1)),
    "permute": (lambda d, a, b: images().permute(d).transpose(a, b).flatten(a, b), ((1, 0, 3, 2), 1, 2)),
    "sum": (lambda d, e, k: (images().sum(d, k), images().mean(e, k)), (1, (1, -1), True)),
    "var": (lambda d, c, k: images().var(d, correction=c, keepdim=k), ((1, 2), 1, True)),
    "max": (lambda d, k: images().max(d, k), (1, True)),
    "concatenate": (lambda d, e: (mr.concatenate([rows()] * 2, d), mr.stack([rows()] * 2, e)), (1, 2)),
    "broadcast_to": (lambda s, t: F.sum_to(F.broadcast_to(rows(), s), t), ((2, 3, 4), (1, 4))),
    "operators": (lambda v, n: ((rows() + v) * n - v) / v, (0.5, 2)),
    "where": (lambda v: mr.where(mr.maximum(rows(), v) > v, rows(), v), (0.5,)),
    "in place": (lambda v, n: rows().fill_(v).add_(n, alpha=v).mul_(n), (0.5, 2)),
    "size": (lambda d: mr.zeros(rows().size(d)), (1,)),
    "Conv2d": (
        lambda c, k, r, s, p, g, b: drawn(lambda: nn.Conv2d(c, k, r, s, p, 1, g, b))(images()),
        (4, 6, (3, 2), 1, (1, 0), 2, True),
    ),
    "BatchNorm2d": (lambda c, e, m, a, t: nn.BatchNorm2d(c, e, m, a, t)(images()), (4, 0.25, 0.125, True, True)),
    "MaxPool2d": (lambda k, s, p: nn.MaxPool2d(k, s, p)(images()), (2, (2, 1), 1)),
    "AvgPool2d": (lambda k, s, p: nn.AvgPool2d(k, s, p)(images()), ((2, 3), 2, (1, 1))),
    "AdaptiveAvgPool2d": (lambda n, m: nn.AdaptiveAvgPool2d(m)(nn.AdaptiveAvgPool2d(n)(images())), ((3, 2), 1)),
    "Linear": (lambda c, k, b: drawn(lambda: nn.Linear(c, k, b))(rows()), (4, 5, True)),
    "Flatten": (lambda a, b: nn.Flatten(a, b)(images()), (1, 2)),
    "Dropout": (lambda p: drawn(lambda: nn.Dropout(p)(rows())), (0.5,)),
    "CrossEntropyLoss": (lambda i, s: nn.CrossEntropyLoss(i, "mean", s)(rows(), mr.tensor(LABELS)), (7, 0.25)),
    "CifarResNet": (lambda d, n, c, s: models.CifarResNet(d, n, c, seed=s).fc.weight.detach(), (8, 3, 1, 2)),
}


def others(value):
    """Return the same number or numbers as NumPy's types."""
    if isinstance(value, bool):
        return [np.bool_(value)]
    if isinstance(value, tuple):
        return [list(value), np.array(value), tuple(map(np.int8, value))]
    kinds = [np.float16, np.float32, np.float64] if isinstance(value, float) else [np.int8, np.int32, np.int64]
    return [kind(value) for kind in (*kinds, np.array)]


def arrays(result):
    return [t.numpy() for t in (result if isinstance(result, tuple) else (result,))]


@pytest.mark.parametrize("name", CALLS)
def test_a_number_of_numpys_gives_what_a_number_of_pythons_gives(name):
    call, options = CALLS[name]
    expected = arrays(call(*options))
    for place, value in enumerate(options):
        for other in others(value):
            found = arrays(call(*options[:place], other, *options[place + 1 :]))
            assert [a.dtype for a in found] == [a.dtype for a in expected], repr(other)
            assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True)), repr(other)


@pytest.mark.parametrize("name", CALLS)
def test_what_is_no_number_is_told_in_words(name):
    call, options = CALLS[name]
    for place, value in enumerate(options):
        if not isinstance(value, bool):
            for other in ("3", [1.5, "a"], object()):
                with pytest.raises(
                    (ValueError, TypeError), match=r"must be|needs|cannot|holds numbers|does not fit|takes"
                ):
                    call(*options[:place], other, *options[place + 1 :])


@pytest.mark.parametrize("layer", [nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Flatten, nn.Dropout])
def test_a_layer_keeps_pythons_numbers(layer):
    one = 0.5 if layer is nn.Dropout else 2
    assert repr(layer(np.array(one))) == repr(layer(one))
    if layer not in (nn.Dropout, nn.Flatten):
        assert repr(layer(np.array([2, 3]))) == repr(layer([2, 3])) == repr(layer((2, 3)))
    assert repr(nn.Conv2d(np.int8(4), 4, 3, groups=np.int8(2))) == repr(nn.Conv2d(4, 4, 3, groups=2))


def test_the_other_length_of_a_grid_may_be_the_images_own():
    assert nn.AdaptiveAvgPool2d((None, np.int64(2)))(images()).shape == (2, 4, 6, 2)
    assert repr(nn.AdaptiveAvgPool2d([None, np.int64(2)])) == "AdaptiveAvgPool2d(output_size=(None, 2))"
