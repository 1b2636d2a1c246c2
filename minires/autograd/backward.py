"""The walk back: from the outputs to the inputs, each operation once, no recursion."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from minires.autograd.op import Op, enable_grad, no_grad, recording
from minires.autograd.tensor import Node, Tensor
from minires.device import full_like
from minires.errors import DeviceError, DtypeError, GraphError, ShapeError


def backward(output: Tensor, gradient: Tensor | None, retain: bool, create_graph: bool) -> None:
    """Add the gradient of ``output`` to ``.grad`` of the leaves; see `Tensor.backward`."""
    with enable_grad() if create_graph else no_grad():
        for node, arrived in _walk([output], [gradient], None, retain).items():
            keeper = None if node.keeper is None else node.keeper()
            if keeper is not None and keeper._node is node:  # not, if its gradient was switched off since
                keeper.grad = arrived._owned(keeper._array) if keeper.grad is None else keeper.grad + arrived


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of the sum of ``outputs`` with respect to ``inputs``, which need not be leaves.

    Parameters
    ----------
    outputs : one or several tensors
    inputs : one or several tensors that require gradients; their ``.grad`` is left alone
    grad_outputs : the gradient with respect to each output; None stands for 1 at a scalar
    retain_graph, create_graph : see `Tensor.backward`
    allow_unused : give None for an input that no output depends on

    Returns
    -------
    a tuple with one tensor per input; None, if that is allowed, where no gradient arrived

    Raises
    ------
    GraphError : for an input that no output depends on, unless allowed; otherwise as `Tensor.backward`.
    """
    ends = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    given = [None] * len(ends) if grad_outputs is None else grad_outputs
    given = [given] if isinstance(given, Tensor) else list(given)
    targets = [t._place("grad") for t in ([inputs] if isinstance(inputs, Tensor) else inputs)]
    with enable_grad() if create_graph else no_grad():
        found = _walk(ends, given, targets, create_graph if retain_graph is None else retain_graph, allow_unused)
        if not create_graph:  # leaves, into which the caller may write
            found = {node: gradient._owned(gradient._array) for node, gradient in found.items()}
    return tuple(found[n] if n in found else None if allow_unused else n.zeros() for n in targets)


def _walk(
    outputs: list[Tensor], gradients: list[Any], targets: list[Node] | None, retain: bool, allow_unused: bool = True
) -> dict[Node, Tensor]:
    """The gradients that arrive at ``targets`` (None: at every node that keeps one)."""
    if len(gradients) != len(outputs):
        raise GraphError(f"{len(gradients)} grad_outputs were given for {len(outputs)} outputs")
    start = [(y._place("backward"), _initial(y, gy)) for y, gy in zip(outputs, gradients, strict=True)]
    order = inputs_first(outputs)
    wanted = _wanted(order, targets)
    for op in order:
        if op.freed or any(node in wanted for _, node in op.inputs):
            op.check_usable()
    known = {node for node, _ in start}.union(node for op in order for _, node in op.inputs)
    for position, node in enumerate(() if allow_unused or targets is None else targets):
        if node not in known:
            raise GraphError(f"no output depends on input {position}, of shape {node.shape}: pass allow_unused=True")
    arrived, found = dict[Node, Tensor](), dict[Node, Tensor]()

    def arrive(node: Node, gradient: Tensor) -> None:
        arrived[node] = arrived[node]._accumulate(gradient) if node in arrived else gradient

    def complete(node: Node, passed_on: bool = False) -> Tensor:
        gradient = arrived.pop(node)
        for hook in tuple(node.hooks.values()):
            with _untouched([gradient], "a hook"):
                replaced = hook(gradient)
            gradient = gradient if replaced is None else _checked(replaced, node, "a hook")
            gradient._sole = False  # whichever it is, the hook may hold it
        if node in targets if targets is not None else node.keeper is not None:
            found[node], gradient._sole = gradient, gradient._sole and not passed_on
        return gradient

    for node, gradient in start:
        arrive(node, gradient)
    for op in reversed(order):
        reached = {node: complete(node, True) for node in op.outputs if node in arrived and node is not None}
        op.needs_grad = tuple(node in wanted for _, node in op.inputs)
        if reached and any(op.needs_grad):
            for node, gradient in _results(op, reached):
                gradient._sole = op.gives_new and not recording()
                arrive(node, gradient)
            if not retain:
                op.free()
    for leaf in list(arrived):
        complete(leaf)
    return found


def _initial(output: Tensor, gradient: Any) -> Tensor:
    """The gradient with which the walk starts at ``output``."""
    if gradient is None and output.numel() != 1:
        raise GraphError(f"the gradient of an output of shape {output.shape} must be given: it is not a scalar")
    start = Tensor(full_like(output._array, 1)) if gradient is None else gradient
    start = _checked(start, output._place("backward"), "the caller")
    return start if recording() else start.detach()


def _results(op: Op, reached: dict[Node, Tensor]) -> list[tuple[Node, Tensor]]:
    """Run one backward and pair its results with the nodes that want them."""
    gradients = [None if node is None else reached[node] if node in reached else node.zeros() for node in op.outputs]
    name = f"{type(op).__name__}.backward"
    with _untouched(gradients, name):
        results = op.run_backward(*gradients)
    op.check_usable()  # it may have written into what it saved
    results = results if isinstance(results, tuple) else (results,)
    if len(results) != len(op.inputs):
        raise GraphError(f"{name} returned {len(results)} gradients for {len(op.inputs)} inputs")
    return [
        (node, _checked(result, node, name))
        for (_, node), needed, result in zip(op.inputs, op.needs_grad, results, strict=True)
        if node is not None and needed and result is not None
    ]


@contextlib.contextmanager
def _untouched(gradients: Sequence[Tensor | None], holder: str) -> Iterator[None]:
    """Raise GraphError if ``holder`` writes into gradients that it was given: others may hold their memory."""
    given = [gradient for gradient in gradients if gradient is not None]
    counts = [gradient._version.count for gradient in given]
    yield
    if counts != [gradient._version.count for gradient in given]:
        raise GraphError(f"{holder} changed its gradient in place, but others may need it: return a new one, 2 * gy")


def _checked(gradient: Any, node: Node, giver: str) -> Tensor:
    """``gradient``, if it is one that can arrive at ``node``."""
    if not isinstance(gradient, Tensor):
        raise GraphError(f"{giver} gave a {type(gradient).__name__} as a gradient, not a Tensor")
    found = Node(gradient._array)
    for error, what in ((ShapeError, "shape"), (DtypeError, "dtype"), (DeviceError, "device")):
        if getattr(found, what) != getattr(node, what):
            raise error(f"{giver} gave a gradient of {found} for a tensor of {node}")
    return gradient


def inputs_first(outputs: list[Tensor]) -> list[Op]:
    """All operations that the outputs depend on, each after the operations that made its inputs."""
    order: list[Op] = []
    seen: set[Op] = set()
    stack: list[tuple[Op | None, bool]] = [(y._op, False) for y in outputs]
    while stack:
        op, inputs_done = stack.pop()
        if op is not None and inputs_done:
            order.append(op)
        elif op is not None and op not in seen:
            seen.add(op)
            stack.append((op, True))
            stack.extend((made_by, False) for made_by, _ in op.inputs)
    return order


def _wanted(order: list[Op], targets: list[Node] | None) -> set[Node | None]:
    """The nodes on a path to a target: only these take part. Without targets, all of them."""
    wanted: set[Node | None] = set(targets or ())
    for op in order:
        nodes = {node for _, node in op.inputs} - {None}
        if targets is None or not wanted.isdisjoint(nodes):
            wanted.update(nodes if targets is None else op.outputs)
    return wanted - {None}
