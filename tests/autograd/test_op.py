import contextvars
import gc
import threading
import weakref

import numpy as np
import pytest

import minires as mr
from minires.autograd.op import enable_grad, recording
from minires.errors import GraphError


def leaf(values):
    return mr.tensor(np.asarray(values, np.float64), requires_grad=True)


class Square(mr.Op):
    """The example of the design: an operation of a user's own."""

    def forward(self, x, *, scale=1.0):
        self.save(x)
        self.scale = scale
        return scale * x * x

    def backward(self, gy):
        (x,) = self.saved
        return (2 * self.scale * x * gy,)


class Product(mr.Op):
    def forward(self, a, b):
        self.save(a, b)
        return a * b

    def backward(self, gy):
        a, b = self.saved
        return gy * b, gy * a


# Operations


def test_an_operation_of_ones_own_has_derivatives_of_every_order():
    x = leaf(3.0)
    y = Square.apply(x, scale=5.0)
    (first,) = mr.grad(y, x, create_graph=True)
    (second,) = mr.grad(first, x, create_graph=True)
    assert (y.item(), first.item(), second.item()) == (45.0, 30.0, 10.0)
    assert not second.requires_grad  # it is a constant


def test_two_tensors_that_share_an_array_are_told_apart():
    x = leaf(3.0)
    for a, b in ((x, x.detach()), (x.detach(), x)):
        for y in (Product.apply(a, b), a * b):
            (first,) = mr.grad(y, x, create_graph=True)
            assert first.item() == 3.0
            assert not first.requires_grad  # it is the detached value
    (first,) = mr.grad(Product.apply(x, x), x, create_graph=True)
    assert mr.grad(first, x)[0].item() == 2.0


def test_a_saved_output_is_part_of_the_graph():
    class Cube(mr.Op):
        def forward(self, x):
            y = x**3
            self.save(x, y)
            return y

        def backward(self, gy):
            x, y = self.saved
            return (3 * y / x * gy,)

    x = leaf(2.0)
    (first,) = mr.grad(Cube.apply(x), x, create_graph=True)
    (second,) = mr.grad(first, x, create_graph=True)
    (third,) = mr.grad(second, x)
    assert (first.item(), second.item(), third.item()) == (12.0, 12.0, 6.0)


def test_integer_outputs_have_no_gradient_even_when_they_are_saved():
    class Sort(mr.Op):
        def forward(self, x):
            order = np.argsort(x)
            y = x[order]
            self.save(y, order)
            return y, order

        def backward(self, gy, nothing):
            assert nothing is None
            y, order = self.saved
            assert (y.requires_grad, order.requires_grad) == (True, False)
            return (gy[np.argsort(order.array)],)

    x = leaf([3.0, 1.0, 2.0])
    y, order = Sort.apply(x)
    assert order.numpy().tolist() == [1, 2, 0]
    assert not order.requires_grad
    y.backward(mr.tensor(np.array([1.0, 2.0, 3.0])), create_graph=True)
    assert x.grad.numpy().tolist() == [3.0, 1.0, 2.0]


def test_inputs_and_outputs_may_be_missing():
    class Affine(mr.Op):
        def forward(self, x, bias):
            self.bias = bias is not None
            return (x + bias if self.bias else x * 1.0), None

        def backward(self, gy, nothing):
            assert nothing is None
            return gy, gy if self.bias else None

    x, b = leaf(1.0), leaf(2.0)
    for bias in (None, b):
        y, missing = Affine.apply(x, bias)
        assert missing is None
        y.backward()
    assert (x.grad.item(), b.grad.item()) == (2.0, 1.0)


def test_an_output_that_nobody_used_has_a_gradient_of_zeros():
    class Both(mr.Op):
        def forward(self, x):
            return x + 1.0, x * 2.0

        def backward(self, gy, gz):
            return (gy + 2.0 * gz,)

    x = leaf([1.0, 2.0])
    for which, slope in enumerate((1.0, 2.0)):
        (gx,) = mr.grad(Both.apply(x)[which].sum(), x)
        assert gx.numpy().tolist() == [slope, slope]


def test_forward_and_backward_are_told_which_inputs_need_a_gradient():
    asked = []

    class Asking(Product):
        def forward(self, a, b):
            asked.append(self.needs_grad)
            return super().forward(a, b)

        def backward(self, gy):
            asked.append(self.needs_grad)
            return super().backward(gy)

    a, b = leaf(2.0), leaf(3.0)
    Asking.apply(a, mr.tensor(np.float64(3.0))).backward()
    mr.grad(Asking.apply(a, b), b)
    with mr.no_grad():
        Asking.apply(a, b)
    assert asked == [(True, False), (True, False), (True, True), (False, True), (False, False)]


@pytest.mark.parametrize("intermediate", [lambda x: x + 1, lambda x: x.reshape(-1), lambda x: x.copy()])
def test_saving_an_intermediate_names_save_constant(intermediate):
    class Careless(mr.Op):
        def forward(self, x):
            self.save(intermediate(x))
            return x * 2

        def backward(self, gy):
            return (gy * 2.0,)

    with pytest.raises(GraphError, match=r"Careless.save got .*neither an input nor an output.*save_constant"):
        Careless.apply(leaf([1.0]))


def test_misuse_of_an_operation_is_named():
    with pytest.raises(TypeError, match=r"input 0 of Square is a ndarray, not a Tensor: use mr\.tensor"):
        Square.apply(np.ones(2))
    with pytest.raises(TypeError, match="Op does not define forward"):
        mr.Op.apply(leaf(1.0))

    class Half(mr.Op):
        def forward(self, x):
            return x / 2

    with pytest.raises(TypeError, match="Half does not define backward"):
        Half.apply(leaf(1.0)).backward()


@pytest.mark.parametrize("result", [1.0, [1.0, 2.0], "text", mr.tensor(1.0)])
def test_a_forward_that_returns_no_array_is_refused(result):
    class Odd(mr.Op):
        def forward(self, x):
            return result

    for x in (leaf(1.0), mr.tensor(1.0)):
        with pytest.raises(TypeError, match=type(result).__name__):
            Odd.apply(x)


def test_an_array_that_backward_does_not_need_is_freed_during_the_forward_pass():
    x = leaf(np.ones(10))
    y = x * 2.0
    array = weakref.ref(y._array)
    z = y + 1.0
    del y
    assert array() is None
    z.sum().backward()
    assert x.grad.numpy().tolist() == [2.0] * 10


def test_a_graph_is_freed_without_the_garbage_collector():
    gc.disable()
    try:
        x = leaf(np.ones(10))
        y = Square.apply(x.exp())  # exp saves its output, Square its input
        arrays = [weakref.ref(y._array), weakref.ref(y._op)]
        y.sum().backward(retain_graph=True)
        del y
        assert [array() for array in arrays] == [None, None]
    finally:
        gc.enable()


# Recording


def test_nothing_is_recorded_inside_no_grad():
    x = leaf(2.0)
    with mr.no_grad():
        assert not (x * x).requires_grad
        assert (x * x).is_leaf

    @mr.no_grad()
    def squared(value):
        """Doc."""
        return value * value

    assert not squared(x).requires_grad
    assert (squared.__name__, squared.__doc__) == ("squared", "Doc.")
    assert (x * x).requires_grad


def test_modes_nest_and_end_with_their_block_even_after_an_error():
    with mr.no_grad():
        with enable_grad():
            assert recording()
            with mr.no_grad():
                assert not recording()
            assert recording()
        with pytest.raises(ZeroDivisionError), enable_grad():
            raise ZeroDivisionError
        assert not recording()
    assert recording()


def test_one_guard_can_be_entered_again():
    guard = mr.no_grad()
    with guard, enable_grad(), guard:
        assert not recording()
    assert recording()


def test_a_decorated_function_can_recurse_and_run_in_several_threads_at_once():
    inside, left, seen = threading.Barrier(2), threading.Event(), []

    @mr.no_grad()
    def work(leave_first, depth):
        if depth:
            return work(leave_first, depth - 1)
        inside.wait(timeout=60)
        if not leave_first:
            left.wait(timeout=60)
        return recording()

    def run(leave_first):
        try:
            seen.append(work(leave_first, 3))
        finally:
            left.set()
        seen.append(not recording())

    threads = [threading.Thread(target=run, args=(first,)) for first in (True, False)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [False] * 4


def test_no_grad_does_not_reach_into_another_thread_nor_out_of_it():
    seen, entered, checked = [], threading.Event(), threading.Event()

    def run():
        seen.append(recording())
        with mr.no_grad():
            entered.set()
            checked.wait(timeout=60)

    thread = threading.Thread(target=run)
    with mr.no_grad():
        thread.start()
        assert entered.wait(timeout=60)
        seen.append(recording())
    seen.append(recording())  # while the other is still inside
    checked.set()
    thread.join()
    assert seen == [True, False, True]


def test_a_generator_function_is_refused_as_its_body_would_be_recorded():
    with pytest.raises(TypeError, match=r"predictions is a generator: write `with no_grad\(\):`"):

        @mr.no_grad()
        def predictions(x):
            yield x * x


def test_a_generator_may_use_no_grad_between_its_yields():
    def predictions(x):
        for _ in range(2):
            with mr.no_grad():
                y = x * x
            yield y

    x = leaf(2.0)
    for y in predictions(x):
        assert not y.requires_grad
        assert (x * x).requires_grad


def test_a_generator_left_inside_no_grad_gives_recording_back_when_it_is_closed():
    def suspended():
        with mr.no_grad():
            yield

    def leave():
        generator = suspended()
        next(generator)
        with enable_grad():
            generator.close()
        return recording()

    assert contextvars.copy_context().run(leave)
