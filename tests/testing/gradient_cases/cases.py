"""Where the cases are listed. Each is a function of a generator that returns (function, vjp, *arrays).

A case's ``options`` are the keywords that `check_vjp` needs for it, such as ``has_cache``.
"""

WRONG = {}
RIGHT = {}


def wrong(case=None, **options):
    """Enter a case among the wrong gradients."""
    return _enter(WRONG, case, options)


def right(case=None, **options):
    """Enter a case among the right gradients."""
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
    """A function of one array that acts on each element by itself, and its vjp."""
    return function, lambda gy, x: (gy * derivative(x),)
