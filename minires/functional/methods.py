"""The functions of a tensor's operators and methods, entered into the dictionary in which values.py looks them up."""

from __future__ import annotations

from minires.functional import (
    activation,
    arithmetic,
    cast,
    elementary,
    in_place,
    matmul,
    reduction,
    shape,
)
from minires.values import METHODS

METHODS.update(
    {
        function.__name__: function
        for function in (
            *(arithmetic.add, arithmetic.subtract, arithmetic.multiply, arithmetic.divide, arithmetic.power),
            *(elementary.negative, elementary.exp, elementary.log, elementary.sqrt, elementary.clip, matmul.matmul),
            *(activation.sigmoid, activation.tanh, cast.clone, cast.to),
            *(reduction.sum, reduction.mean, reduction.var, reduction.max, reduction.min),
            *(shape.reshape, shape.permute, shape.transpose, shape.flatten, shape.getitem),
            *(in_place.updated, in_place.update, in_place.setitem, in_place.copy_, in_place.fill_),
            in_place.add_in_place,
        )
    },
    abs=elementary.absolute,
    equal=arithmetic.equal,
    not_equal=arithmetic.not_equal,
    less=arithmetic.less,
    less_equal=arithmetic.less_equal,
    greater=arithmetic.greater,
    greater_equal=arithmetic.greater_equal,
)
