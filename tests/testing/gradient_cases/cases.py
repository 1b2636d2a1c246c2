"""The lists of cases. A case is a function of a random generator that returns (function, vjp, *arrays).

A case's ``options`` are the keywords that `check_vjp` needs for it, such as ``has_cache``.
"""

WRONG = {}
RIGHT = {}


def wrong(case=None, **options):
    """Decorator: add a case to the wrong gradients."""
    return _enter(WRONG, case, options)


def right(case=None, **options):
    """Decorator: add a case to the right gradients."""
    return _enter(RIGHT, case, options)


def _enter(cases, case, options):
    if case is None:
        return lambda case: _enter(cases, case, options)
    if case.__name__ in cases:
        raise ValueError(f"there is a case {case.__name__} already")
    case.options = options
    cases[case.__name__] = case
    return case


def normal(rng, *shape):
    return rng.standard_normal(shape)


def elementwise(function, derivative):
    """Return an elementwise function of one array, and its vjp."""
    return function, lambda gy, x: (gy * derivative(x),)
