"""Small faults for a Python module: where each could stand, and the tree with one of them in it.

A row of OPERATORS takes a node and gives what could stand in its place. Words are left alone (a changed sentence is
no fault of logic), and so are annotations, decorators, messages of errors and keywords that only refuse bad input. A
conversion after which the value is equal to what it was is no fault when it goes: `_same`.
"""

from __future__ import annotations

import ast
import copy
import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

FLIPS: dict[type, tuple[type, ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
ARITHMETIC: dict[type, type] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
TWINS = {a: b for pair in (("any", "all"), ("min", "max"), ("argmin", "argmax"), ("amin", "amax")) for a, b in
         (pair, pair[::-1])}  # fmt: skip
# What these say is checked by the language (lengths that differ), is the default where the tests run, or changes how
# smooth a line, how small a file or how much white space in a page's source there is, and nothing that it says.
KEYWORDS_LEFT = frozenset(("strict", "encoding", "kind", "stable", "optimize", "joint", "quality", "trim_blocks",
                           "lstrip_blocks", "auto_reload"))  # fmt: skip
GUARD = 1e-9  # a number this small only keeps a division from being one by zero
# The same members in the same order (what is frozen, and what JSON writes as a list, is made a tuple by the record).
SAME = frozenset(("tuple", "list", "asarray", "ascontiguousarray", "cpu"))


def _compare(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Compare):
        for i, op in enumerate(node.ops):
            for other in FLIPS.get(type(op), ()):
                yield ast.Compare(node.left, [*node.ops[:i], other(), *node.ops[i + 1 :]], node.comparators)


def _logic(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.BoolOp):
        yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
        for i in range(len(node.values)):
            rest = [*node.values[:i], *node.values[i + 1 :]]
            yield ast.BoolOp(node.op, rest) if len(rest) > 1 else rest[0]


def _sign(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.UnaryOp):
        yield node.operand


def _arithmetic(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
        yield ast.BinOp(node.left, ARITHMETIC[type(node.op)](), node.right)


def _twin(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Call):
        f = node.func
        if isinstance(f, ast.Name) and f.id in TWINS:
            yield ast.Call(ast.Name(TWINS[f.id], ast.Load()), node.args, node.keywords)
        if isinstance(f, ast.Attribute) and f.attr in TWINS:
            yield ast.Call(ast.Attribute(f.value, TWINS[f.attr], ast.Load()), node.args, node.keywords)


def _number(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Constant) and type(node.value) is bool:
        yield ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and type(node.value) is int:
        yield ast.Constant(node.value + 1)
    elif isinstance(node, ast.Constant) and type(node.value) is float and not 0 < node.value < GUARD:
        yield ast.Constant(1.5 * node.value or 1.0)


def _answer(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Return) and node.value is not None and ast.unparse(node.value) != "None":
        truth = isinstance(node.value, ast.Compare | ast.BoolOp) or (
            isinstance(node.value, ast.UnaryOp) and isinstance(node.value.op, ast.Not)
        )
        for value in (True, False) if truth else (None,):
            yield ast.Return(ast.Constant(value))


def _same(node: ast.Call) -> bool:
    """Whether a call gives a value equal to what it was given: its members as a tuple, or one number of an array or a
    tensor as Python's own. `int` and `bool` stay faults (they cut off), so does `float` of a text or a whole number."""
    f = node.func
    name = f.attr if isinstance(f, ast.Attribute) else f.id if isinstance(f, ast.Name) else ""
    inner = node.args[0] if len(node.args) == 1 else None
    computed = isinstance(inner, ast.Call) and isinstance(inner.func, ast.Attribute)
    return name in SAME or (name == "float" and computed)


def _call(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Call) and not node.keywords and not _same(node):
        if len(node.args) == 1 and not isinstance(node.args[0], ast.Starred | ast.GeneratorExp):
            yield node.args[0]
        elif not node.args and isinstance(node.func, ast.Attribute):
            yield node.func.value


def _keyword(node: ast.AST) -> Iterator[ast.AST]:
    name = node.func if isinstance(node, ast.Call) else None
    if isinstance(node, ast.Call) and not (isinstance(name, ast.Name) and name.id[:1].isupper()):
        for i, k in enumerate(node.keywords):
            if k.arg is not None and k.arg not in KEYWORDS_LEFT:
                yield ast.Call(node.func, node.args, [*node.keywords[:i], *node.keywords[i + 1 :]])


def _branch(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.IfExp):
        yield node.body
        yield node.orelse
    if isinstance(node, ast.If | ast.While) and isinstance(node.test, ast.Name | ast.Call | ast.Attribute):
        yield type(node)(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)
    if isinstance(node, ast.comprehension) and node.ifs:
        for i in range(len(node.ifs)):
            yield ast.comprehension(node.target, node.iter, [*node.ifs[:i], *node.ifs[i + 1 :]], node.is_async)


def _statement(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.AugAssign) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
        yield ast.Pass()


OPERATORS: dict[str, Callable[[ast.AST], Iterator[ast.AST]]] = {
    "compare": _compare,
    "logic": _logic,
    "sign": _sign,
    "arithmetic": _arithmetic,
    "twin": _twin,
    "number": _number,
    "answer": _answer,
    "call": _call,
    "keyword": _keyword,
    "branch": _branch,
    "statement": _statement,
}


@dataclass(frozen=True)
class Site:
    """Where a fault can stand: the node's number in the walk, the operator and which of its answers; its lines."""

    index: int
    operator: str
    variant: int
    lines: tuple[int, int]


def sites(tree: ast.Module) -> list[Site]:
    """Every fault that could be planted in a module, in the order of the walk."""
    kept, lines = _allowed(tree), _lines(tree)
    return [
        Site(index, name, variant, lines[index])
        for index, node in enumerate(ast.walk(tree))
        if index in kept
        for name, operator in OPERATORS.items()
        for variant, _ in enumerate(operator(node))
    ]


def planted(tree: ast.Module, site: Site) -> ast.Module:
    """A copy of the module with the fault in it."""
    tree = copy.deepcopy(tree)
    old = list(ast.walk(tree))[site.index]
    new = ast.copy_location(list(OPERATORS[site.operator](old))[site.variant], old)
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, name, new)
            elif isinstance(value, list) and any(v is old for v in value):
                setattr(parent, name, [new if v is old else v for v in value])
    return ast.fix_missing_locations(tree)


def difference(before: ast.Module, after: ast.Module) -> list[str]:
    """The lines that a fault changed, as `-` and `+`."""
    rows = difflib.unified_diff(ast.unparse(before).splitlines(), ast.unparse(after).splitlines(), lineterm="", n=0)
    return [row[0] + " " + row[1:].strip() for row in list(rows)[2:] if row[0] in "+-"]


def _allowed(tree: ast.Module) -> set[int]:
    left: set[int] = set()
    number = {id(node): index for index, node in enumerate(ast.walk(tree))}

    def leave(*nodes: ast.AST | None) -> None:
        left.update(number[id(inner)] for node in nodes if node is not None for inner in ast.walk(node))

    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            leave(*node.decorator_list)
        if isinstance(node, ast.FunctionDef):
            leave(node.returns)
        if isinstance(node, ast.arg | ast.AnnAssign):
            leave(node.annotation)
        if isinstance(node, ast.Raise | ast.Assert | ast.Import | ast.ImportFrom):
            leave(node)
        if isinstance(node, ast.keyword) and node.arg in KEYWORDS_LEFT:
            leave(node)
    for node in tree.body:  # an alias of a type
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.BinOp) and isinstance(node.value.op, ast.BitOr):
            leave(node)
    return set(number.values()) - left


def _lines(tree: ast.Module) -> list[tuple[int, int]]:
    """First and last line of each node of the walk; of a part of a statement, those of the statement's own lines."""
    span: dict[int, tuple[int, int]] = {}

    def visit(node: ast.AST, around: tuple[int, int]) -> None:
        if isinstance(node, ast.expr) and around == (0, 0):
            around = (node.lineno, node.end_lineno or node.lineno)
        if isinstance(node, ast.stmt):
            inner = getattr(node, "body", None)
            around = (0, 0) if inner else (node.lineno, node.end_lineno or node.lineno)
            span[id(node)] = (node.lineno, node.lineno if inner else around[1])
        else:
            span[id(node)] = around
        for child in ast.iter_child_nodes(node):
            visit(child, around)

    visit(tree, (0, 0))
    return [span[id(node)] for node in ast.walk(tree)]
