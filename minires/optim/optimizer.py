"""The base of all optimizers: parameter groups, a step that is whole or not made at all, a state that can be saved."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from numbers import Integral
from typing import Any, TypeAlias

import numpy as np

from minires import kernels
from minires.autograd.tensor import Tensor
from minires.device import Array, asarray, copied, full_like, is_array, on_device_of
from minires.errors import CheckpointError
from minires.optim.checks import check_count, check_kept, check_parameter, check_parameter_gradient
from minires.optim.options import check_not_negative
from minires.write_guard import thawed

# Parameters, or dictionaries of parameters (under "params") and options.
Params: TypeAlias = Iterable[Tensor] | Iterable[Mapping[str, Any]]


class Optimizer:
    """The base of all optimizers.

    A subclass defines `update`, and names in ``arrays`` and ``counts`` what it keeps between steps for each
    parameter: arrays of the parameter's shape and dtype, and integers. `stage` says which parameters can be updated
    in one call.

    For each parameter in float16, in which small updates would be lost, a copy in float32 is kept beside them, the
    "master". It is what `update` gets and what ``arrays`` are like; the parameter is the master, rounded. Where a
    parameter was changed since the last step (`load_state_dict` of its module, `assign_`), its master follows.

    Parameters
    ----------
    params : parameters, or dictionaries, one for each group: its parameters (or the only one) under "params", and
        beside them the options in which it differs
    defaults : the options of the groups that do not say otherwise

    Raises
    ------
    ValueError : without parameters; for a group without "params", an option that is unknown or out of range, or a
        parameter that is there twice.
    TypeError : if ``params`` is a lone tensor, or something among the parameters is not a tensor.
    GraphError : for a tensor that was computed, or is a view of another: a step could not change it.

    Attributes
    ----------
    param_groups : one dictionary per group, with its parameters under "params" and its options beside them
    state : per parameter (by its place, counted through the groups), what is kept between steps
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
        lines = "".join(f"  group {place}: {text}\n" for place, text in enumerate(groups))
        return f"{type(self).__name__}(\n{lines})"

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled and copied: arrays as tensors, which come back on their device in their memory order."""
        state = {place: {k: Tensor(_copy(v)) if is_array(v) else v for k, v in kept.items()}
                 for place, kept in self.state.items()}  # fmt: skip
        return {**vars(self), "state": state}

    def __setstate__(self, saved: dict[str, Any]) -> None:
        vars(self).update(saved)
        for kept in self.state.values():
            kept.update({k: thawed(v._array) for k, v in kept.items() if isinstance(v, Tensor)})

    def add_param_group(self, param_group: Mapping[str, Any]) -> None:
        """Add a group after the others, such as layers that begin to learn later; schedules take it up.

        Parameters
        ----------
        param_group : its parameters (or the only one) under "params", and the options that are not the defaults

        Raises
        ------
        ValueError, TypeError, GraphError : as when the optimizer is made; nothing changes then.
        """
        place = len(self.param_groups)
        if not isinstance(param_group, Mapping):
            raise TypeError(
                f"group {place} is a {type(param_group).__name__}; expected a dictionary with its parameters under "
                '"params" (all groups are dictionaries, or there are only parameters)'
            )
        if "params" not in param_group:
            raise ValueError(f'group {place} has no "params", only {list(param_group)}; add the list of its parameters')
        unknown = sorted(set(param_group) - set(self.defaults) - {"params"})
        if unknown:
            raise ValueError(f"group {place} has the unknown options {unknown}; known are {sorted(self.defaults)}")
        params = param_group["params"]
        members = [params] if isinstance(params, Tensor) else _listed(params, f'"params" of group {place}')
        places = {id(parameter._version): where for where, parameter, _ in self._every()}  # twins share their memory
        for index, parameter in enumerate(members):
            where = _place(index, place)
            check_parameter(parameter, where)
            version = id(parameter._version)
            if version in places:
                raise ValueError(f"{where} is {places[version]} again; each belongs to one group, once")
            places[version] = where
        group = {**self.defaults, **param_group, "params": members}
        self.check_options(group)
        self.param_groups.append(group)

    def check_options(self, group: Mapping[str, Any]) -> None:
        """Make sure that the options of a group are in range; subclasses add theirs.

        Raises
        ------
        ValueError : if one is not.
        """
        for name in ("lr", "weight_decay"):
            if name in group:
                check_not_negative(name, group[name])

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Set the gradients to None, or to new zeros where there are any."""
        for _, parameter, _ in self._every():
            zero = parameter.grad is not None and not set_to_none
            parameter.grad = Tensor(full_like(parameter.array, 0)) if zero else None

    def step(self) -> None:
        """Update every parameter that has a gradient, or, when a gradient or an option does not fit, none.

        Raises
        ------
        TypeError, ShapeError, DtypeError, DeviceError : if a gradient is not a tensor like its parameter; that of a
            float16 parameter may also be in float32.
        ValueError : if an option was set to a value out of range, or the memory of a parameter is read-only.
        """
        for place, group in enumerate(self.param_groups):
            if lost := sorted(set(self.defaults) - set(group)):
                raise ValueError(f"group {place} has no {lost} any more; set them again")
            self.check_options(group)
        every = list(self._every())
        for where, parameter, _ in every:
            if parameter.grad is not None:
                check_parameter_gradient(parameter.grad, parameter, where)
        alike: dict[Any, list[tuple[Tensor, dict[str, Any], dict[str, Any]]]] = {}
        for place, (_, parameter, group) in enumerate(every):
            if parameter.grad is not None:
                state = self.state.setdefault(place, {})
                kind = id(group), parameter.device, parameter.dtype, parameter.grad.dtype, self.stage(state)
                alike.setdefault(kind, []).append((parameter, group, state))
        with contextlib.ExitStack() as stack:
            arrays = {  # of all before any is changed: memory may be read-only
                id(p): stack.enter_context(p.writable()) for members in alike.values() for p, _, _ in members
            }
            for members in alike.values():
                parameters, groups, states = (list(column) for column in zip(*members, strict=True))
                ps, gs = [arrays[id(p)] for p in parameters], [p.grad.array for p in parameters]
                update = self._update_masters if ps[0].dtype == np.float16 else self.update
                with on_device_of(*ps):
                    update(ps, gs, groups[0], states)

    def _update_masters(
        self, ps: list[Array], gs: list[Array], group: dict[str, Any], states: list[dict[str, Any]]
    ) -> None:
        """`update` of the masters of parameters in float16, and of the parameters by them."""
        for p, state in zip(ps, states, strict=True):
            if "master" not in state:
                state["master"] = copied(p, np.float32)
        masters, chosen = [state["master"] for state in states], kernels.choose(ps[0])
        chosen.follow_(masters, ps)
        if gs[0].dtype != np.float32:
            # A cast to float32, for which `unscale` takes one launch for all where `astype` takes one for each.
            *gs, _ = chosen.unscale(gs, 1.0)
        self.update(masters, gs, group, states)
        chosen.narrow_(ps, masters)

    def stage(self, state: dict[str, Any]) -> Any:
        """What only parameters have in common that can be updated in one call, a key of a dictionary."""
        return None

    def update(self, ps: list[Array], gs: list[Array], group: dict[str, Any], states: list[dict[str, Any]]) -> None:
        """Update some parameters in place, arrays of one dtype and device; subclasses define it.

        Parameters
        ----------
        ps, gs : the parameters' arrays, or their masters, and their gradients
        group : the options
        states : what is kept for each parameter, a dictionary without ``arrays`` and ``counts`` before its first step
        """
        raise TypeError(f"{type(self).__name__} does not define update")

    def state_dict(self) -> dict[str, Any]:
        """Options of the groups and copies of what is kept per parameter."""
        groups = [{k: v for k, v in group.items() if k != "params"} for group in self.param_groups]
        state = {place: {k: _copy(v) for k, v in kept.items()} for place, kept in self.state.items()}
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Take over copies of what `state_dict` gave, on the devices of the parameters; nothing changes unless it fits.

        States in float16 and float32 are each other's. A float16 parameter without a saved master has one made of
        itself by the next step; the master of a parameter that is not in float16 is dropped.

        Raises
        ------
        CheckpointError : if it is no such state, its groups are others, an option is out of range, it has two states
            of a parameter, or what it keeps for one has another name, shape or dtype.
        """
        if not (isinstance(saved, Mapping) and {"state", "param_groups"} <= set(saved)):
            found = list(saved) if isinstance(saved, Mapping) else f"a {type(saved).__name__}"
            raise CheckpointError(f"an optimizer's state has 'state' and 'param_groups', got {found}; use state_dict()")
        groups = self._fitting_groups(saved["param_groups"])
        state = self._fitting_state(saved["state"])
        for group, options in zip(self.param_groups, groups, strict=True):
            group.update(options)
        self.state = state

    def _every(self) -> Iterator[tuple[str, Tensor, dict[str, Any]]]:
        """The parameters in order, each with its place in words and its group."""
        for place, group in enumerate(self.param_groups):
            for index, parameter in enumerate(group["params"]):
                yield _place(index, place), parameter, group

    def _fitting_groups(self, groups: Any) -> list[dict[str, Any]]:
        """The options of saved groups, if these could be the groups of this optimizer."""
        if not (isinstance(groups, list | tuple) and all(isinstance(group, Mapping) for group in groups)):
            raise CheckpointError(f"saved 'param_groups' must be a list of dictionaries, got {groups!r}")
        if len(groups) != len(self.param_groups):
            raise CheckpointError(f"saved are {len(groups)} parameter groups, but here are {len(self.param_groups)}")
        for place, (group, mine) in enumerate(zip(groups, self.param_groups, strict=True)):
            expected = set(mine) - {"params"}
            if _OF_PYTORCH & set(group):
                raise CheckpointError(
                    f"it is the state of an optimizer of PyTorch, and these do not load: go on with a new optim."
                    f"{type(self).__name__}, given the learning rate that was reached; only what it remembers of "
                    "earlier steps, such as momentum, is lost (the network's state does load)"
                )
            if set(group) != expected:
                found = sorted(map(str, group))
                raise CheckpointError(
                    f"saved group {place} has the options {found}, but here are {sorted(expected)}: "
                    f"it was not saved by {type(self).__name__}"
                )
            try:
                self.check_options(group)
            except ValueError as error:
                raise CheckpointError(f"saved group {place} does not fit: {error}") from error
        return [dict(group) for group in groups]

    def _fitting_state(self, state: Any) -> dict[int, dict[str, Any]]:
        """Copies of what was saved per parameter, if this optimizer could have kept it."""
        if not isinstance(state, Mapping):
            raise CheckpointError(f"saved 'state' must be a dictionary, got a {type(state).__name__}")
        every = [parameter for _, parameter, _ in self._every()]
        fitting: dict[int, dict[str, Any]] = {}
        for key, kept in state.items():
            # JSON makes strings of the places.
            place = int(key) if isinstance(key, Integral) or (isinstance(key, str) and key.isdecimal()) else -1
            if not 0 <= place < len(every):
                raise CheckpointError(f"saved is a state of parameter {key!r}, but here are 0 to {len(every) - 1}")
            if place in fitting:
                raise CheckpointError(f"saved are two states of parameter {place}, the second under {key!r}")
            parameter, names = every[place], {*self.arrays, *self.counts}
            if not (isinstance(kept, Mapping) and set(kept) - {"master"} in (set(), names)):
                found = list(kept) if isinstance(kept, Mapping) else repr(kept)
                raise CheckpointError(
                    f"the saved state of parameter {place} is {found}, but {type(self).__name__} keeps {sorted(names)}"
                )
            fitting[place] = {}
            for name, value in kept.items():
                if name in self.counts:
                    fitting[place][name] = check_count(name, value, place)
                elif name != "master" or parameter.dtype == np.float16:
                    array = check_kept(name, value, parameter, place)
                    fitting[place][name] = copied(asarray(array, parameter.device))
        return fitting


_OF_PYTORCH = {"foreach", "maximize", "capturable", "differentiable", "fused"}  # options that only its groups have


def _place(index: int, group: int) -> str:
    return f"parameter {index} of group {group}"


def _copy(value: Any) -> Any:
    return copied(value) if is_array(value) else value


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
