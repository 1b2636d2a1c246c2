"""One step of an optimizer for all parameters at once, shared among the threads.

Most parameters are small, and a call for each would take longer than its arithmetic. A few parameters hold most of the
elements. So each parameter is cut into blocks, and neighbouring blocks are put together until they are large enough for
a job. Intermediate values are kept for one block at a time, so they stay in the cache.

Results are equal to the reference's in every bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from minires.device import Array
from minires.kernels.checks import check_adam, check_sgd
from minires.kernels.fast.elementwise import flat_views
from minires.kernels.fast.layout import blocks, even
from minires.scratch import scratch
from minires.threads import parallel

_BLOCK = 1 << 17  # elements that are updated together
_JOB = 1 << 19  # elements in a job, if there are that many
_TWO_JOBS = 1 << 19  # elements from which there are at least two jobs: below, Python takes most of the time


def sgd_(
    ps: Sequence[Array],
    gs: Sequence[Array],
    velocities: Sequence[Array] | None,
    lr: float,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    first: bool = False,
) -> None:
    """Take one step of stochastic gradient descent, as `reference.optim.sgd_`."""
    check_sgd(ps, gs, velocities, momentum)
    kept = [] if velocities is None else [velocities]
    lr, momentum, others, weight_decay = float(lr), float(momentum), 1 - float(dampening), float(weight_decay)

    def update(p: Array, g: Array, v: Array | None = None) -> None:
        rest = scratch("step rest", p.shape, p.dtype)
        d = g
        if weight_decay:
            d = np.multiply(p, weight_decay, out=scratch("step direction", p.shape, p.dtype))
            np.add(g, d, out=d)  # (1)
        if momentum and v is not None:
            if first:
                np.copyto(v, d)  # (2)
            else:
                np.multiply(v, momentum, out=v)
                np.add(v, d if others == 1 else np.multiply(d, others, out=rest), out=v)
            d = np.add(d, np.multiply(v, momentum, out=rest), out=rest) if nesterov else v  # (3)
        np.subtract(p, np.multiply(d, lr, out=rest), out=p)  # (4)

    _for_each(update, ps, gs, *kept)


def adam_(
    ps: Sequence[Array],
    gs: Sequence[Array],
    ms: Sequence[Array],
    vs: Sequence[Array],
    step: int,
    lr: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled: bool = False,
) -> None:
    """Take one step of Adam or AdamW, as `reference.optim.adam_`."""
    check_adam(ps, gs, ms, vs, step)
    lr, beta1, beta2, weight_decay = float(lr), float(beta1), float(beta2), float(weight_decay)

    def update(p: Array, g: Array, m: Array, v: Array) -> None:
        rest = scratch("step rest", p.shape, p.dtype)
        if weight_decay and decoupled:
            np.multiply(p, 1 - lr * weight_decay, out=p)  # (1)
        elif weight_decay:
            decayed = np.multiply(p, weight_decay, out=scratch("step direction", p.shape, p.dtype))
            g = np.add(g, decayed, out=decayed)
        np.multiply(np.subtract(g, m, out=rest), 1 - beta1, out=rest)
        np.add(m, rest, out=m)  # (2)
        np.multiply(v, beta2, out=v)
        np.multiply(np.multiply(g, 1 - beta2, out=rest), g, out=rest)
        np.add(v, rest, out=v)  # (3)
        scale = np.sqrt(v, out=scratch("step scale", p.shape, p.dtype))
        np.divide(scale, (1 - beta2**step) ** 0.5, out=scale)
        np.add(scale, float(eps), out=scale)
        np.divide(np.multiply(m, lr / (1 - beta1**step), out=rest), scale, out=rest)
        np.subtract(p, rest, out=p)  # (4)

    _for_each(update, ps, gs, ms, vs)


def _for_each(update: Callable[..., None], *arrays: Sequence[Array]) -> None:
    """Call ``update(p, g, …)`` on blocks of all parameters and of the arrays beside them."""
    count = sum(p.size for p in arrays[0])
    least = 2 if count >= _TWO_JOBS else 1
    jobs = _together(_blocks(*arrays), count / max(least, even(-(-count // _JOB))))

    def run(job: list[tuple[Array, ...]]) -> None:
        for block in job:
            update(*block)

    parallel(run, jobs)


def _blocks(*arrays: Sequence[Array]) -> Iterator[tuple[Array, ...]]:
    """Yield each parameter and the arrays beside it in blocks, or whole if their memory layouts differ."""
    for alike in zip(*arrays, strict=True):
        vectors = flat_views(*alike)
        if vectors is None:
            yield alike
        else:
            yield from (tuple(vector[part] for vector in vectors) for part in blocks(vectors[0].size, _BLOCK))


def _together(parts: Iterator[tuple[Array, ...]], size: float) -> list[list[tuple[Array, ...]]]:
    """Group neighbouring blocks into jobs of about ``size`` elements.

    Two blocks are in the same job if their middle elements fall into the same stretch of ``size`` elements.
    """
    jobs: dict[int, list[tuple[Array, ...]]] = {}
    before = 0
    for part in parts:
        jobs.setdefault(int((before + part[0].size / 2) // max(size, 1)), []).append(part)
        before += part[0].size
    return list(jobs.values())
