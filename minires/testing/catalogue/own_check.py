"""Check a user's operation at inputs that Hypothesis draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import reject
from hypothesis import strategies as st

from minires.autograd.backward import inputs_first
from minires.autograd.op import Op
from minires.autograd.tensor import Tensor
from minires.device import Array
from minires.errors import SettingsError
from minires.testing import strategies
from minires.testing.calling.arguments import for_64_bits, library_of, nests_arrays
from minires.testing.catalogue.check import DIFFERENCES, Setting
from minires.testing.catalogue.laid_out import in_order
from minires.testing.catalogue.own import OF_ARRAYS, OwnOperation, must_fit
from minires.testing.catalogue.own_module import place_of
from minires.testing.catalogue.table import CheckRow, explore
from minires.testing.layouts import MEMORY_ORDERS, lay_out
from minires.testing.report import KINK, NOT_FINITE, GradientError, GradientReport, Inconclusive
from minires.testing.tensors import TensorPair
from minires.testing.tensors import check_gradient as check_tensors
from minires.testing.vjp import check_vjp

Shape = tuple[int, ...]

_ENOUGH = 3  # points after which one of the user's gradients must have been met
_KINDS = ("smooth", "positive", "near_kinks", "apart")


def check_own(
    operation: OwnOperation, shapes: Sequence[Shape] | None, setting: Setting, order: int, examples: int, seed: int
) -> CheckRow:
    """Check ``examples`` points, each one in every memory order, at inputs of these shapes, or of drawn ones.

    A point is left out if the function raises there, is not finite, or has a corner.

    Raises
    ------
    SettingsError : if no point could be checked, or no gradient is the user's; the text says why.
    """
    if operation.vjp is not None and order == 2:
        raise SettingsError(f"{operation.name} has a vjp of arrays, which has no gradient itself: leave --order out")
    try:
        return _Check(operation, setting, order).points(shapes, examples, seed)
    except SystemExit as stop:
        raise SettingsError(
            f"{operation.name}, or its gradient, calls sys.exit({'' if stop.code is None else repr(stop.code)}), so it "
            f"was not checked; it is {operation.place}"
        ) from stop


class _Check:
    def __init__(self, operation: OwnOperation, setting: Setting, order: int) -> None:
        self.operation, self.setting, self.order = operation, setting, order
        self.row = CheckRow(operation.name, setting)
        self.left_out, self.hint = "", ""
        self.ops: dict[type[Op], None] = {}

    def points(self, shapes: Sequence[Shape] | None, examples: int, seed: int) -> CheckRow:
        """Check drawn points and return the row."""
        if shapes is None:
            count = self.operation.inputs()
            if count > 1:
                self.hint = (
                    "\nInputs of one shape were drawn; if theirs must differ, give --shapes, as in --shapes 2x3 3x4"
                )
            drawn = strategies.shapes(max_side=4).map(lambda shape: (shape,) * count)
        else:
            must_fit(self.operation, shapes)
            drawn = st.just(tuple(shapes))
        points = st.tuples(drawn, st.sampled_from(_KINDS), strategies.seeds())
        self.row.failure = explore(points, self._at, examples, seed)
        name = self.operation.name
        if not self.row.failure and not any(self.row.cases.values()):
            why = self.left_out or "nothing that has a gradient was computed"
            raise SettingsError(f"{name} could not be checked at any point: {why}{self.hint}")
        if not self.row.failure:
            self._must_have_a_gradient()
        gradients = ", ".join(self._gradients()) or "minires' own"
        self.row.checked = {"function": self.operation.place, "gradient": gradients}
        return self.row

    def _gradients(self) -> list[str]:
        """Return where the user's gradients are defined, as far as calls have met them."""
        if self.operation.vjp is not None:
            return [self.operation.gradient_place]
        return [place_of(op.backward) for op in self.ops if op.__module__.partition(".")[0] != "minires"]

    def _must_have_a_gradient(self) -> None:
        if self._gradients():
            return
        raise SettingsError(
            f"{self.operation.name} is made of operations of minires alone, so no gradient of yours was checked (those "
            f"of minires agreed in {self.row.checks} checks; `minires check` proves them one by one). A gradient of "
            f"your own is the backward of an Op that it calls, or stands beside a function of arrays; it is "
            f"{self.operation.place}"
        )

    def _at(self, point: tuple[tuple[Shape, ...], str, int]) -> None:
        chosen, kind, number = point
        try:
            arrays = [strategies.array(shape, number, kind, stream=stream) for stream, shape in enumerate(chosen)]
        except (MemoryError, ValueError, OverflowError) as error:  # the latter two for more than any memory has
            raise _too_large(error) from error
        for memory in MEMORY_ORDERS:
            try:
                report = self._check(arrays, memory, number)
            except MemoryError as error:
                raise _too_large(error) from error
            except Inconclusive as error:
                if error.cause not in (KINK, NOT_FINITE):
                    raise self._described(error, chosen, kind, memory, number) from error
                self.left_out = self.left_out or str(error)
                reject()
            except GradientError as error:
                raise self._described(error, chosen, kind, memory, number) from error
            except _Refused as error:
                self.left_out = self.left_out or str(error)
                reject()
            except (SettingsError, AssertionError):
                raise
            except Exception as error:  # any exception of the vjp for inputs that its function takes
                failure = GradientError(f"the gradient cannot be computed: {type(error).__name__}: {error}")
                raise self._described(failure, chosen, kind, memory, number) from error
            if not report.compared:
                self.left_out = self.left_out or "all of its inputs, or all of its outputs, are empty"
                reject()
            self.row.count(memory, DIFFERENCES, report.resolution)
        if self.row.checks >= _ENOUGH * len(MEMORY_ORDERS):
            self._must_have_a_gradient()

    def _check(self, arrays: Sequence[Array], memory: str, seed: int) -> GradientReport:
        operation = self.operation
        if operation.vjp is not None:
            laid = [lay_out(array, memory) for array in arrays]
            returned = _try(lambda: operation.function(*laid))
            _must_be_somewhere_finite(returned[0] if operation.has_cache and isinstance(returned, tuple) else returned)
            return check_vjp(operation.function, operation.vjp, *laid, rng=seed, has_cache=operation.has_cache)
        checked = None
        if operation.layer is not None:  # parameters are given, so one memory order is enough for them
            checked = None if memory == "C" else list(range(len(arrays)))
            arrays = [*arrays, *operation.layer.values]
        function = in_order(operation.function, memory, self.setting.kernels)
        pair = TensorPair(function, range(len(arrays)), [self.setting.device] * len(arrays))
        returned = _try(lambda: operation.function(*pair.tensors(arrays)), f" ({OF_ARRAYS})")
        self._must_be_a_tensor(returned)
        self.ops.update(dict.fromkeys(type(op) for op in inputs_first([returned])))
        _must_be_somewhere_finite(returned.numpy())
        return check_tensors(function, *pair.tensors(arrays), order=self.order, rng=seed, argnums=checked)

    def _must_be_a_tensor(self, returned: Any) -> None:
        name = self.operation.name
        if isinstance(returned, tuple | list) and all(isinstance(output, Tensor) for output in returned):
            raise SettingsError(f"{name} returns {len(returned)} Tensors: check a function that returns one")
        if not isinstance(returned, Tensor):
            raise SettingsError(f"{name} returns a {type(returned).__name__}, not a Tensor; {OF_ARRAYS}")

    def _described(
        self, error: GradientError, shapes: Sequence[Shape], kind: str, memory: str, seed: int
    ) -> GradientError:
        inputs = ", ".join(f"x{n} {shape}" for n, shape in enumerate(shapes))
        text = f"{inputs}, {kind} values of seed {seed}, memory order {memory}\n{error}"
        return GradientError(text + ("" if error.finding else self.hint), error.finding)


def _too_large(error: Exception) -> SettingsError:
    reason = str(error) or type(error).__name__
    return SettingsError(f"the check needs more memory than there is ({reason}): give smaller --shapes")


class _Refused(Exception):
    """The function does not take these inputs."""


def _try(call: Callable[[], Any], hint: str = "") -> Any:
    try:
        with np.errstate(all="ignore"):
            return call()
    except MemoryError:
        raise
    except Exception as error:  # any exception of the function for inputs that it does not take
        raise _Refused(f"it raises {type(error).__name__}: {error}{hint}") from error


def _must_be_somewhere_finite(values: Any) -> None:
    outputs = values if isinstance(values, tuple | list) else (values,)
    if any(map(nests_arrays, outputs)):
        raise SettingsError("the function must return an array or a flat tuple of arrays, not a tuple in a tuple")
    found = [np.asarray(array) for array in outputs]
    floats = [array for array in found if array.dtype.kind == "f"]
    if not floats:
        raise _Refused(f"its values are {found[0].dtype if found else 'none'}, and only floats have a gradient")
    narrow = next((array.dtype for array in floats if array.dtype != np.float64), None)
    if narrow is not None:
        raise SettingsError(
            f"the function returns {narrow} for float64 inputs, so its gradient was not checked: finite differences "
            f"need float64; keep the dtype of the inputs{for_64_bits(library_of(outputs[0]))}"
        )
    if not any(np.isfinite(array).any() or not array.size for array in floats):
        raise _Refused("its values are not finite")
