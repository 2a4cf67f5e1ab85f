"""Basic changes of a Python function: one token, one operand, one statement.

Each operator yields edits for one node; together they are a few hundred for a function of ordinary size. The order says
what is likelier, and breaks ties behind the line's suspicion.
"""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Callable, Iterator, Sequence

from vortex.agent.repair.languages.python_source import FUNCTIONS, Edit, Source, unparsed

COMPARISONS = {
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=",
    ast.In: "in", ast.NotIn: "not in", ast.Is: "is", ast.IsNot: "is not",
}  # fmt: skip
ORDERS = ("<", "<=", ">", ">=", "==", "!=")
COMPARISON_SWAPS = {
    **{sign: tuple(other for other in ORDERS if other != sign) for sign in ORDERS},
    "in": ("not in", "=="), "not in": ("in", "!="), "is": ("is not", "=="), "is not": ("is", "!="),
}  # fmt: skip
OPERATORS = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%", ast.Pow: "**",
    ast.BitAnd: "&", ast.BitOr: "|", ast.BitXor: "^", ast.LShift: "<<", ast.RShift: ">>",
}  # fmt: skip
OPERATOR_SWAPS = {
    "+": "- * //", "-": "+ * %", "*": "+ - ** //", "/": "// * %", "//": "/ % *", "%": "// / -", "**": "*",
    "&": "| ^", "|": "& ^", "^": "& |", "<<": ">>", ">>": "<<",
}  # fmt: skip
SIBLINGS = (
    "min max", "any all", "sum len max", "append extend add insert", "pop popleft", "popleft pop", "lower upper",
    "isupper islower isalpha isdigit isalnum", "strip lstrip rstrip", "startswith endswith", "find rfind index",
    "split rsplit splitlines", "keys values items", "sorted list set reversed", "update add", "remove discard",
    "union intersection difference", "floor ceil round int", "get pop setdefault", "int float str", "enumerate range",
    "encode decode", "title capitalize", "left right", "first last", "start end", "low high", "row column", "next prev",
)  # fmt: skip
Operator = Callable[[Source, ast.AST, Sequence[str]], Iterator[Edit]]


def basic_edits(source: Source, function: ast.AST) -> Iterator[Edit]:
    names = local_names(function)
    nodes = list(own_nodes(function))
    for operator in (
        comparison, arithmetic, boolean, negation, constant, sibling, operands, one_more, name, arguments,
        slicing, unwrapped, statement, assignment, loop, elements,
    ):  # fmt: skip
        for node in nodes:
            yield from operator(source, node, names)


def own_nodes(function: ast.AST) -> Iterator[ast.AST]:
    """What stands in the function's body, in the order of the text."""
    body = getattr(function, "body", [])
    nodes = [node for statement in body for node in ast.walk(statement) if isinstance(node, ast.expr | ast.stmt)]
    return iter(sorted(nodes, key=lambda node: (node.lineno, node.col_offset)))


def local_names(function: ast.AST) -> list[str]:
    """Parameters and everything the function binds, in order."""
    names = [node.arg for node in ast.walk(function) if isinstance(node, ast.arg)]
    names += [node.id for node in ast.walk(function) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
    names += [node.name for node in ast.walk(function) if isinstance(node, FUNCTIONS) and node is not function]
    return list(dict.fromkeys(names))


def between(source: Source, sides: tuple[ast.AST, ast.AST], old: str, news: Sequence[str], kind: str) -> Iterator[Edit]:
    """The sign between two operands becomes another."""
    start, end = source.span(sides[0])[1], source.span(sides[1])[0]
    pattern = r"\s+".join(map(re.escape, old.split()))
    if old[0].isalpha():
        pattern = rf"\b{pattern}\b"
    found = re.search(pattern, source.data[start:end].decode())
    if found is None:
        return
    at = start + len(source.data[start:end].decode()[: found.start()].encode())
    for new in news:
        yield Edit(at, at + len(found.group().encode()), new, kind)


def comparison(source: Source, node: ast.AST, names: Sequence[str]) -> Iterator[Edit]:
    if isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
        for left, operator, right in zip(sides, node.ops, node.comparators, strict=False):
            sign = COMPARISONS[type(operator)]
            yield from between(source, (left, right), sign, COMPARISON_SWAPS[sign], "comparison")


def arithmetic(source: Source, node: ast.AST, names: Sequence[str]) -> Iterator[Edit]:
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        sign = OPERATORS[type(node.op)]
        yield from between(source, (node.left, node.right), sign, OPERATOR_SWAPS[sign].split(), "operator")
    elif isinstance(node, ast.AugAssign) and type(node.op) in OPERATORS:
        sign = OPERATORS[type(node.op)]
        news = [f"{new}=" for new in OPERATOR_SWAPS[sign].split()]
        yield from between(source, (node.target, node.value), f"{sign}=", news, "operator")


def boolean(source: Source, node: ast.AST, names: Sequence[str]) -> Iterator[Edit]:
    if isinstance(node, ast.BoolOp):
        old, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for left, right in zip(node.values, node.values[1:], strict=False):
            yield from between(source, (left, right), old, [new], "boolean")
        for dropped in range(len(node.values)):
            kept = [value for index, value in enumerate(node.values) if index != dropped]
            text = source.segment(kept[0]) if len(kept) == 1 else unparsed(ast.BoolOp(op=node.op, values=kept))
            yield source.replace(node, text, "condition dropped")


def negation(source: Source, node: ast.AST, names: Sequence[str]) -> Iterator[Edit]:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        yield source.replace(node, source.segment(node.operand), "sign dropped")
    test = getattr(node, "test", None)
    if isinstance(test, ast.expr) and not isinstance(test, ast.UnaryOp):
        yield source.replace(test, f"not ({source.segment(test)})", "negated")
    if isinstance(node, ast.Return | ast.Assign) and isinstance(node.value, ast.Compare | ast.Name | ast.Call):
        yield source.replace(node.value, f"not ({source.segment(node.value)})", "negated")


def constant(source: Source, node: ast.AST, names: Sequence[str]) -> Iterator[Edit]:
    if not isinstance(node, ast.Constant):
        return
    value = node.value
    if isinstance(value, bool):
        yield source.replace(node, str(not value), "constant")
        yield source.replace(node, "None", "constant")
    elif isinstance(value, int):
        for new in dict.fromkeys((value + 1, value - 1, 0, 1, -value, 2, 10)):
            if new != value:
                yield source.replace(node, str(new), "constant")
    elif value is None:
        for text in ("0", "[]", "False", "True", '""', "{}"):
            yield source.replace(node, text, "constant")
    elif isinstance(value, str):
        if value:
            for word in dict.fromkeys((value.lower(), value.upper(), value.strip(), value + " ", "")):
                if word != value:
                    yield source.replace(node, repr(word), "constant")
        else:
            yield source.replace(node, '" "', "constant")
    elif isinstance(value, float):
        for new_float in (value + 1, value - 1, 0.0, 1.0, -value, value * 10, value / 10):
            yield source.replace(node, repr(new_float), "constant")


def name(source: Source, node: ast.AST, names: Sequence[str]) -> Iterator[Edit]:
    if isinstance(node, ast.Name) and node.id in names:
        for other in names:
            if other != node.id:
                yield source.replace(node, other, "name")


def sibling(source: Source, node: ast.AST, names: Sequence[str]) -> Iterator[Edit]:
    """A function or method that is easily taken for another; True and False likewise stand in `constant`."""
    word = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else None
    if word is None:
        return
    others = [other for group in SIBLINGS if word in group.split() for other in group.split() if other != word]
    _, end = source.span(node)
    for other in dict.fromkeys(others):
        yield Edit(end - len(word.encode()), end, other, "sibling")


def operands(source: Source, node: ast.AST, names: Sequence[str]) -> Iterator[Edit]:
    if isinstance(node, ast.BinOp):
        swapped = copy.copy(node)
        swapped.left, swapped.right = node.right, node.left
        yield source.replace(node, unparsed(swapped), "operands swapped")
        for side in (node.left, node.right):
            yield source.replace(node, source.segment(side), "operand dropped")
        yield from regrouped(source, node)
    elif isinstance(node, ast.Compare) and len(node.ops) == 1:
        turned = ast.Compare(left=node.comparators[0], ops=node.ops, comparators=[node.left])
        yield source.replace(node, unparsed(turned), "operands swapped")
    elif isinstance(node, ast.IfExp):
        turned_if = ast.IfExp(test=node.test, body=node.orelse, orelse=node.body)
        yield source.replace(node, unparsed(turned_if), "branches swapped")
        for side in (node.body, node.orelse):
            yield source.replace(node, source.segment(side), "branch dropped")


def regrouped(source: Source, node: ast.BinOp) -> Iterator[Edit]:
    """a + b / c as (a + b) / c, and the other way round."""
    if isinstance(node.right, ast.BinOp):
        inner = ast.BinOp(left=node.left, op=node.op, right=node.right.left)
        yield source.replace(
            node, unparsed(ast.BinOp(left=inner, op=node.right.op, right=node.right.right)), "grouping"
        )
    if isinstance(node.left, ast.BinOp):
        inner = ast.BinOp(left=node.left.right, op=node.op, right=node.right)
        yield source.replace(node, unparsed(ast.BinOp(left=node.left.left, op=node.left.op, right=inner)), "grouping")


def one_more(source: Source, node: ast.AST, names: Sequence[str]) -> Iterator[Edit]:
    """One more or one less where numbers are counted: bounds, indices, arguments, what is compared or returned."""
    places: list[ast.expr | None] = []
    if isinstance(node, ast.Compare):
        places = [node.left, *node.comparators]
    elif isinstance(node, ast.Slice):
        places = [node.lower, node.upper]
    elif isinstance(node, ast.Subscript):
        places = [node.slice]
    elif isinstance(node, ast.Call):
        places = list(node.args)
    elif isinstance(node, ast.Return | ast.Assign | ast.AugAssign):
        places = [node.value]
    for place in places:
        if isinstance(place, ast.Name | ast.BinOp | ast.Call | ast.Subscript | ast.Attribute | ast.UnaryOp):
            text = source.segment(place)
            for new in (f"{text} + 1", f"{text} - 1"):
                yield source.replace(place, new, "one more or less")


def arguments(source: Source, node: ast.AST, names: Sequence[str]) -> Iterator[Edit]:
    if not isinstance(node, ast.Call):
        return
    for index in range(len(node.args)):
        changed = copy.copy(node)
        changed.args = [argument for other, argument in enumerate(node.args) if other != index]
        yield source.replace(node, unparsed(changed), "argument dropped")
    for first in range(len(node.args)):
        for second in range(first + 1, len(node.args)):
            changed = copy.copy(node)
            changed.args = list(node.args)
            changed.args[first], changed.args[second] = changed.args[second], changed.args[first]
            yield source.replace(node, unparsed(changed), "arguments swapped")
    for index in range(len(node.keywords)):
        changed = copy.copy(node)
        changed.keywords = [keyword for other, keyword in enumerate(node.keywords) if other != index]
        yield source.replace(node, unparsed(changed), "argument dropped")
    if isinstance(node.func, ast.Name) and node.func.id in {"sorted", "range", "pop", "sum", "max", "min"}:
        extra = {"sorted": "reverse=True", "range": "1"}.get(node.func.id)
        if extra:
            yield source.replace(node, f"{source.segment(node)[:-1]}, {extra})", "argument added")
    if isinstance(node.func, ast.Attribute) and node.func.attr in {"pop", "split"} and not node.args:
        for extra in ("0", "-1") if node.func.attr == "pop" else ('","',):
            yield source.replace(node, f"{source.segment(node)[:-1]}{extra})", "argument added")


def slicing(source: Source, node: ast.AST, names: Sequence[str]) -> Iterator[Edit]:
    if not isinstance(node, ast.Subscript):
        return
    value = source.segment(node.value)
    if isinstance(node.slice, ast.Slice):
        lower, upper, step = (
            source.segment(x) if x else "" for x in (node.slice.lower, node.slice.upper, node.slice.step)
        )
        tail = f":{step}" if step else ""
        options = [f"{upper}:{lower}", f":{upper}", f"{lower}:", f"1:{upper}", f"{lower}:-1"]
        if lower and upper:
            options.append(f"{lower}:{lower} + {upper}")
        for option in options:
            yield source.replace(node, f"{value}[{option}{tail}]", "slice")
        yield source.replace(node, f"{value}[{lower}:{upper}:-1]" if not step else f"{value}[{lower}:{upper}]", "slice")
    else:
        index = source.segment(node.slice)
        for option in (
            f"-{index}" if index.isidentifier() or index.isdigit() else "0",
            "-1",
            "0",
            f"{index}:",
            f":{index}",
        ):
            yield source.replace(node, f"{value}[{option}]", "index")


def unwrapped(source: Source, node: ast.AST, names: Sequence[str]) -> Iterator[Edit]:
    if isinstance(node, ast.Call) and node.args and not isinstance(node.args[0], ast.Starred):
        yield source.replace(node, source.segment(node.args[0]), "call dropped")
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        yield source.replace(node, source.segment(node.func.value), "call dropped")
    if isinstance(node, ast.Subscript):
        yield source.replace(node, source.segment(node.value), "index dropped")


def statement(source: Source, node: ast.AST, names: Sequence[str]) -> Iterator[Edit]:
    """A statement less, or another way out of where it stands."""
    if not isinstance(node, ast.stmt) or isinstance(node, FUNCTIONS) or not source.own_lines(node):
        return
    start, end = source.span(node)
    if isinstance(
        node, ast.Expr | ast.Assign | ast.AugAssign | ast.Return | ast.Break | ast.Continue | ast.Raise | ast.If
    ):
        yield Edit(start, end, "pass", "statement dropped")
    if isinstance(node, ast.Break | ast.Continue):
        for new in {"break", "continue", "return", "pass"} - {source.segment(node)}:
            yield Edit(start, end, new, "jump")
    if isinstance(node, ast.Return) and node.value is not None:
        for other in (*names, "None", "True", "False"):
            yield source.replace(node.value, other, "returned value")
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield Edit(start, start, "return ", "returned")


def assignment(source: Source, node: ast.AST, names: Sequence[str]) -> Iterator[Edit]:
    if isinstance(node, ast.AugAssign) and type(node.op) in OPERATORS:
        target, value = source.segment(node.target), source.segment(node.value)
        start, end = source.span(node)
        yield Edit(start, end, f"{target} = {value}", "assignment")
    if (
        isinstance(node, ast.Assign)
        and len(node.targets) == 1
        and isinstance(node.targets[0], ast.Name | ast.Subscript)
    ):
        for sign in ("+=", "-="):
            start, end = source.span(node)
            text = f"{source.segment(node.targets[0])} {sign} {source.segment(node.value)}"
            yield Edit(start, end, text, "assignment")


def loop(source: Source, node: ast.AST, names: Sequence[str]) -> Iterator[Edit]:
    """`while` for `if`, `if` for `while`, `elif` for `if`, and a branch's condition made always true."""
    if isinstance(node, ast.While | ast.If):
        start, _ = source.span(node)
        word, other = ("while", "if") if isinstance(node, ast.While) else ("if", "while")
        if source.data[start:].startswith(word.encode()):
            yield Edit(start, start + len(word), other, "loop")
        if source.data[start:].startswith(b"elif"):
            yield Edit(start, start + 4, "if", "branch")
        elif isinstance(node, ast.If):
            yield Edit(start, start + 2, "elif", "branch")


def elements(source: Source, node: ast.AST, names: Sequence[str]) -> Iterator[Edit]:
    """Elements of a tuple or list in another order, one less; parts of an f-string likewise."""
    if isinstance(node, ast.Tuple | ast.List) and 2 <= len(node.elts) <= 6:
        for first in range(len(node.elts)):
            for second in range(first + 1, len(node.elts)):
                left, right = source.segment(node.elts[first]), source.segment(node.elts[second])
                start, _ = source.span(node.elts[first])
                middle = source.data[source.span(node.elts[first])[1] : source.span(node.elts[second])[0]].decode()
                yield Edit(start, source.span(node.elts[second])[1], f"{right}{middle}{left}", "elements swapped")
