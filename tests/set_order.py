"""Where Python code depends on the order of a set, which is another in each process: found in its syntax tree.

A set is what is written as one, made by `set()` and its like, annotated as one, or reached by an attribute or returned
by a function that is. What asks a set without regard to order (`sorted`, `len`, `in`, `any`, another set) may.
"""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

SETS = frozenset(("set", "frozenset", "Set", "AbstractSet", "MutableSet", "FrozenSet"))
MAKERS = frozenset(("set", "frozenset", "smembers"))
COMBINERS = frozenset(("union", "intersection", "difference", "symmetric_difference", "copy"))
ORDERLESS = frozenset(("sorted", "len", "any", "all", "min", "max", "set", "frozenset", "bool"))
ORDERED = frozenset(
    ("list", "tuple", "iter", "enumerate", "zip", "map", "filter", "sum", "dict", "reversed", "pairwise")
)
ORDERED_METHODS = frozenset(("join", "fromkeys", "extend", "writelines"))
OPERATORS = (ast.BitOr, ast.BitAnd, ast.Sub, ast.BitXor)


@dataclass
class Known:
    """Names that stand for sets: of attributes and functions in all the code, and of variables in one piece of it."""

    attributes: set[str] = field(default_factory=set)
    functions: set[str] = field(default_factory=set)
    variables: set[str] = field(default_factory=set)


def known(trees: Iterable[ast.AST]) -> Known:
    """What all the code says of its attributes and functions."""
    found = Known()
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.ClassDef):
            fields = [each for each in node.body if isinstance(each, ast.AnnAssign)]
            found.attributes |= {ast.unparse(each.target) for each in fields if _says_set(each.annotation)}
        elif isinstance(node, ast.FunctionDef) and _says_set(node.returns):
            found.functions.add(node.name)
    return found


def dependent(tree: ast.AST, everywhere: Known) -> list[str]:
    """Each place, as `line: code`."""
    own, functions = known([tree]), {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    # Of two functions of one name, a module's own is meant.
    here = Known(everywhere.attributes, (everywhere.functions - functions) | own.functions)
    here.variables |= set(_variables(tree, here))
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    places = {(use.lineno, ast.unparse(use)) for use in _uses(tree, here, parents)}
    return [f"{line}: {code}" for line, code in sorted(places)]


def _says_set(annotation: ast.expr | None) -> bool:
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        annotation = ast.parse(annotation.value, mode="eval").body
    if isinstance(annotation, ast.BinOp):
        return _says_set(annotation.left) or _says_set(annotation.right)
    if isinstance(annotation, ast.Subscript):
        if ast.unparse(annotation.value) in ("Final", "ClassVar", "Annotated", "Optional"):
            return _says_set(annotation.slice)
        annotation = annotation.value
    return isinstance(annotation, ast.Name) and annotation.id in SETS


def _variables(tree: ast.AST, everywhere: Known) -> Iterator[str]:
    """Annotated or assigned as sets anywhere in the tree; twice, for sets made of those."""
    so_far = Known(everywhere.attributes, everywhere.functions)
    for _ in range(2):
        for node in ast.walk(tree):
            match node:
                case ast.arg(arg=name, annotation=annotation) if _says_set(annotation):
                    so_far.variables.add(name)
                case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation) if _says_set(annotation):
                    so_far.variables.add(name)
                case ast.Assign(targets=targets, value=value) if _is_set(value, so_far):
                    so_far.variables |= {target.id for target in targets if isinstance(target, ast.Name)}
                case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value) if _is_set(value, so_far):
                    so_far.variables.add(name)
                case ast.NamedExpr(target=ast.Name(id=name), value=value) if _is_set(value, so_far):
                    so_far.variables.add(name)
    yield from so_far.variables


def _is_set(node: ast.AST, here: Known) -> bool:
    match node:
        case ast.Set() | ast.SetComp():
            return True
        case ast.Name(id=name):
            return name in here.variables
        case ast.Attribute(attr=name):
            return name in here.attributes
        case ast.IfExp(body=body, orelse=orelse):
            return _is_set(body, here) or _is_set(orelse, here)
        case ast.BinOp(left=left, op=op, right=right) if isinstance(op, OPERATORS):
            return any(_is_set(side, here) or _is_view(side) for side in (left, right))
        case ast.Call(func=ast.Name(id=name)):
            return name in MAKERS or name in here.functions
        case ast.Call(func=ast.Attribute(value=of, attr=name)):
            return name in MAKERS or name in here.functions or (name in COMBINERS and _is_set(of, here))
    return False


def _is_view(node: ast.AST) -> bool:
    """What makes a set when it is combined: `a.keys() & b`."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("keys", "items")


def _uses(tree: ast.AST, here: Known, parents: dict[ast.AST, ast.AST]) -> Iterator[ast.expr | ast.stmt]:
    for node in ast.walk(tree):
        match node:
            case ast.For(iter=source) if _is_set(source, here):
                yield node.iter
            case ast.ListComp() | ast.GeneratorExp() | ast.DictComp() if not _is_orderless(parents.get(node)):
                yield from (each.iter for each in node.generators if _is_set(each.iter, here))
            case ast.Call(func=func, args=args) if _takes_in_order(func) and any(_is_set(arg, here) for arg in args):
                yield node
            case ast.Call(func=ast.Attribute(value=of, attr="pop"), args=[]) if _is_set(of, here):
                yield node
            case ast.Starred(value=value) if _is_set(value, here) and not isinstance(parents.get(node), ast.Set):
                yield node
            case ast.Assign(targets=[ast.Tuple() | ast.List()], value=value) if _is_set(value, here):
                yield node


def _takes_in_order(func: ast.expr) -> bool:
    if isinstance(func, ast.Attribute):
        return func.attr in ORDERED_METHODS
    return isinstance(func, ast.Name) and func.id in ORDERED


def _is_orderless(around: ast.AST | None) -> bool:
    return isinstance(around, ast.Call) and isinstance(around.func, ast.Name) and around.func.id in ORDERLESS
