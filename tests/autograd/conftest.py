"""A naive engine to compare with in the state machine: Python integers, recursion, and no code of minires.

All values are integers, and float64 holds integers below 2**53 exactly, so results are compared with ==. A step raises
`TooBig` if it would make a value of 2**45 or more. Below this limit, sums of 2**8 values are exact in any order.
"""

import sys

import numpy as np
import pytest

from minires.errors import GraphError, ShapeError

LIMIT = 2**45


class TooBig(Exception):
    """Raised for a step that may not be exact in float64."""


class Refused(Exception):
    """Raised for a call that must raise one of the errors in ``args``."""


def put(g, index, shape):
    total = np.zeros(shape, object)
    for place, value in zip(np.ravel(np.arange(total.size).reshape(shape)[index]), np.ravel(g), strict=True):
        total.flat[place] += value
    return total


def sum_to(a, shape):
    new = a.ndim - len(shape)
    axes = [i for i in range(a.ndim) if i < new or shape[i - new] == 1]
    return a.sum(axis=tuple(axes), keepdims=True).reshape(shape)


FORWARD = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "negative": lambda a: -a,
    "clone": lambda a: a.copy(),
    "matmul": lambda a, b: a @ b,
    "sum": lambda a, dim, keepdim: a.sum(axis=dim, keepdims=keepdim),
    "sum_to": sum_to,
    "broadcast": lambda a, shape: np.broadcast_to(a, shape),
    "reshape": lambda a, shape: a.reshape(shape),
    "permute": lambda a, dims: a.transpose(dims),
    "getitem": lambda a, index: a[index],
    "put": put,
    "pair": lambda a, b, scale: (a + b, scale * a * b),
    "powers": lambda a: (a * a, a * a * a),
}
SAVES_INPUTS = ("multiply", "matmul", "pair", "powers")


def compute(kind, arrays, options):
    results = FORWARD[kind](*arrays, **options)
    sizes = [np.asarray(abs(a), object) for a in arrays]
    largest = FORWARD["add" if kind == "subtract" else kind](*sizes, **options)
    for bound in largest if isinstance(largest, tuple) else (largest,):
        if np.max(np.abs(bound)) >= LIMIT:
            raise TooBig
    return tuple(np.asarray(r, object) for r in (results if isinstance(results, tuple) else (results,)))


class Memory:
    writes = 0


class Value:
    """The expected state of a tensor: an array, or the values of its ``twin``, from which it was detached."""

    def __init__(self, array=None, requires=False, made_by=None, twin=None, fixed=False):
        self.stored, self.requires, self.made_by, self.twin = array, requires, made_by, twin
        self.memory, self.seen, self.view = twin.memory if twin else Memory(), None, None
        self.fixed = fixed  # not written to, since tensors that are not modelled may share the memory
        self.keeps, self.grad, self.hooks = requires and made_by is None, None, []

    @property
    def array(self):
        return self.twin.array if self.twin else self.view(self.seen.array) if self.view else self.stored

    @property
    def shape(self):
        return self.array.shape

    def owner(self):
        """Return the value that owns the memory of this one."""
        shown = self.twin or self.seen
        return shown.owner() if shown else self

    def places(self):
        """Return the indices of the elements in the owner's memory."""
        if self.twin:
            return self.twin.places()
        return self.view(self.seen.places()) if self.view else np.arange(self.stored.size).reshape(self.shape)

    def look_at(self, other, kind, options):
        """Make this a view: it stays this function of ``other`` when ``other`` is written to."""
        self.memory, self.seen, self.view = other.memory, other, lambda a: compute(kind, (a,), options)[0]

    def must_be_writable(self):
        places = list(np.ravel(self.places()))
        if self.made_by is not None or len(set(places)) < len(places):
            raise Refused(GraphError)

    def write(self, array):
        owner = self.owner()
        owner.stored = np.array(owner.stored)
        owner.stored.flat[np.ravel(self.places()).astype(int)] = np.ravel(array)
        self.memory.writes += 1

    def must_require(self):
        if not self.requires:
            raise Refused(GraphError)

    def retain(self):
        self.keeps = True

    def ancestors(self):
        """Return the value and all values that it was computed from and that require a gradient."""
        inputs = self.made_by.inputs if self.made_by else ()
        return {self}.union(*(value.ancestors() for value in inputs if value.requires))


def constant(n):
    return Value(np.asarray(n, object))


class Application:
    """A recorded operation."""

    def __init__(self, kind, inputs, options, arrays):
        self.kind, self.inputs, self.options, self.used = kind, inputs, options, False
        self.outputs = [Value(array, True, self) for array in arrays]
        saved = (inputs if kind in SAVES_INPUTS else []) + (self.outputs[:1] if kind == "powers" else [])
        self.saved = [(value.memory, value.memory.writes) for value in saved]


def apply(kind, *inputs, record, **options):
    arrays = compute(kind, [v.array for v in inputs], options)
    if record and any(v.requires for v in inputs):
        return Application(kind, list(inputs), options, arrays).outputs
    return [Value(array) for array in arrays]


def pull_back(application, gradients, wanted, record):
    """Return the gradients of an operation's inputs by the rules of calculus; None for those not wanted."""

    def do(kind, *values, **options):
        return apply(kind, *values, record=record, **options)[0]

    def view(kind, value, **options):
        result = do(kind, value, **options)
        result.look_at(value, kind, options)
        return result

    def back(g, shape):
        return g if g.shape == shape else do("sum_to", g, shape=shape)

    def spread(g, shape):
        return g if g.shape == shape else do("broadcast", g, shape=shape)

    a, b = (*application.inputs, None)[:2]
    g, h = (*gradients, None)[:2]
    options = application.options
    rules = {
        "add": (lambda: back(g, a.shape), lambda: back(g, b.shape)),
        "subtract": (lambda: back(g, a.shape), lambda: do("negative", back(g, b.shape))),
        "multiply": (lambda: back(do("multiply", g, b), a.shape), lambda: back(do("multiply", g, a), b.shape)),
        "negative": (lambda: do("negative", g),),
        "clone": (lambda: g,),
        "sum_to": (lambda: spread(g, a.shape),),
        "broadcast": (lambda: back(g, a.shape),),
        "reshape": (lambda: do("reshape", g, shape=a.shape),),
        "permute": (lambda: do("permute", g, dims=[options["dims"].index(i) for i in range(len(a.shape))]),),
        "getitem": (lambda: do("put", g, index=options["index"], shape=a.shape),),
        "put": (lambda: do("getitem", g, index=options["index"]),),
        "sum": (lambda: spread(do("reshape", g, shape=kept), a.shape),),
        "pair": (lambda: of_product(b), lambda: of_product(a)),
        "powers": (lambda: do("add", times(2, a, g), times(3, application.outputs[0], h)),),
        "matmul": (lambda: of_matrices(gm, swapped(cols), rows, a), lambda: of_matrices(swapped(rows), gm, cols, b)),
    }

    def times(n, value, gradient):
        return do("multiply", constant(n), do("multiply", value, gradient))

    def of_product(other):
        return do("add", g, times(options["scale"], other, h))

    def swapped(m):
        n = len(m.shape)
        return view("permute", m, dims=[*range(n - 2), n - 1, n - 2])

    def of_matrices(left, right, matrix, operand):
        return do("reshape", back(do("matmul", left, right), matrix.shape), shape=operand.shape)

    if application.kind == "sum":
        dim = options["dim"]
        summed = range(len(a.shape)) if dim is None else dim
        kept = tuple(1 if i in summed else n for i, n in enumerate(a.shape))
    if application.kind == "matmul":  # a vector is a matrix of one row or one column
        rows = a if len(a.shape) > 1 else view("reshape", a, shape=(1, *a.shape))
        cols = b if len(b.shape) > 1 else view("reshape", b, shape=(*b.shape, 1))
        batch = np.broadcast_shapes(rows.shape[:-2], cols.shape[:-2])
        gm = do("reshape", g, shape=(*batch, rows.shape[-2], cols.shape[-1]))
    return [rule() if want else None for rule, want in zip(rules[application.kind], wanted, strict=True)]


class NaivePass:
    """A recursive backward pass: a value's gradient is the sum of the gradients that its consumers pull back."""

    def __init__(self, starts, targets, create):
        self.starts, self.targets, self.create = starts, targets, create
        self.applications, self.gradients, self.leading, self.pulled, self.heard = [], {}, {}, {}, []
        for value, _ in starts:
            self.collect(value.made_by)

    def collect(self, application):
        if application is not None and application not in self.applications:
            self.applications.append(application)
            for value in [] if application.used else application.inputs:
                self.collect(value.made_by)

    def wanted(self, value):
        by = value.made_by
        return value.requires and (self.targets is None or value in self.targets or (by is not None and self.leads(by)))

    def leads(self, application):
        """Return whether this operation passes a gradient on to an input that wants one."""
        if application not in self.leading:
            self.leading[application] = not application.used and any(map(self.wanted, application.inputs))
        return self.leading[application]

    def check(self, required):
        """Raise Refused with all errors that apply; the engine may raise any of them."""
        misuses = []
        for value, gradient in self.starts:
            if not value.requires or (gradient is None and value.array.size != 1):
                misuses.append(GraphError)
            if gradient is not None and gradient.shape != value.shape:
                misuses.append(ShapeError)
        reached = [value for value, _ in self.starts]
        for application in self.applications:
            changed = any(memory.writes != writes for memory, writes in application.saved)
            if application.used or (changed and self.leads(application)):
                misuses.append(GraphError)
            reached += application.inputs
        if not all(value.requires for value in self.targets or ()) or not all(value in reached for value in required):
            misuses.append(GraphError)
        if misuses:
            raise Refused(*misuses)

    def run(self, required=()):
        self.check(required)
        for value in {value for value, _ in self.starts}.union(*(app.inputs for app in self.applications)):
            if value.requires:
                self.gradient(value)
        return self

    def gradient(self, value):
        if value not in self.gradients:
            parts = [self.start(v, g) for v, g in self.starts if v is value]
            for application in filter(self.leads, self.applications):
                if any(v is value for v in application.inputs) and self.wanted(value):
                    pulled = self.pull(application)
                    parts += [pulled[i] for i, v in enumerate(application.inputs) if v is value]
            total = parts[0] if parts else None
            for part in parts[1:]:
                total = apply("add", total, part, record=self.create)[0]
            for hook in value.hooks if parts else ():
                self.heard.append((hook, total.array))
                if hook.factor != 1:
                    total = apply("multiply", total, constant(hook.factor), record=self.create)[0]
            self.gradients[value] = total
        return self.gradients[value]

    def start(self, value, gradient):
        if gradient is None:
            return Value(np.ones_like(value.array))
        return gradient if self.create else Value(gradient.array)

    def pull(self, application):
        if application not in self.pulled:
            arrived = [self.gradient(output) for output in application.outputs]
            zeros = (Value(np.zeros_like(output.array)) for output in application.outputs)
            arrived = [zero if g is None else g for g, zero in zip(arrived, zeros, strict=True)]
            wanted = [self.wanted(value) for value in application.inputs]
            self.pulled[application] = pull_back(application, arrived, wanted, self.create)
        return self.pulled[application]

    def accumulated(self):
        """Return the expected ``.grad`` of each value after this pass."""
        grads = {}
        for value, gradient in self.gradients.items():
            if value.keeps and gradient is not None:
                terms = [gradient] if value.grad is None else [value.grad, gradient]
                grads[value] = apply("add" if value.grad else "clone", *terms, record=self.create)[0]
                grads[value].fixed = True
        return grads

    def finish(self, retain, grads=None):
        for hook, array in self.heard:
            hook.expected.append(array)
        for application in () if retain else self.pulled:
            application.used = True
        for value, grad in (grads or {}).items():
            value.grad = grad


class Hook:
    """A hook that multiplies a gradient and remembers the gradients that it got."""

    def __init__(self, factor):
        self.factor, self.seen, self.expected, self.remove = factor, [], [], None

    def __call__(self, gradient):
        self.seen.append(gradient.numpy().copy())
        return None if self.factor == 1 else gradient * self.factor


@pytest.fixture
def naive():
    return sys.modules[__name__]
