"""The walk back: from the outputs to the inputs, each operation once, no recursion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minires.autograd.op import Op, enable_grad, no_grad
from minires.autograd.tensor import Node, Tensor
from minires.device import same_device, same_dtype, xp_of
from minires.errors import GraphError, ShapeError


def backward(
    output: Tensor,
    gradient: Tensor | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
) -> None:
    """Add the gradient of ``output`` to ``.grad`` of the leaves; see `Tensor.backward`."""
    start = [(output, _initial(output, gradient))]
    for node, arrived in _walk(start, None, retain_graph, create_graph).items():
        keeper = node.keeper() if node.keeper else None
        if keeper is not None:
            keeper.grad = arrived if keeper.grad is None else _add(keeper.grad, arrived, create_graph)


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
    a tuple with one tensor (or None) per input

    Raises
    ------
    GraphError : for an input that no output depends on, unless allowed; otherwise as `Tensor.backward`.
    """
    outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    inputs = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    given = [grad_outputs] if grad_outputs is None or isinstance(grad_outputs, Tensor) else list(grad_outputs)
    given = [None] * len(outputs) if grad_outputs is None else given
    if len(given) != len(outputs):
        raise GraphError(f"{len(given)} grad_outputs were given for {len(outputs)} outputs")
    start = [(y, _initial(y, gy)) for y, gy in zip(outputs, given, strict=True)]
    targets = [t._place("grad") for t in inputs]
    found = _walk(start, targets, retain_graph, create_graph)
    for position, node in enumerate(targets):
        if node not in found and not allow_unused:
            raise GraphError(f"no output depends on input {position}, of shape {node.shape}: pass allow_unused=True")
    return tuple(found.get(node) for node in targets)


def _initial(output: Tensor, gradient: Tensor | None) -> Tensor:
    """The gradient with which the walk starts at ``output``."""
    if output._node is None:
        raise GraphError("this tensor has no graph: none of the tensors it was computed from requires a gradient")
    if gradient is None:
        if output.size != 1:
            raise GraphError(f"the gradient of an output of shape {output.shape} must be given: it is not a scalar")
        return Tensor(xp_of(output._array).ones_like(output._array))
    if gradient.shape != output.shape:
        raise ShapeError(f"a gradient of shape {gradient.shape} was given for an output of shape {output.shape}")
    same_device(gradient._array, output._array)
    same_dtype(gradient._array, output._array)
    return gradient


def _walk(
    start: list[tuple[Tensor, Tensor]], targets: list[Node] | None, retain: bool | None, create_graph: bool
) -> dict[Node, Tensor]:
    """The gradients that arrive at ``targets`` (None: at every node that keeps one)."""
    order = _inputs_first([y._place("backward").op for y, _ in start])
    wanted, reaching = _wanted(order, None if targets is None else set(targets))
    for op in order:
        if op in reaching or op.freed:
            op.check_usable()
    retain = create_graph if retain is None else retain

    pending: dict[Op | Node, dict[int, Tensor]] = {}  # what has arrived, by operation and output, or by leaf
    places: dict[tuple[Op, int], Node] = {}
    owned: set[tuple[Op | Node, int]] = set()  # the sums that this walk allocated and may add to in place

    def arrive(node: Node, gradient: Tensor) -> None:
        key: Op | Node = node if node.op is None else node.op
        if node.op is not None:
            places[node.op, node.index] = node
        slot = pending.setdefault(key, {})
        if node.index not in slot:
            slot[node.index] = gradient
        elif (key, node.index) in owned:
            slot[node.index].update_(lambda total: xp_of(total).add(total, gradient._array, out=total))
        else:
            slot[node.index] = _add(slot[node.index], gradient, create_graph)
            if not create_graph:
                owned.add((key, node.index))

    found: dict[Node, Tensor] = {}

    def complete(node: Node, gradient: Tensor) -> Tensor:
        for hook in tuple(node.hooks):
            replaced = hook(gradient)
            if replaced is not None:
                _check(replaced, node, "a hook")
                gradient = replaced
        if node in targets if targets is not None else node.keeper is not None:
            found[node] = gradient
        return gradient

    for output, gradient in start:
        arrive(output._place("backward"), gradient)
    with enable_grad() if create_graph else no_grad():
        for op in reversed(order):
            slot = pending.pop(op, None)
            if slot is None:
                continue
            for index, gradient in slot.items():
                slot[index] = complete(places[op, index], gradient)
            op.needs_grad = tuple(node is not None and node in wanted for node in op.inputs)
            if any(op.needs_grad):
                for node, gradient in _call(op, slot):
                    arrive(node, gradient)
            if not retain:
                op.free()
        for leaf, slot in pending.items():
            if isinstance(leaf, Node):
                complete(leaf, slot[0])
    return found


def _call(op: Op, slot: dict[int, Tensor]) -> list[tuple[Node, Tensor]]:
    """Run one backward and pair its results with the nodes that want them."""
    gradients = [slot[i] if i in slot else op.zeros(i) for i in range(len(op.outputs))]
    results = op.run_backward(*gradients)
    results = results if isinstance(results, tuple) else (results,)
    if len(results) != len(op.inputs):
        raise GraphError(f"{type(op).__name__}.backward returned {len(results)} gradients for {len(op.inputs)} inputs")
    pairs = []
    for node, needed, result in zip(op.inputs, op.needs_grad, results, strict=True):
        if node is not None and needed and result is not None:
            _check(result, node, f"{type(op).__name__}.backward")
            pairs.append((node, result))
    return pairs


def _check(gradient: Any, node: Node, culprit: str) -> None:
    if not isinstance(gradient, Tensor):
        raise GraphError(f"{culprit} returned a {type(gradient).__name__}, not a Tensor")
    if (gradient.shape, gradient.dtype, gradient.device) != (node.shape, node.dtype, node.device):
        raise GraphError(
            f"{culprit} returned a gradient of shape {gradient.shape}, {gradient.dtype} on {gradient.device} for an "
            f"input of shape {node.shape}, {node.dtype} on {node.device}"
        )


def _add(a: Tensor, b: Tensor, create_graph: bool) -> Tensor:
    if create_graph:
        return a + b
    xp = xp_of(a._array)
    return Tensor(xp.add(a._array, b._array, out=xp.empty_like(a._array)))


def _inputs_first(roots: list[Op | None]) -> list[Op]:
    """All operations that the roots depend on, each after the operations that made its inputs."""
    order: list[Op] = []
    seen: set[Op] = set()
    stack: list[tuple[Op, bool]] = [(op, False) for op in roots if op is not None]
    while stack:
        op, children_done = stack.pop()
        if children_done:
            order.append(op)
        elif op not in seen:
            seen.add(op)
            stack.append((op, True))
            stack.extend((n.op, False) for n in op.inputs if n is not None and n.op is not None)
    return order


def _wanted(order: list[Op], targets: set[Node] | None) -> tuple[set[Node], set[Op]]:
    """The nodes and operations on a path to a target: only these take part. Without targets, all of them."""
    reaching: set[Op] = set()
    wanted: set[Node] = set()
    for op in order:
        for node in op.inputs:
            if node is not None and (targets is None or node in targets or node.op in reaching):
                wanted.add(node)
                reaching.add(op)
    return wanted, reaching
