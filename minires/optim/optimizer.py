"""The base of all optimizers: parameter groups, steps that update all parameters or none, states to save and load."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np

from minires import kernels
from minires.autograd.tensor import Tensor
from minires.device import Array, copied, full_like, is_array, on_device_of
from minires.errors import CheckpointError
from minires.optim.checks import check_parameter, check_parameter_gradient
from minires.optim.state import checked_groups, checked_state
from minires.options import check_not_negative
from minires.write_guard import thawed

# Parameters, or dictionaries of parameters (under "params") and options.
Params: TypeAlias = Iterable[Tensor] | Iterable[Mapping[str, Any]]


class Optimizer:
    """The base of all optimizers.

    A subclass defines `update`. It keeps values between steps for each parameter, and names them in ``arrays`` (arrays
    of the parameter's shape and dtype) and ``counts`` (integers). `stage` says which parameters one call can update.

    In float16 small updates would be lost. So the state of each float16 parameter also holds a float32 copy of it, the
    "master". `update` gets the master, and ``arrays`` have its dtype; the parameter is the master, rounded. If the
    parameter was changed since the last step (`load_state_dict` of its module, `assign_`), the master follows it.

    Parameters
    ----------
    params : parameters, or one dictionary for each group: its parameters (or its only one) under "params", and the
        options that differ from ``defaults``
    defaults : the options of all groups

    Raises
    ------
    ValueError : without parameters; for a group without "params", an option that is unknown or out of range, or a
        parameter that occurs twice.
    TypeError : if ``params`` is a single tensor, or one of the parameters is not a tensor.
    GraphError : for a tensor that was computed, or is a view of another: a step could not change it.

    Attributes
    ----------
    param_groups : one dictionary for each group, with its parameters under "params" and its options
    state : what is kept between steps, by the index of the parameter, counted through all groups
    """

    arrays: tuple[str, ...] = ()
    counts: tuple[str, ...] = ()

    def __init__(self, params: Params, defaults: dict[str, Any]) -> None:
        if isinstance(params, Tensor):
            raise TypeError(f"params is a single {type(params).__name__}: put it in a list, [parameter]")
        given = _listed(params, "params")
        if not given:
            raise ValueError(
                "an optimizer needs at least one parameter; an iterator that was used before has none left"
            )
        self.defaults = defaults
        self.param_groups: list[dict[str, Any]] = []
        self.state: dict[int, dict[str, Any]] = {}
        for group in given if isinstance(given[0], Mapping) else [{"params": given}]:
            self.add_param_group(group)

    def __repr__(self) -> str:
        groups = [_group_text(group) for group in self.param_groups]
        if len(groups) == 1:
            return f"{type(self).__name__}({groups[0]})"
        lines = "".join(f"  group {index}: {text}\n" for index, text in enumerate(groups))
        return f"{type(self).__name__}(\n{lines})"

    def __getstate__(self) -> dict[str, Any]:
        """Return what to pickle or copy, with tensors for arrays: these keep their device and their memory order."""
        state = {
            index: {name: Tensor(copied(value)) if is_array(value) else value for name, value in kept.items()}
            for index, kept in self.state.items()
        }
        return {**vars(self), "state": state}

    def __setstate__(self, saved: dict[str, Any]) -> None:
        vars(self).update(saved)
        for kept in self.state.values():
            kept.update({k: thawed(v._array) for k, v in kept.items() if isinstance(v, Tensor)})

    def add_param_group(self, param_group: Mapping[str, Any]) -> None:
        """Add a group, such as layers that begin to learn later. Schedules include it from then on.

        Parameters
        ----------
        param_group : its parameters (or its only one) under "params", and the options that differ from the defaults

        Raises
        ------
        ValueError, TypeError, GraphError : as the constructor raises; then nothing has changed.
        """
        number = len(self.param_groups)
        if not isinstance(param_group, Mapping):
            raise TypeError(
                f"group {number} is a {type(param_group).__name__}; expected a dictionary with its parameters under "
                '"params" (all groups are dictionaries, or there are only parameters)'
            )
        if "params" not in param_group:
            raise ValueError(
                f'group {number} has no "params", only {list(param_group)}; add the list of its parameters'
            )
        unknown = sorted(set(param_group) - set(self.defaults) - {"params"})
        if unknown:
            raise ValueError(f"group {number} has the unknown options {unknown}; known are {sorted(self.defaults)}")
        params = param_group["params"]
        members = [params] if isinstance(params, Tensor) else _listed(params, f'"params" of group {number}')
        known = {
            id(parameter._version): where for where, parameter, _ in self._every()
        }  # shared memory, shared version
        for index, parameter in enumerate(members):
            where = _where(index, number)
            check_parameter(parameter, where)
            version = id(parameter._version)
            if version in known:
                raise ValueError(f"{where} is {known[version]} again; each belongs to one group, once")
            known[version] = where
        group = {**self.defaults, **param_group, "params": members}
        self.check_options(group)
        self.param_groups.append(group)

    def check_options(self, group: Mapping[str, Any]) -> None:
        """Raise ValueError if an option of a group is out of range; subclasses check theirs too.

        It is called for a new group, for saved options, and by each step, since anyone may set an option.
        """
        for name in ("lr", "weight_decay"):
            if name in group:
                check_not_negative(name, group[name])

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Set all gradients to None, or those that exist to zeros."""
        for _, parameter, _ in self._every():
            zero = parameter.grad is not None and not set_to_none
            parameter.grad = Tensor(full_like(parameter.array, 0)) if zero else None

    def step(self) -> None:
        """Update every parameter that has a gradient. If a gradient or an option does not fit, update none.

        Raises
        ------
        TypeError, ShapeError, DtypeError, DeviceError : if a gradient is not a tensor like its parameter; the gradient
            of a float16 parameter may also be in float32.
        ValueError : if an option was deleted or set out of range, or the memory of a parameter is read-only.
        """
        for number, group in enumerate(self.param_groups):
            if lost := sorted(set(self.defaults) - set(group)):
                raise ValueError(f"group {number} has no {lost} any more; set them again")
            self.check_options(group)
        given = [
            (index, where, parameter, parameter.grad, group)
            for index, (where, parameter, group) in enumerate(self._every())
            if parameter.grad is not None
        ]
        for _, where, parameter, gradient, _ in given:
            check_parameter_gradient(gradient, parameter, where)
        with contextlib.ExitStack() as stack:
            alike: dict[Any, list[tuple[Array, Array, dict[str, Any], dict[str, Any]]]] = {}
            for index, _, parameter, gradient, group in given:
                state = self.state.setdefault(index, {})
                kind = id(group), parameter.device, parameter.dtype, gradient.dtype, self.stage(state)
                p = stack.enter_context(parameter.writable())  # open all before changing any: one may be read-only
                alike.setdefault(kind, []).append((p, gradient.array, group, state))
            for members in alike.values():
                ps, gs, groups, states = (list(column) for column in zip(*members, strict=True))
                update = self._update_masters if ps[0].dtype == np.float16 else self.update
                with on_device_of(*ps):
                    update(ps, gs, groups[0], states)

    def _update_masters(
        self, ps: list[Array], gs: list[Array], group: dict[str, Any], states: list[dict[str, Any]]
    ) -> None:
        """Call `update` with the masters of float16 parameters, and round these to the parameters."""
        for p, state in zip(ps, states, strict=True):
            if "master" not in state:
                state["master"] = copied(p, np.float32)
        masters, chosen = [state["master"] for state in states], kernels.choose(ps[0])
        chosen.follow_(masters, ps)
        if gs[0].dtype != np.float32:
            # Cast to float32. On a GPU `unscale` takes one launch for all arrays, and `astype` one for each.
            *gs, _ = chosen.unscale(gs, 1.0)
        self.update(masters, gs, group, states)
        chosen.narrow_(ps, masters)

    def stage(self, state: dict[str, Any]) -> Any:
        """Return a hashable key; one call of `update` gets only parameters with equal keys."""
        return None

    def update(self, ps: list[Array], gs: list[Array], group: dict[str, Any], states: list[dict[str, Any]]) -> None:
        """Update parameters in place, all of one dtype and device; subclasses define it.

        Parameters
        ----------
        ps, gs : the arrays of the parameters, or their masters, and the gradients
        group : the options
        states : what is kept for each parameter; before its first step, without ``arrays`` and ``counts``
        """
        raise TypeError(f"{type(self).__name__} does not define update")

    def state_dict(self) -> dict[str, Any]:
        """Return the options of the groups, and copies of what is kept for each parameter."""
        groups = [{k: v for k, v in group.items() if k != "params"} for group in self.param_groups]
        state = {
            index: {name: copied(value) if is_array(value) else value for name, value in kept.items()}
            for index, kept in self.state.items()
        }
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Load copies of what `state_dict` returned, on the devices of the parameters; nothing changes unless all fits.

        A state saved in float32 fits in float16, and the reverse. If a float16 parameter has no saved master, the next
        step makes one. The master of a parameter that is not in float16 is ignored.

        Raises
        ------
        CheckpointError : if ``saved`` is not such a state, has other groups, an option out of range, or two states of
            one parameter, or if what it keeps has another name, shape or dtype.
        """
        if not (isinstance(saved, Mapping) and {"state", "param_groups"} <= set(saved)):
            found = list(saved) if isinstance(saved, Mapping) else f"a {type(saved).__name__}"
            raise CheckpointError(f"an optimizer's state has 'state' and 'param_groups', got {found}; use state_dict()")
        groups = checked_groups(saved["param_groups"], self.param_groups, self.check_options, type(self).__name__)
        parameters = [parameter for _, parameter, _ in self._every()]
        state = checked_state(saved["state"], parameters, self.arrays, self.counts, type(self).__name__)
        for group, options in zip(self.param_groups, groups, strict=True):
            group.update(options)
        self.state = state

    def _every(self) -> Iterator[tuple[str, Tensor, dict[str, Any]]]:
        """Yield a name for messages, the parameter and its group, for each parameter in order."""
        for number, group in enumerate(self.param_groups):
            for index, parameter in enumerate(group["params"]):
                yield _where(index, number), parameter, group


def _where(index: int, group: int) -> str:
    return f"parameter {index} of group {group}"


def _group_text(group: Mapping[str, Any]) -> str:
    count = len(group["params"])
    options = [f"{name}={value!r}" for name, value in group.items() if name != "params"]
    return ", ".join([f"{count} parameter" + "s" * (count != 1), *options])


def _listed(params: Any, name: str) -> list[Any]:
    if isinstance(params, Mapping):
        raise TypeError(
            f"{name} is a dictionary with {list(params)[:3]}; give its values, or a list of groups, "
            '[{"params": model.parameters(), "lr": 0.1}, …]'
        )
    if is_array(params) or isinstance(params, set | frozenset | str) or not isinstance(params, Iterable):
        advice = ": call it" if callable(getattr(params, "__func__", None)) else ""
        found = type(params).__name__
        raise TypeError(f"{name} must be a list of tensors, such as model.parameters(), not a {found}{advice}")
    return list(params)
