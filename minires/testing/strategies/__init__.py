"""Hypothesis strategies for property tests of array code: shapes, windows, memory orders, values.

They draw shapes, geometry and a seed, never long lists of numbers. So a failing example is a few integers, and
shrinking leads to the smallest geometry that still fails. `array` turns a shape, a kind and a seed into values, and
`arrays` is the strategy for it. The text of an array in a failing example is the call that makes the array again.

Read in this order: `shape`, `window`, `value`.
"""

from minires.testing.strategies.shape import (
    axes,
    broadcast_pairs,
    indices,
    mask,
    pad_widths,
    permutations,
    reshape_targets,
    seeds,
    shapes,
)
from minires.testing.strategies.value import KINDS, array, arrays, dtypes, kinds, labels, memory_orders
from minires.testing.strategies.window import (
    AdaptiveCase,
    ConvCase,
    PoolCase,
    adaptive_cases,
    conv_cases,
    pool_cases,
)

__all__ = [
    "KINDS",
    "AdaptiveCase",
    "ConvCase",
    "PoolCase",
    "adaptive_cases",
    "array",
    "arrays",
    "axes",
    "broadcast_pairs",
    "conv_cases",
    "dtypes",
    "indices",
    "kinds",
    "labels",
    "mask",
    "memory_orders",
    "pad_widths",
    "permutations",
    "pool_cases",
    "reshape_targets",
    "seeds",
    "shapes",
]
