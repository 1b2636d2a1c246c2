"""`gradients`: make a property test of a forward pass and its gradient, in one line."""

from __future__ import annotations

import functools
import inspect
import sys
import types
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from hypothesis import Phase, event, given, reject, settings
from hypothesis.errors import FailedHealthCheck, Unsatisfiable
from hypothesis.strategies import SearchStrategy

from minires.device import is_array
from minires.functional.creation import tensor
from minires.testing.calling.arguments import choose_arguments
from minires.testing.calling.fixed_arguments import FixedArguments
from minires.testing.exact import check_exact
from minires.testing.pytest_plugin import EXAMPLES
from minires.testing.report import CAUSES, KINK, Inconclusive, errors_end_here
from minires.testing.tensors import check_gradient
from minires.testing.vjp import check_vjp

Function: TypeAlias = Callable[..., Any]


def gradients(
    *strategies: SearchStrategy[Any],
    vjp: Function | None = None,
    exact: bool = False,
    inconclusive: str = "skip",
    **options: Any,
) -> Callable[[Function], Callable[..., None]]:
    """Make a test of a function: its gradient is checked at points that Hypothesis draws.

    ::

        import numpy as np
        from minires import testing
        from minires.testing import strategies as ms

        def softplus_vjp(gy, x):
            return gy / (1 + np.exp(-x))

        @testing.gradients(ms.arrays(), vjp=softplus_vjp)  # plain arrays: check_vjp
        def test_softplus(x):
            return np.logaddexp(0, x)

        test_square = testing.gradients(ms.arrays(), vjp=lambda gy, x: 2 * x * gy)(np.square)

        @testing.gradients(ms.arrays((3, 2)), ms.arrays((2,)), order=2)  # no vjp: Tensors, check_gradient
        def test_product(x, y):
            return x * y

    The test fails with the text of the `GradientError` for the smallest arrays that Hypothesis finds. It draws 25
    examples instead of Hypothesis' 100, since each costs about 200 evaluations for each input. A Hypothesis profile
    with another ``max_examples`` is respected. pytest's option ``--minires-gradients=thorough`` draws 10,000.
    `hypothesis.settings`, `example`, `seed` and pytest's marks go above or below. Settings of one test override the
    option; they should include ``deadline=None``, the default here. In a class, the function may take ``self``; vjp
    does not get it.

    Parameters
    ----------
    strategies : one for each argument. One that yields a plain tuple stands for several arguments, whose shapes
        depend on each other. Drawn values that are not arrays (a geometry, an int) are passed to the function and to
        vjp, and not differentiated.
    vjp : vjp(gy, *arguments) -> tuple with one gradient for each array; gradients for other arguments must be None.
        Without it, the function is one of Tensors, and minires' own gradient is checked.
    inconclusive : "skip" rejects a point where nothing can be seen (outside the function's domain, a kink in every
        output, a slope below the rounding noise, steps that disagree), as Hypothesis' ``assume`` does. Too many such
        points fail the test, and it says why. With ``at_kinks="raise"`` a kink fails it at once.
        "raise" fails it at the first such point.
    exact : check with `check_exact`, for which the arrays must hold small integers: ``ms.arrays(kinds="integers")``
    options : keywords of `check_vjp`, `check_exact` or `check_gradient`; ``argnums`` counts the function's arguments

    Returns
    -------
    a decorator; the function may be any callable except a class or coroutine, and cannot take pytest fixtures

    Raises
    ------
    TypeError, ValueError : if no such test can be made.
    """
    if not strategies or not all(isinstance(strategy, SearchStrategy) for strategy in strategies):
        raise TypeError("gradients needs a strategy for each argument, in brackets: @testing.gradients(ms.arrays())")
    if exact and vjp is None:
        raise TypeError("exact=True needs a vjp: check_exact is for functions of plain arrays")
    if inconclusive not in ("skip", "raise"):
        raise ValueError(f"inconclusive must be 'skip' or 'raise', got {inconclusive!r}")
    causes = [cause for cause in CAUSES if cause != KINK or options.get("at_kinks") != "raise"]
    skipped = causes if inconclusive == "skip" else []
    check: Function = check_gradient if vjp is None else check_exact if exact else check_vjp
    unknown = set(options) - set(inspect.signature(check).parameters)
    if unknown:
        raise TypeError(f"{check.__name__} has no option {sorted(unknown)[0]!r}")
    frame = sys._getframe(1)
    caller = frame.f_globals.get("__name__", ""), frame.f_code.co_filename, frame.f_lineno

    def decorate(function: Function) -> Callable[..., None]:
        set_aside = dict.fromkeys(skipped, "")
        checked = errors_end_here(functools.partial(_check, check, vjp, options, set_aside))
        made: Callable[..., None] = _test(function, strategies, checked, *caller)
        made._minires_set_aside = set_aside  # type: ignore[attr-defined]
        return made

    return decorate


def set_examples(test: Any, examples: int) -> None:
    """Set how many examples a test that `gradients` made draws, unless the user gave it settings."""
    defaults = getattr(test, "_minires_settings", None)
    if defaults is not None and test._hypothesis_internal_use_settings is defaults:
        _set_defaults(test, settings(defaults, max_examples=examples))


def is_made_here(test: Any) -> bool:
    """Return whether `gradients` made this test."""
    return hasattr(test, "_minires_set_aside")


def explain(test: Any, error: BaseException | None) -> None:
    """Add the reasons why points were set aside to Hypothesis' error for too few points."""
    if isinstance(error, FailedHealthCheck | Unsatisfiable):
        for text in filter(None, getattr(test, "_minires_set_aside", {}).values()):
            error.add_note(f"A point was set aside: {text}")


def _set_defaults(test: Any, defaults: settings) -> None:
    # Hypothesis has no public way to set defaults: decorating with `settings` would forbid the user to do so.
    test._hypothesis_internal_use_settings = test._minires_settings = defaults


def _check(
    check: Function,
    vjp: Function | None,
    options: dict[str, Any],
    set_aside: dict[str, str],
    function: Function,
    *drawn: Any,
) -> None:
    """Check the gradient of ``function`` at one point.

    The point is set aside if it is inconclusive for a cause in ``set_aside``, which keeps the latest text for each.
    """
    values = [part for value in drawn for part in (value if type(value) is tuple else (value,))]
    fixed = {argument: value for argument, value in enumerate(values) if not is_array(value)}
    arrays = [value for value in values if is_array(value)]
    _must_take(function, values)
    if not any(array.dtype.kind in "fc" for array in arrays):
        raise TypeError(f"no float array was drawn, so there is nothing to differentiate, but {values!r}")
    if fixed:
        bound = FixedArguments(function, vjp, len(values), fixed, options.get("has_cache", False))
        function, vjp = bound.forward, vjp and bound.vjp
        if options.get("argnums") is not None:
            options = {**options, "argnums": _among_arrays(options["argnums"], fixed, values)}
    try:
        if vjp is None:
            report = check(function, *map(tensor, arrays), **options)
        else:
            report = check(function, vjp, *arrays, **options)
    except Inconclusive as error:
        if error.cause not in set_aside:
            raise
        set_aside[error.cause] = str(error)
        event(f"inconclusive: {error.cause}")
        reject()
    if not report.compared:  # all arrays are empty: such a point proves nothing
        set_aside["empty"] = str(report).partition("\n")[0]
        event("empty: nothing was compared")
        reject()


def _among_arrays(argnums: int | Sequence[int], fixed: dict[int, Any], values: Sequence[Any]) -> list[int]:
    """Return the indices among the arrays for indices among all arguments."""
    arrays = [argument for argument in range(len(values)) if argument not in fixed]
    chosen = choose_arguments(values, argnums)
    for argument in chosen:
        if argument in fixed:
            raise TypeError(f"argnums has {argument}, but that argument is not an array: {fixed[argument]!r}")
    return [arrays.index(argument) for argument in chosen]


def _test(
    function: Any, strategies: Sequence[SearchStrategy[Any]], check: Function, module: str, file: str, line: int
) -> Any:
    """Return the test function, as made by Hypothesis, so that every tool recognises it as a Hypothesis test."""
    own, names = _arguments(function, len(strategies))

    def test(*arguments: Any, **keywords: Any) -> None:
        __tracebackhide__ = True
        values = signature.bind(*arguments, **keywords).args
        bound = types.MethodType(function, values[0]) if own else function
        check(bound, *values[len(own) :])

    test.__module__ = module
    functools.update_wrapper(test, function)
    if not test.__name__.isidentifier():  # a lambda
        test.__name__ = "function"
    signature = inspect.Signature([inspect.Parameter(n, inspect.Parameter.POSITIONAL_OR_KEYWORD) for n in own + names])
    test.__signature__ = signature  # type: ignore[attr-defined]
    # pytest shall find the test in the user's file. Hypothesis copies file and line from here to the test it makes.
    code = getattr(function, "__code__", None)
    line = code.co_firstlineno if code is not None and code.co_filename == file else line
    test.__code__ = test.__code__.replace(co_filename=file, co_firstlineno=line)
    made: Any = given(*strategies)(test)
    if not hasattr(test, "_hypothesis_internal_use_settings"):
        phases = [phase for phase in settings.default.phases if phase is not Phase.explain]  # the error explains itself
        _set_defaults(made, settings(deadline=None, phases=phases, max_examples=_examples()))
    return made


def _examples() -> int:
    """Return the number of examples: the profile's, unless it is Hypothesis' default of 100, meant for faster tests."""
    chosen = settings.default.max_examples
    return EXAMPLES["default"] if chosen == settings.get_profile("default").max_examples else chosen


def _arguments(function: Any, count: int) -> tuple[list[str], list[str]]:
    """Return ["self"] or [], and names for ``count`` drawn values: the parameters' if each value is one argument.

    Raises
    ------
    TypeError : if ``function`` is not a function, cannot take ``count`` arguments, or needs others.
    """
    name = getattr(function, "__name__", repr(function))
    if not callable(function) or inspect.isclass(function):
        raise TypeError(f"gradients makes a test of a function, not of {name}")
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{name} is asynchronous, but gradients tests a plain function")
    if getattr(function, "is_hypothesis_test", False):
        raise TypeError(f"{name} is a Hypothesis test already: use gradients instead of given")
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except ValueError:  # some functions written in C have no signature
        return [], [f"drawn{n}" for n in range(count)]
    for parameter in parameters:
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty:
            raise TypeError(f"{name} needs {parameter.name!r}, which is not drawn: it cannot take {_FIXTURES}")
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    own = [p.name for p in positional[:1] if p.name == "self"]
    positional = positional[len(own) :]
    if len(positional) < count and not any(p.kind is p.VAR_POSITIONAL for p in parameters):
        raise TypeError(f"{name} takes {len(positional)} arguments, but there are {count} strategies")
    if sum(p.default is p.empty for p in positional) <= count <= len(positional):
        return own, [p.name for p in positional[:count]]
    return own, ["drawn"] if count == 1 else [f"drawn{n}" for n in range(count)]


def _must_take(function: Function, values: Sequence[Any]) -> None:
    try:
        inspect.signature(function).bind(*values)
    except ValueError:  # it has no signature
        return
    except TypeError as error:
        name = getattr(function, "__name__", repr(function))
        raise TypeError(
            f"{name}: {error}; {len(values)} values were drawn for {name}{inspect.signature(function)}, which cannot "
            f"take anything else, such as {_FIXTURES}"
        ) from None


_FIXTURES = "pytest fixtures"
