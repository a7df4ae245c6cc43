"""Small changes of a room of the boundary: Cosmic Ray's operators, statements left out, and rules left out."""

from __future__ import annotations

import ast
import difflib
import random
import re
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

BOUNDARY = Path(__file__).resolve().parents[2] / "boundary"
SIGNS = "Lt_LtE|Lt_NotEq|LtE_Lt|LtE_Eq|Gt_GtE|Gt_NotEq|GtE_Gt|GtE_Eq|Eq_LtE|Eq_GtE|NotEq_Lt|NotEq_Gt|Is_IsNot|IsNot_Is"
WANTED = re.compile(  # for each comparator the two that differ least from it: who sees these sees the other three
    rf"core/(ReplaceComparisonOperator_({SIGNS})|ReplaceAndWithOr"
    r"|ReplaceOrWithAnd|ReplaceTrueWithFalse|ReplaceFalseWithTrue|AddNot|ReplaceUnaryOperator_Delete_Not"
    r"|ReplaceBinaryOperator_(BitAnd_BitOr|BitOr_BitAnd|Add_Sub|Sub_Add|Mul_Div|Div_Mul)|NumberReplacer"
    r"|ReplaceContinueWithBreak|ReplaceBreakWithContinue|ZeroIterationForLoop)$"
)
DROP_STATEMENT, DROP_RULE = "drop statement", "drop rule"
RESOLVED = "return self._resolved[key]"  # where a policy hands out the rules of a place


class Mutant(NamedTuple):
    """A change of a room: which operator, and which of the places where it applies."""

    room: str
    operator: str
    place: int

    @property
    def before(self) -> str:
        return source(self.room)

    @property
    def after(self) -> str:
        """The room's text with the change."""
        return changed(self)

    @property
    def lines(self) -> set[int]:
        """Numbers of the lines of the statements that the change touches: only some of a statement's lines are seen to run."""
        touched = {
            place for change in self._changes() for place in range(change[1] + 1, max(change[2], change[1] + 1) + 1)
        }
        return {line for place in touched for line in statement(self.room, place)}

    @property
    def diff(self) -> str:
        name = rules()[self.place] if self.operator == DROP_RULE else self.place
        lines = difflib.unified_diff(
            self.before.splitlines(), self.after.splitlines(), self.room, f"{self.operator} {name}", n=0, lineterm=""
        )
        return "\n".join(lines)

    def _changes(self):
        match = difflib.SequenceMatcher(None, self.before.splitlines(), self.after.splitlines(), autojunk=False)
        return [change for change in match.get_opcodes() if change[0] != "equal"]


@lru_cache(maxsize=1)
def changed(mutant: Mutant) -> str:
    """Return a room's text with a change."""
    before = mutant.before
    if mutant.operator == DROP_RULE:
        kept = f"{{name: rule for name, rule in self._resolved[key].items() if name != {rules()[mutant.place]!r}}}"
        return before.replace(RESOLVED, f"return {kept}")
    if mutant.operator == DROP_STATEMENT:
        first, start, last, end = statements(mutant.room)[mutant.place]
        lines = before.encode().splitlines(keepends=True)
        lines[first - 1 : last] = [lines[first - 1][:start] + b"pass" + b"\n" * (last - first) + lines[last - 1][end:]]
        return b"".join(lines).decode()
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    return str(mutate_code(before, get_operator(mutant.operator)(), mutant.place) or before)


@cache
def source(room: str) -> str:
    return (BOUNDARY / room).read_text(encoding="utf-8")


@cache
def spans(room: str) -> list[range]:
    """Return the lines of each statement, of one that holds others only its head."""
    found = []
    for node in ast.walk(ast.parse(source(room))):
        if isinstance(node, ast.stmt | ast.excepthandler | ast.match_case):
            body = getattr(node, "body", None)
            first = getattr(node, "lineno", None) or node.pattern.lineno
            found.append(range(first, max(first + 1, body[0].lineno) if body else (node.end_lineno or first) + 1))
    return found


def statement(room: str, line: int) -> range:
    """Return the lines of the smallest statement that a line belongs to."""
    return min((span for span in spans(room) if line in span), key=len, default=range(line, line + 1))


@cache
def rules() -> tuple[str, ...]:
    from boundary import Policy

    return tuple(Policy.named("default").rules)


@cache
def statements(room: str) -> list[tuple[int, int, int, int]]:
    """Return where in a room's functions the statements stand that can be left out and leave a function that runs."""
    found = []
    for function in ast.walk(ast.parse(source(room))):
        if not isinstance(function, ast.FunctionDef):
            continue
        names: dict[str, int] = {}
        for node in ast.walk(function):
            for target in node.targets if isinstance(node, ast.Assign) else ():
                names[ast.unparse(target)] = names.get(ast.unparse(target), 0) + 1
        for node in ast.walk(function):
            again = isinstance(node, ast.Assign) and (
                not isinstance(node.targets[0], ast.Name | ast.Tuple) or names[ast.unparse(node.targets[0])] > 1
            )
            told = isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant)
            early = isinstance(node, ast.Return) and node is not function.body[-1]
            if again or told or early or isinstance(node, ast.AugAssign | ast.Raise | ast.Continue | ast.Break):
                found.append((node.lineno, node.col_offset, node.end_lineno or 0, node.end_col_offset or 0))
    return sorted(set(found))


@cache
def bodies(room: str) -> set[int]:
    """Return the lines of a room's functions, without their heads: what stands outside is read before any test runs."""
    functions = [node for node in ast.walk(ast.parse(source(room))) if isinstance(node, ast.FunctionDef)]
    return {line for node in functions for line in range(node.body[0].lineno, (node.end_lineno or 0) + 1)}


def rooms() -> list[str]:
    """Return every room of the boundary but the ledger, whose contract suite judges each store."""
    names = sorted(path.relative_to(BOUNDARY).as_posix() for path in BOUNDARY.rglob("*.py"))
    return [name for name in names if not name.startswith("ledger/")]


def name_of(room: str) -> str:
    """Return the name of a room's module."""
    return ("boundary." + room.removesuffix(".py").replace("/", ".")).removesuffix(".__init__")


def mutants(only: list[str], *, seed: int, most: int) -> list[Mutant]:
    """Return at most so many mutants of each room whose path begins in one of these ways, mixed so that any first part draws evenly."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.plugins import get_operator, operator_names

    operators = {name: get_operator(name)() for name in operator_names() if WANTED.match(name)}
    mixed = []
    for room in rooms():
        if not room.startswith(tuple(only)):
            continue
        nodes, within = list(ast_nodes(get_ast(source(room)))), bodies(room)
        found = [
            Mutant(room, name, place)
            for name, operator in operators.items()
            for place, ((line, _), _) in enumerate(at for node in nodes for at in operator.mutation_positions(node))
            if line in within
        ]
        found += [Mutant(room, DROP_STATEMENT, place) for place in range(len(statements(room)))]
        found += [Mutant(room, DROP_RULE, place) for place in range(len(rules()) if RESOLVED in source(room) else 0)]
        random.Random(seed).shuffle(found)
        found = found[:most]
        mixed += [((place + 0.5) / len(found), one) for place, one in enumerate(found)]
    return [one for _, one in sorted(mixed)]
