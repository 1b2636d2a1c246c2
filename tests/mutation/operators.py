"""The changes of mutants to arithmetic: to an operator, number, comparison, branch, call or whole statement.

This list replaces mutmut's own. That one also changes strings and arguments, which the tests of the kernels do not
check. It changes neither ``@`` nor arithmetic in NumPy's calls, which the fast kernels use.
"""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

OPERATORS = {
    cst.Add: (cst.Subtract,), cst.Subtract: (cst.Add,), cst.Multiply: (cst.Divide,), cst.Divide: (cst.Multiply,),
    cst.FloorDivide: (cst.Multiply,), cst.Modulo: (cst.FloorDivide,), cst.Power: (cst.Multiply,),
    cst.MatrixMultiply: (cst.Multiply,), cst.BitAnd: (cst.BitOr,), cst.BitOr: (cst.BitAnd,),
    cst.LeftShift: (cst.RightShift,), cst.RightShift: (cst.LeftShift,), cst.And: (cst.Or,), cst.Or: (cst.And,),
    cst.AddAssign: (cst.SubtractAssign,), cst.SubtractAssign: (cst.AddAssign,), cst.BitOrAssign: (cst.BitAndAssign,),
    cst.MultiplyAssign: (cst.DivideAssign,), cst.DivideAssign: (cst.MultiplyAssign,),
    cst.LessThan: (cst.LessThanEqual, cst.GreaterThanEqual), cst.LessThanEqual: (cst.LessThan, cst.GreaterThan),
    cst.GreaterThan: (cst.GreaterThanEqual, cst.LessThanEqual), cst.GreaterThanEqual: (cst.GreaterThan, cst.LessThan),
    cst.Equal: (cst.NotEqual,), cst.NotEqual: (cst.Equal,), cst.Is: (cst.IsNot,), cst.IsNot: (cst.Is,),
    cst.In: (cst.NotIn,), cst.NotIn: (cst.In,),
}  # fmt: skip
NAMES = {"True": "False", "False": "True"}
PAIRS = (
    ("add", "subtract"), ("multiply", "divide"), ("maximum", "minimum"), ("max", "min"), ("any", "all"),
    ("argmax", "argmin"), ("amax", "amin"), ("less", "less_equal"), ("greater", "greater_equal"),
    ("equal", "not_equal"), ("zeros", "ones"), ("zeros_like", "ones_like"),
)  # fmt: skip
CALLS = dict(PAIRS) | {b: a for a, b in PAIRS} | {"sum": "max", "ceil": "floor", "sqrt": "square", "abs": "negative"}


def numbers(node: cst.Integer | cst.Float) -> Iterator[cst.BaseExpression]:
    """Yield the number plus one and minus one."""
    for value in (node.evaluated_value + 1, node.evaluated_value - 1):
        yield cst.parse_expression(repr(value))


def operators(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    """Yield the expression with other operators."""
    for other in OPERATORS.get(type(node.operator), ()):
        yield node.with_changes(operator=other())


def signs(node: cst.UnaryOperation) -> Iterator[cst.BaseExpression]:
    """Yield the operand without its sign or ``not``."""
    yield node.expression


def plain_assignments(node: cst.AugAssign) -> Iterator[cst.Assign]:
    """Yield ``=`` for ``+=``."""
    yield cst.Assign([cst.AssignTarget(node.target)], node.value)


def booleans(node: cst.Name) -> Iterator[cst.Name]:
    """Yield False for True, and True for False."""
    if node.value in NAMES:
        yield node.with_changes(value=NAMES[node.value])


def calls(node: cst.Call) -> Iterator[cst.Call]:
    """Yield a call of the opposite function or method."""
    name = node.func.attr if isinstance(node.func, cst.Attribute) else node.func
    if isinstance(name, cst.Name) and name.value in CALLS:
        yield node.with_deep_changes(name, value=CALLS[name.value])


def transposes(node: cst.Attribute) -> Iterator[cst.BaseExpression]:
    """Yield the array without its transpose."""
    if node.attr.value == "T":
        yield node.value


def branches(node: cst.If | cst.IfExp | cst.CompIf) -> Iterator[cst.CSTNode]:
    """Yield the branch with a condition that is always true, and always false."""
    for value in ("True", "False"):
        yield node.with_changes(test=cst.Name(value))


def statements(node: cst.Expr | cst.Assign) -> Iterator[cst.Pass]:
    """Yield ``pass`` for a call, and for an assignment to elements."""
    filled = isinstance(node, cst.Assign) and isinstance(node.targets[0].target, cst.Subscript)
    if filled or (isinstance(node, cst.Expr) and isinstance(node.value, cst.Call)):
        yield cst.Pass()


ARITHMETIC = [
    (cst.Integer, numbers), (cst.Float, numbers), (cst.UnaryOperation, signs), (cst.AugAssign, plain_assignments),
    (cst.Name, booleans), (cst.Call, calls), (cst.Attribute, transposes), (cst.Expr, statements),
    (cst.Assign, statements),
    *((kind, operators) for kind in (cst.BinaryOperation, cst.BooleanOperation, cst.ComparisonTarget, cst.AugAssign)),
    *((kind, branches) for kind in (cst.If, cst.IfExp, cst.CompIf)),
]  # fmt: skip
