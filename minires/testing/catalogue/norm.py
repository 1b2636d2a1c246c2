"""Batch normalisation in training and inference, alone, and with a shortcut and ReLU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from minires import functional as F
from minires.autograd.tensor import Tensor
from minires.device import Array, asarray, on_device_of, xp_of
from minires.testing import strategies
from minires.testing.catalogue.entry import Case, Entry


def _images(draw: st.DrawFn, least: int) -> tuple[int, int, int, int]:
    """Draw a shape (N, C, H, W) with at least ``least`` elements in a channel."""
    N, C, H, W = (draw(st.integers(1, 3)) for _ in range(4))
    return max(N, -(-least // (H * W))), C, H, W


def _training(act: bool) -> Callable[[st.DrawFn], Case]:
    def draw_case(draw: st.DrawFn) -> Case:
        x = _images(draw, 3)  # one or two elements are constants when normalised, up to eps
        eps = draw(st.sampled_from((1e-5, 0.1)))
        shapes, text, call = _parts(draw, x, act)

        def norm(*tensors: Any) -> Any:
            return call(tensors, None, None, training=True, eps=eps)

        return Case(norm, shapes, f"{text}, training=True, eps={eps})", own_formula=True)

    return draw_case


def _inference(act: bool) -> Callable[[st.DrawFn], Case]:
    def draw_case(draw: st.DrawFn) -> Case:
        x = _images(draw, 1)
        shapes, text, call = _parts(draw, x, act)
        rng = np.random.default_rng(draw(strategies.seeds()))
        dyadic = draw(st.booleans())
        eps = 0.0 if dyadic else 1e-5
        mean = rng.integers(-3, 4, x[1]) if dyadic else rng.standard_normal(x[1], np.float32)
        var = 4.0 ** rng.integers(-1, 2, x[1]) if dyadic else 0.5 + rng.random(x[1], np.float32)

        def norm(*tensors: Any) -> Any:
            return call(tensors, _like(tensors[0], mean), _like(tensors[0], var), training=False, eps=eps)

        # Half integers, shifted by odd quarters: never on ReLU's corner.
        exact = ("integers", "integers", "odd quarters", "integers")[: len(shapes)] if dyadic else None
        text += f", mean={mean.tolist()}, var={var.tolist()}, eps={eps})"
        return Case(norm, shapes, text, exact=exact, own_formula=True)

    return draw_case


def _parts(draw: st.DrawFn, x: tuple[int, int, int, int], act: bool) -> tuple[Any, str, Callable[..., Any]]:
    """Return the shapes of the inputs, the beginning of the call's text, and the call."""
    shapes: tuple[tuple[int, ...], ...] = (x, (x[1],), (x[1],))
    if not act:

        def plain(t: Any, mean: Any, var: Any, **options: Any) -> Any:
            return F.batch_norm(t[0], mean, var, t[1], t[2], **options)

        return shapes, "batch_norm(x0, weight=x1, bias=x2", plain
    shortcut, relu = draw(st.booleans()), draw(st.booleans())
    if shortcut:
        shapes = (*shapes, x)

    def call(t: Any, mean: Any, var: Any, **options: Any) -> Any:
        return F.batch_norm_act(t[0], mean, var, t[1], t[2], shortcut=t[3] if shortcut else None, relu=relu, **options)

    return shapes, f"batch_norm_act(x0, weight=x1, bias=x2, shortcut={'x3' if shortcut else None}, relu={relu}", call


def _like(x: Any, values: Array) -> Tensor:
    """Return constants with the dtype, the device and the array class of x."""
    with on_device_of(x.array):
        made = xp_of(x.array).empty_like(x.array, shape=values.shape)
        made[...] = asarray(values, x.device)
    return Tensor(made)


ENTRIES = (
    Entry("batch_norm, training", _training(act=False)),
    Entry("batch_norm, inference", _inference(act=False)),
    Entry("batch_norm_act, training", _training(act=True)),
    Entry("batch_norm_act, inference", _inference(act=True)),
)
