"""The backward pass: from the outputs to the inputs, each operation once, without recursion.

It has two parts. `_plan` decides which operations take part; `_run` computes the gradients.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from minires.autograd.op import Op, enable_grad, no_grad, recording
from minires.autograd.ownership import Arrived, added, for_caller, unchanged
from minires.autograd.tensor import Node, Tensor
from minires.device import full_like
from minires.errors import DeviceError, DtypeError, GraphError, ShapeError

Start: TypeAlias = list[tuple[Node, Arrived]]
Step: TypeAlias = tuple[Op, tuple[bool, ...]]  # an operation and its ``needs_grad``


def backward(output: Tensor, gradient: Tensor | None, retain: bool, create_graph: bool) -> None:
    """Add the gradient of ``output`` to ``.grad`` of the leaves; see `Tensor.backward`."""
    with enable_grad() if create_graph else no_grad():
        start = _start([output], [gradient])
        found = _run(_plan([output], None), start, None, retain)
        for node, arrived in found.items():
            keeper = None if node.keeper is None else node.keeper()
            if keeper is None or keeper._node is not node:
                continue  # the tensor was deleted, or its gradient was switched off
            if keeper.grad is None:
                keeper.grad = for_caller(arrived, keeper._array)
            else:
                keeper.grad = keeper.grad + arrived.gradient


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """Return the gradients of the sum of ``outputs`` with respect to ``inputs``, which need not be leaves.

    Parameters
    ----------
    outputs : one or several tensors
    inputs : one or several tensors that require gradients; their ``.grad`` does not change
    grad_outputs : the gradient with respect to each output; None stands for 1 at a scalar
    retain_graph, create_graph : see `Tensor.backward`
    allow_unused : return None for an input that no output depends on

    Returns
    -------
    a tuple with one tensor per input; None, if that is allowed, where no gradient arrived

    Raises
    ------
    GraphError : for an input that no output depends on, unless allowed; otherwise as `Tensor.backward`.
    """
    ends = _listed(outputs)
    given = [None] * len(ends) if grad_outputs is None else _listed(grad_outputs)
    targets = [source._required_node("grad") for source in _listed(inputs)]
    retain = create_graph if retain_graph is None else retain_graph
    with enable_grad() if create_graph else no_grad():
        start = _start(ends, given)
        steps = _plan(ends, set(targets))
        if not allow_unused:
            _check_dependence(steps, start, targets)
        found = _run(steps, start, set(targets), retain)
        gradients = {node: new.gradient if create_graph else for_caller(new) for node, new in found.items()}
    for node in targets:
        if node not in gradients and not allow_unused:
            gradients[node] = node.zeros()
    return tuple(gradients.get(node) for node in targets)


def _listed(tensors: Any) -> list[Any]:
    """Return one or several tensors as a list."""
    return [tensors] if isinstance(tensors, Tensor) else list(tensors)


def _start(outputs: list[Tensor], gradients: list[Tensor | None]) -> Start:
    """Return the nodes of the outputs with the gradients at which the backward pass starts."""
    if len(gradients) != len(outputs):
        raise GraphError(f"{len(gradients)} grad_outputs were given for {len(outputs)} outputs")
    start = []
    for output, gradient in zip(outputs, gradients, strict=True):
        node = output._required_node("backward")
        if gradient is None:
            if output.numel() != 1:
                raise GraphError(f"the gradient of an output of shape {node.shape} must be given: it is not a scalar")
            gradient = Tensor(full_like(output._array, 1))
        gradient = _checked(gradient, node, "the caller")
        start.append((node, Arrived(gradient if recording() else gradient.detach(), owned=False)))
    return start


# The plan


def _plan(outputs: list[Tensor], targets: set[Node] | None) -> list[Step]:
    """Return the operations that the outputs depend on, outputs first, each with its ``needs_grad``.

    Raises
    ------
    GraphError : if an operation cannot be used.
    """
    order = inputs_first(outputs)
    wanted = _wanted(order, targets)
    steps = []
    for op in order:
        needs_grad = tuple([node in wanted for _, node in op.inputs])
        if op.freed or any(needs_grad):
            op.check_usable()
        steps.append((op, needs_grad))
    return steps[::-1]


def inputs_first(outputs: list[Tensor]) -> list[Op]:
    """Return all operations that the outputs depend on, each after the operations that made its inputs."""
    order: list[Op] = []
    seen: set[Op] = set()
    stack = [(output._op, False) for output in outputs if output._op is not None]
    while stack:
        op, inputs_done = stack.pop()
        if inputs_done:
            order.append(op)
        elif op not in seen:
            seen.add(op)
            stack.append((op, True))
            stack.extend((maker, False) for maker, _ in op.inputs if maker is not None)
    return order


def _wanted(order: list[Op], targets: set[Node] | None) -> set[Node]:
    """Return the nodes on a path to a target, which need a gradient; without targets, the inputs of all operations."""
    if targets is None:
        return {node for op in order for _, node in op.inputs if node is not None}
    wanted = set(targets)
    for op in order:
        if any(node in wanted for _, node in op.inputs):
            wanted.update(node for node in op.outputs if node is not None)
    return wanted


def _check_dependence(steps: list[Step], start: Start, targets: list[Node]) -> None:
    """Raise GraphError for a target that no output depends on."""
    known = {node for node, _ in start}
    known.update(node for op, _ in steps for _, node in op.inputs if node is not None)
    for index, node in enumerate(targets):
        if node not in known:
            raise GraphError(f"no output depends on input {index}, of shape {node.shape}: pass allow_unused=True")


# The run


def _run(steps: list[Step], start: Start, targets: set[Node] | None, retain: bool) -> dict[Node, Arrived]:
    """Run the steps of a plan, and return the gradients of the targets; without targets, of nodes with a keeper."""
    arrived: dict[Node, Arrived] = {}
    kept: dict[Node, Arrived] = {}

    def arrive(node: Node, new: Arrived) -> None:
        arrived[node] = added(arrived[node], new) if node in arrived else new

    def take(node: Node, shared: bool) -> Arrived:
        complete = _after_hooks(node, arrived.pop(node))
        wanted = node.keeper is not None if targets is None else node in targets
        if wanted:
            complete = kept[node] = Arrived(complete.gradient, complete.owned and not shared)
        return complete

    for node, given in start:
        arrive(node, given)
    for op, needs_grad in steps:
        # What is kept, the operation and the caller share: neither may write into it.
        reached = [take(node, shared=True) if node in arrived else None for node in op.outputs]
        if any(new is not None for new in reached) and any(needs_grad):
            op.needs_grad = needs_grad
            for node, result in _results(op, reached):
                arrive(node, result)
            if not retain:
                op.free()
    for leaf in list(arrived):
        take(leaf, shared=False)
    return kept


def _after_hooks(node: Node, arrived: Arrived) -> Arrived:
    """Call the hooks of a node with its complete gradient, and return the gradient that they leave."""
    for hook in tuple(node.hooks.values()):
        with unchanged([arrived.gradient], "a hook"):
            replaced = hook(arrived.gradient)
        gradient = arrived.gradient if replaced is None else _checked(replaced, node, "a hook")
        arrived = Arrived(gradient, owned=False)  # the hook may keep it
    return arrived


def _results(op: Op, reached: list[Arrived | None]) -> list[tuple[Node, Arrived]]:
    """Run one backward, and return its results with the nodes that need them."""
    gradients = [
        new.gradient if new is not None else None if node is None else node.zeros()
        for node, new in zip(op.outputs, reached, strict=True)
    ]
    op.may_overwrite = all(new is None or new.owned for new in reached)
    name = f"{type(op).__name__}.backward"
    with unchanged(gradients, name):
        results = op.run_backward(*gradients)
    op.check_usable()  # backward may have changed a saved tensor
    if not isinstance(results, tuple):
        results = (results,)
    if len(results) != len(op.inputs):
        raise GraphError(f"{name} returned {len(results)} gradients for {len(op.inputs)} inputs")
    owned = op.hands_over and not recording()
    found = []
    for (_, node), needed, result in zip(op.inputs, op.needs_grad, results, strict=True):
        if node is not None and needed and result is not None:
            found.append((node, Arrived(_checked(result, node, name), owned)))
    return found


def _checked(gradient: Any, node: Node, giver: str) -> Tensor:
    """Return ``gradient``, or raise if it cannot be the gradient of ``node``."""
    if not isinstance(gradient, Tensor):
        raise GraphError(f"{giver} gave a {type(gradient).__name__} as a gradient, not a Tensor")
    for error, what in ((ShapeError, "shape"), (DtypeError, "dtype"), (DeviceError, "device")):
        if getattr(gradient, what) != getattr(node, what):
            raise error(f"{giver} gave a gradient of {Node(gradient._array)} for a tensor of {node}")
    return gradient
