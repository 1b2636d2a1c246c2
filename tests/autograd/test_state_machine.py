"""Random graphs agree with the naive engine of conftest.py after each step: values, gradients, errors, with ==."""

import operator
import weakref

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import basic_indices, integer_array_indices
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

import minires as mr
from minires.autograd.op import enable_grad
from minires.errors import GraphError, ShapeError


class Pair(mr.Op):
    """(a + b, scale · a · b)."""

    def forward(self, a, b, *, scale):
        self.save(a, b)
        self.save_constant(scale)
        return a + b, scale * a * b

    def backward(self, g, h):
        (a, b), (scale,) = self.saved, self.constants
        ga = g + scale * (b * h) if self.needs_grad[0] else None
        return ga, g + scale * (a * h) if self.needs_grad[1] else None


class Powers(mr.Op):
    """(x², x³), with x² saved for the derivative of x³."""

    def forward(self, x):
        y = x * x
        self.save(x, y)
        return y, x * y

    def backward(self, g, h):
        x, y = self.saved
        return 2 * (x * g) + 3 * (y * h)


class Hook:
    """Multiplies a gradient, and remembers what it saw."""

    def __init__(self, factor):
        self.factor, self.seen, self.expected = factor, [], []

    def __call__(self, gradient):
        self.seen.append(gradient.numpy().copy())
        return None if self.factor == 1 else gradient * self.factor


OPERATORS = {
    "add": lambda x, y: x + y,
    "subtract": lambda x, y: x - y,
    "multiply": lambda x, y: x * y,
    "matmul": lambda x, y: x @ y,
}
UPDATES = {"add": operator.iadd, "subtract": operator.isub, "multiply": operator.imul}
shapes = st.sampled_from([(), (1,), (2,), (3,), (1, 2), (2, 1), (2, 2), (2, 3), (3, 2), (2, 1, 2)])
small = st.integers(-3, 3)
OPERATIONS = (
    *("combine", "combine", "combine_with_a_number", "multiply_by_its_twin", "negate", "sum"),
    *("reshape", "permute", "index", "pair", "powers"),
)
retains = st.sampled_from([True, True, None, False])


def integers(data, shape):
    n = int(np.prod(shape))
    return np.array(data.draw(st.lists(small, min_size=n, max_size=n), label="values"), object).reshape(shape)


def usable(value):
    return value.requires and not (value.made_by and value.made_by.used)


def computed(value):
    return usable(value) and value.made_by is not None


def fitting(kind, value):
    """Return whether another value has a shape that fits ``value``."""

    def fits(other):
        try:
            OPERATORS[kind](np.zeros(value.shape), np.zeros(other.shape))
        except ValueError:
            return False
        return True

    return fits


def agree(tensor, value):
    assert (tensor is None) == (value is None)
    if tensor is not None:
        assert np.array_equal(tensor.array, value.array.astype(float))
        assert tensor.requires_grad == value.requires
        assert tensor.is_leaf == (value.made_by is None)


class RandomGraphs(RuleBasedStateMachine):
    """Each pair is a tensor and the value that it should have; each rule does a step on both sides."""

    def __init__(self, naive):
        super().__init__()
        self.naive, self.pairs, self.hooks, self.modes = naive, [], [], [(None, True)]

    def teardown(self):
        while len(self.modes) > 1:
            self.leave_a_mode()

    def draw(self, data, label, likely=usable, first=-3, last=None):
        """Draw a pair, mostly one for which ``likely`` holds, and often one of the last, so that graphs grow deep."""
        pool = [i for i, (_, value) in enumerate(self.pairs) if likely(value)]
        choice = data.draw(st.integers(0, 15), label="from some, all likely, or all")
        pool = (pool[first:last] if choice < 10 else pool) if pool and choice < 15 else range(len(self.pairs))
        return self.pairs[data.draw(st.sampled_from(pool), label=label)]

    def keep(self, tensor, value):
        if not any(known is tensor for known, _ in self.pairs):
            self.pairs.append((tensor, value))

    def apply(self, kind, call, *operands, **options):
        """Apply an operation on both sides. An operand is a pair or a number."""
        tensors = [operand[0] if isinstance(operand, tuple) else operand for operand in operands]
        values = [operand[1] if isinstance(operand, tuple) else self.naive.constant(operand) for operand in operands]
        try:
            expected = self.naive.apply(kind, *values, record=self.modes[-1][1], **options)
        except self.naive.TooBig:
            return
        results = call(*tensors)
        for result, value in zip(results if isinstance(results, tuple) else (results,), expected, strict=True):
            source = tensors[0]  # only operations with one operand give views of it; reshape does if NumPy can
            if isinstance(source, mr.Tensor) and np.may_share_memory(result.array, source.array):
                value.look_at(values[0], kind, options)
            self.keep(result, value)

    def attempt(self, naively, call):
        """Call both sides. If the naive engine refuses, the call must raise as well, and nothing may change."""
        try:
            expected, commit = naively()
        except self.naive.TooBig:
            return None
        except self.naive.Refused as refusal:
            with pytest.raises(refusal.args):
                call()
            return None
        result = call()
        commit()
        return result, expected

    @initialize(data=st.data())
    def leaves(self, data):
        for shape in [(), (2,), (2, 2), (2, 2)]:
            self.leaf(data, shape, True)

    @rule(data=st.data(), shape=shapes, requires=st.sampled_from([True, True, True, False]))
    def leaf(self, data, shape, requires):
        array = integers(data, shape)
        self.keep(mr.tensor(array.astype(float), requires_grad=requires), self.naive.Value(array, requires))

    @rule(data=st.data())
    def operate(self, data):
        """Apply some operations. Other rules begin with this too, since most Hypothesis runs leave some rules out."""
        for operation in data.draw(st.lists(st.sampled_from(OPERATIONS), max_size=4), label="operations"):
            getattr(self, operation)(data)

    def combine(self, data):
        kind = data.draw(st.sampled_from(sorted(OPERATORS)), label="kind")
        a = self.draw(data, "a")
        fits = fitting(kind, a[1])
        b = self.draw(data, "b", fits)
        if fits(b[1]):
            self.apply(kind, OPERATORS[kind], a, b)
        else:
            with pytest.raises(ShapeError):
                OPERATORS[kind](a[0], b[0])

    def combine_with_a_number(self, data):
        kind = data.draw(st.sampled_from(["add", "subtract", "multiply"]), label="kind")
        a, n = self.draw(data, "a"), data.draw(small, label="number")
        self.apply(kind, OPERATORS[kind], *data.draw(st.permutations([a, n]), label="operands"))

    def multiply_by_its_twin(self, data):
        tensor, value = self.draw(data, "a")
        pairs = (tensor, value), (tensor.detach(), self.naive.Value(twin=value))
        self.apply("multiply", OPERATORS["multiply"], *data.draw(st.permutations(pairs), label="operands"))

    def negate(self, data):
        self.apply("negative", lambda x: -x, self.draw(data, "a"))

    def sum(self, data):
        a = self.draw(data, "a")
        axes, keepdim = range(len(a[1].shape)), data.draw(st.booleans(), label="keepdim")
        dims = st.none() | st.lists(st.sampled_from(axes), min_size=1, unique=True).map(tuple) if axes else st.none()
        dim = data.draw(dims, label="dim")
        self.apply("sum", lambda x: x.sum(dim, keepdim), a, dim=dim, keepdim=keepdim)

    def reshape(self, data):
        a = self.draw(data, "a")
        shape, size = a[1].shape, a[1].array.size
        shape = data.draw(st.sampled_from([shape, shape[::-1], (*shape, 1), (size,)]), label="shape")
        self.apply("reshape", lambda x: x.reshape(shape), a, shape=shape)

    def permute(self, data):
        a = self.draw(data, "a")
        dims = data.draw(st.permutations(range(len(a[1].shape))), label="dims")
        self.apply("permute", lambda x: x.permute(*dims), a, dims=dims)

    def index(self, data):
        a = self.draw(data, "a")
        slices = basic_indices(a[1].shape, allow_newaxis=True, max_dims=3)
        index = data.draw(slices | integer_array_indices(a[1].shape) if a[1].shape else slices, label="index")
        if 0 < np.zeros(a[1].shape)[index].size <= 64:
            self.apply("getitem", lambda x: x[index], a, index=index)

    def pair(self, data):
        a, scale = self.draw(data, "a"), data.draw(small, label="scale")
        b = self.draw(data, "b", lambda value: value.shape == a[1].shape)
        if b[1].shape == a[1].shape:
            self.apply("pair", lambda x, y: Pair.apply(x, y, scale=scale), a, b, scale=scale)

    def powers(self, data):
        self.apply("powers", Powers.apply, self.draw(data, "a"))

    @rule(data=st.data())
    def detach(self, data):
        tensor, value = self.draw(data, "a")
        self.keep(tensor.detach(), self.naive.Value(twin=value))

    @rule(mode=st.sampled_from([mr.no_grad, enable_grad, enable_grad]))
    def enter_a_mode(self, mode):
        context = mode()
        context.__enter__()
        self.modes.append((context, mode is enable_grad))

    @rule()
    def leave_a_mode(self):
        if len(self.modes) > 1:
            self.modes.pop()[0].__exit__(None, None, None)

    @rule(data=st.data())
    def assign(self, data):
        self.operate(data)
        tensor, value = self.draw(data, "a", lambda value: value.made_by is None)
        if data.draw(st.booleans(), label="through a twin"):
            tensor, value = tensor.detach(), self.naive.Value(twin=value)
        if value.owner().fixed:
            return
        new = integers(data, value.shape)

        def naively():
            value.must_be_writable()
            return None, lambda: value.write(new)

        self.attempt(naively, lambda: tensor.assign_(new.astype(float)))
        self.differentiate(data, retain=True, create=False)

    @rule(data=st.data(), kind=st.sampled_from(["add", "subtract", "multiply"]), method=st.booleans())
    def update(self, data, kind, method):
        """Run ``a += b``, or ``a.add_(b)``, which never returns a new tensor."""
        self.operate(data)
        (a, value), record = self.draw(data, "a", lambda value: value.made_by is None), self.modes[-1][1]
        b, other = self.draw(data, "b", lambda other: fitting(kind, value)(other) and not other.requires)
        if value.owner().fixed or not fitting(kind, value)(other):
            return
        recorded = record and other.requires
        if not method and (value.made_by or (recorded and not value.requires)):
            return self.apply(kind, UPDATES[kind], (a, value), (b, other))

        def naively():
            if (record and value.requires) or recorded:
                raise self.naive.Refused(GraphError)
            value.must_be_writable()
            new = self.naive.compute(kind, (value.array, other.array), {})[0]
            if new.shape != value.shape:
                raise self.naive.Refused(ShapeError)
            return None, lambda: value.write(new)

        name = {"add": "add_", "subtract": "sub_", "multiply": "mul_"}[kind]
        done = self.attempt(naively, lambda: getattr(a, name)(b) if method else UPDATES[kind](a, b))
        assert not done or done[0] is a
        self.differentiate(data, retain=True, create=False)

    @rule(data=st.data())
    def set_item(self, data):
        """Run ``a[index] = b`` with a number or a tensor."""
        self.operate(data)
        (a, value), record = self.draw(data, "a", lambda value: value.made_by is None), self.modes[-1][1]
        slices = basic_indices(value.shape)
        index = data.draw(slices | integer_array_indices(value.shape) if value.shape else slices, label="index")
        shape = np.zeros(value.shape)[index].shape
        b, other = self.draw(data, "b", lambda other: other.shape == shape and not other.requires)
        if data.draw(st.booleans(), label="a number"):
            b, other = 2, self.naive.constant(2)

        def naively():
            if record and (value.requires or other.requires):
                raise self.naive.Refused(GraphError)
            value.must_be_writable()
            new = np.array(value.array)
            try:  # with numbers, as objects may be arrays themselves
                np.zeros(new.shape)[index] = other.array.astype(float)
            except ValueError:
                raise self.naive.Refused(ShapeError) from None
            new[index] = other.array if np.ndim(new[index]) else other.array.item()
            return None, lambda: value.write(new)

        if not value.owner().fixed:
            self.attempt(naively, lambda: a.__setitem__(index, b))
            self.differentiate(data, retain=True, create=False)

    @rule(data=st.data())
    def retain_grad(self, data):
        tensor, value = self.draw(data, "a")

        def naively():
            value.must_require()
            return None, value.retain

        self.attempt(naively, tensor.retain_grad)

    @rule(data=st.data(), factor=st.sampled_from([1, 1, -1, 2]))
    def hook(self, data, factor):
        self.operate(data)
        tensor, value = self.draw(data, "a")
        hook = Hook(factor)

        def naively():
            value.must_require()
            return None, lambda: value.hooks.append(hook)

        done = self.attempt(naively, lambda: tensor.register_hook(hook))
        if done:
            self.hooks.append((hook, value, done[0]))

    @rule(data=st.data())
    def remove_a_hook(self, data):
        if self.hooks:
            hook, value, remove = data.draw(st.sampled_from(self.hooks), label="hook")
            remove()
            value.hooks = [h for h in value.hooks if h is not hook]

    @rule(data=st.data())
    def zero_grad(self, data):
        tensor, value = self.draw(data, "a")
        tensor.grad = value.grad = None

    @rule(data=st.data())
    def take_grad(self, data):
        tensor, value = self.draw(data, "a", lambda value: value.grad is not None)
        if value.grad is not None:
            self.keep(tensor.grad, value.grad)

    @rule(data=st.data())
    def forget(self, data):
        pair = self.draw(data, "a")
        if len(self.pairs) > 1 and not pair[1].hooks:  # a hook may outlive its tensor
            self.pairs = [other for other in self.pairs if other is not pair]
            alive, value = weakref.ref(pair[0]), pair[1]
            del pair
            value.keeps = value.keeps and alive() is not None  # another tensor's .grad may hold it

    def seed(self, data, shape):
        """Draw an initial gradient: none, a constant, a leaf, or one of a wrong shape."""
        usual = ["one", "one", "leaf", "leaf"] if shape else ["none", "none", "one", "leaf"]
        kind = data.draw(st.sampled_from([*usual * 2, "none", "wrong shape"]), label="gradient")
        if kind == "none":
            return None, None
        array = integers(data, (*shape, 1) if kind == "wrong shape" else shape)
        value = self.naive.Value(array, kind == "leaf", fixed=True)
        tensor = mr.tensor(array.astype(float), requires_grad=value.requires)
        self.keep(tensor, value)
        return tensor, value

    @rule(data=st.data(), retain=retains, create=st.booleans())
    def backward(self, data, retain, create):
        self.operate(data)
        self.differentiate(data, retain, create)

    def differentiate(self, data, retain, create):
        tensor, value = self.draw(data, "output", computed)
        seed, seed_value = self.seed(data, value.shape)

        def naively():
            walk = self.naive.NaivePass([(value, seed_value)], None, create).run()
            grads = walk.accumulated()
            return None, lambda: walk.finish(create if retain is None else retain, grads)

        self.attempt(naively, lambda: tensor.backward(seed, retain, create))

    @rule(data=st.data(), retain=retains, order=st.integers(1, 3), unused=st.booleans())
    def gradients_of_gradients(self, data, retain, order, unused):
        self.operate(data)
        for create in [True] * (order - 1) + [False]:
            self.gradients(data, retain, create, unused)

    def gradients(self, data, retain, create, unused):
        outputs = [self.draw(data, "output", computed) for _ in range(data.draw(st.integers(1, 2), label="outputs"))]
        before = set().union(*(value.ancestors() for _, value in outputs))
        count = data.draw(st.integers(1, 3), label="inputs")
        inputs = [self.draw(data, "input", before.__contains__, 0, 5) for _ in range(count)]
        seeds = [self.seed(data, value.shape) for _, value in outputs]
        values = [value for _, value in inputs]

        def naively():
            starts = [(value, seed) for (_, value), (_, seed) in zip(outputs, seeds, strict=True)]
            walk = self.naive.NaivePass(starts, values, create).run(() if unused else values)
            found = [walk.gradients.get(value) for value in values]
            return found, lambda: walk.finish(create if retain is None else retain)

        arguments = [[tensor for tensor, _ in pairs] for pairs in (outputs, inputs, seeds)]
        done = self.attempt(naively, lambda: mr.grad(*arguments, retain, create, unused))
        for tensor, value in zip(*done, strict=True) if done else ():
            agree(tensor, value)
            if value is not None:
                value.fixed = True
                self.keep(tensor, value)

    @invariant()
    def both_sides_agree(self):
        for tensor, value in self.pairs:
            agree(tensor, value)
            agree(tensor.grad, value.grad)
        for hook, _, _ in self.hooks:
            assert [a.tolist() for a in hook.seen] == [a.tolist() for a in hook.expected]


@pytest.mark.parametrize("times", [2, pytest.param(5, marks=pytest.mark.long)])
def test_random_graphs_agree_with_a_naive_engine_at_every_step(naive, times):
    run_state_machine_as_test(
        lambda: RandomGraphs(naive),
        settings=settings(max_examples=times * settings.default.max_examples, stateful_step_count=30),
    )
