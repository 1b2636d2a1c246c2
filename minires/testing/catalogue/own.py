"""Operations of a user's own: ``mymodule:my_op`` as something to check, with inputs that Hypothesis draws."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import reject
from hypothesis import strategies as st

from minires.autograd.op import Op
from minires.autograd.tensor import Tensor
from minires.device import Array
from minires.errors import SettingsError
from minires.testing import strategies
from minires.testing.catalogue.check import DIFFERENCES, Setting
from minires.testing.catalogue.laid_out import in_order
from minires.testing.catalogue.table import Row, explore
from minires.testing.layouts import MEMORY_ORDERS, lay_out
from minires.testing.report import KINK, NOT_FINITE, GradientError, GradientReport, Inconclusive
from minires.testing.tensors import TensorPair
from minires.testing.tensors import check_gradient as check_tensors
from minires.testing.vjp import check_vjp

Shape = tuple[int, ...]

_OF_ARRAYS = "a function of arrays needs its gradient beside it, named …_vjp, or as a tuple (forward, vjp)"
_KINDS = ("smooth", "positive", "near_kinks", "apart")


@dataclass(frozen=True)
class OwnOperation:
    """A function of Tensors, or (with ``vjp``) a function of arrays and its gradient."""

    name: str
    function: Callable[..., Any]
    vjp: Callable[..., Any] | None
    signature: inspect.Signature

    def inputs(self) -> int:
        """How many inputs it needs.

        Raises
        ------
        SettingsError : if its signature does not tell.
        """
        positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        parameters = self.signature.parameters.values()
        needed = [p for p in parameters if p.kind in positional and p.default is p.empty]
        if not needed:
            raise SettingsError(f"{self.name} does not tell how many inputs it has: give --shapes, one for each")
        return len(needed)


def find(target: str) -> OwnOperation:
    """The operation that ``module:name`` means; the current directory's modules are found, too.

    It may be a subclass of Op, a function of Tensors, a tuple (forward, vjp), or a function ``name`` of arrays with
    its gradient beside it as ``name_vjp``.

    Raises
    ------
    SettingsError : if there is no such thing, or it is none of these.
    """
    module, _, path = target.partition(":")
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        holder: Any = importlib.import_module(module)
        found: Any = holder
        for part in path.split("."):
            holder, found = found, getattr(found, part)
    except Exception as error:  # whatever somebody's module raises when it is imported
        raise SettingsError(f"{target} cannot be imported: {type(error).__name__}: {error}") from error
    vjp = getattr(holder, f"{path.rpartition('.')[2]}_vjp", None)
    if isinstance(found, type) and issubclass(found, Op):
        _, *parameters = inspect.signature(found.forward).parameters.values()
        return OwnOperation(target, found.apply, None, inspect.Signature(parameters))
    if isinstance(found, tuple | list) and len(found) == 2 and all(map(callable, found)):
        found, vjp = found
    kind = _unlike_an_operation(found)
    if kind:
        raise SettingsError(f"{target} is {kind}; expected an Op, a function of Tensors, or (forward, vjp)")
    try:
        return OwnOperation(target, found, vjp, inspect.signature(found))
    except ValueError as error:  # some functions written in C do not tell
        raise SettingsError(f"{target} does not tell what inputs it takes: put it into a function of yours") from error


def _unlike_an_operation(found: Any) -> str:
    """What it is, if it is no operation."""
    if isinstance(found, type):
        return "a class, but no subclass of minires.Op"
    if inspect.iscoroutinefunction(found) or inspect.isasyncgenfunction(found):
        return "asynchronous"
    return "" if callable(found) else f"a {type(found).__name__}"


def check_own(
    operation: OwnOperation, shapes: Sequence[Shape] | None, setting: Setting, order: int, examples: int, seed: int
) -> Row:
    """Check ``examples`` points, each one in every memory order; ``shapes`` are those of the inputs, or drawn.

    Points where the function is not defined (it raises, or is not finite) or has a corner are left out.

    Raises
    ------
    SettingsError : if no point could be checked; the text says why not.
    """
    row, left_out = Row(operation.name, setting), [""]
    if operation.vjp is not None and order == 2:
        raise SettingsError(f"{operation.name} has a vjp of arrays, which has no gradient itself: leave --order out")
    hint = ""
    if shapes is None:
        count = operation.inputs()
        if count > 1:
            hint = "\nInputs of one shape were drawn; if theirs must differ, give --shapes, as in --shapes 2x3 3x4"
        drawn = strategies.shapes(max_side=4).map(lambda shape: (shape,) * count)
    else:
        _must_fit(operation, len(shapes))
        drawn = st.just(tuple(shapes))

    def run(point: tuple[tuple[Shape, ...], str, int]) -> None:
        chosen, kind, number = point
        arrays = [strategies.array(shape, number, kind, stream=stream) for stream, shape in enumerate(chosen)]
        for memory in MEMORY_ORDERS:
            try:
                report = _check(operation, arrays, setting, memory, order, number)
            except Inconclusive as error:
                if error.cause not in (KINK, NOT_FINITE):
                    raise _described(error, chosen, kind, memory, number, hint) from error
                left_out[0] = left_out[0] or str(error)
                reject()
            except GradientError as error:
                raise _described(error, chosen, kind, memory, number, hint) from error
            except _Refused as error:
                left_out[0] = left_out[0] or str(error)
                reject()
            except (SettingsError, AssertionError):
                raise
            except Exception as error:  # whatever a vjp raises for inputs that its function takes
                failure = GradientError(f"the gradient cannot be computed: {type(error).__name__}: {error}")
                raise _described(failure, chosen, kind, memory, number, hint) from error
            row.count(memory, DIFFERENCES, report.resolution)

    points = st.tuples(drawn, st.sampled_from(_KINDS), strategies.seeds())
    row.failure = explore(points, run, examples, seed)
    if not row.failure and not any(row.cases.values()):
        raise SettingsError(f"{operation.name} could not be checked at any point: {left_out[0]}{hint}")
    return row


class _Refused(Exception):
    """The function does not take these inputs."""


def _must_fit(operation: OwnOperation, count: int) -> None:
    try:
        operation.signature.bind(*range(count))
    except TypeError as error:
        raise SettingsError(f"{operation.name} does not take {count} inputs: {error}") from error


def _check(
    operation: OwnOperation, arrays: Sequence[Array], setting: Setting, memory: str, order: int, seed: int
) -> GradientReport:
    if operation.vjp is not None:
        laid = [lay_out(array, memory) for array in arrays]
        _must_be_somewhere_finite(_try(lambda: operation.function(*laid)))
        return check_vjp(operation.function, operation.vjp, *laid, rng=seed)
    function = in_order(operation.function, memory, setting.kernels)
    pair = TensorPair(function, range(len(arrays)), [setting.device] * len(arrays))
    returned = _try(lambda: operation.function(*pair.tensors(arrays)), f" ({_OF_ARRAYS})")
    if isinstance(returned, tuple | list) and all(isinstance(output, Tensor) for output in returned):
        raise SettingsError(f"{operation.name} returns {len(returned)} Tensors: check a function that returns one")
    if not isinstance(returned, Tensor):
        raise SettingsError(f"{operation.name} returns a {type(returned).__name__}, not a Tensor; {_OF_ARRAYS}")
    _must_be_somewhere_finite(returned.numpy())
    return check_tensors(function, *pair.tensors(arrays), order=order, rng=seed)


def _try(call: Callable[[], Any], hint: str = "") -> Any:
    try:
        with np.errstate(all="ignore"):
            return call()
    except Exception as error:  # whatever a function raises for inputs that are not for it
        raise _Refused(f"it raises {type(error).__name__}: {error}{hint}") from error


def _must_be_somewhere_finite(values: Any) -> None:
    found = [np.asarray(array) for array in (values if isinstance(values, tuple | list) else (values,))]
    floats = [array for array in found if array.dtype.kind == "f"]
    if not floats:
        raise _Refused(f"its values are {found[0].dtype if found else 'none'}, and only floats have a gradient")
    if not any(np.isfinite(array).any() or not array.size for array in floats):
        raise _Refused("its values are not finite")


def _described(
    error: GradientError, shapes: Sequence[Shape], kind: str, memory: str, seed: int, hint: str
) -> GradientError:
    inputs = ", ".join(f"x{n} {shape}" for n, shape in enumerate(shapes))
    text = f"{inputs}, {kind} values of seed {seed}, memory order {memory}\n{error}"
    return GradientError(text + ("" if error.finding else hint), error.finding)
