"""All changes of a module that mutmut's operators make and that users could notice, and a fair sample of them."""

import ast
import random
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

import libcst as cst
from attrs import frozen
from libcst.metadata import MetadataWrapper
from mutmut.mutation.mutators import mutation_operators, operator_string

TEXT = (cst.SimpleString, cst.ConcatenatedString, cst.FormattedString)
PASSED_OVER = (cst.Annotation, cst.Decorator, cst.Raise, cst.Assert, cst.FormattedString)
"""What is for type checkers or readers, and caching: nothing in it is changed."""
SPOKEN = {"print", "Status"}
"""Calls that only say how things are going: nothing in them is changed."""
FIXED = {"len", "isinstance", "zip"}
"""Calls that keep their arguments; what is in the arguments is changed."""
GUARDS = {"strict"}
"""Arguments that only catch mistakes made in this code."""


@frozen
class Mutant:
    """One change of one module."""

    path: str
    line: int
    """The first that differs."""
    operator: str
    """mutmut's name of what was done, such as `number` or `swap_op`."""
    number: int
    """Among all changes of the module."""
    source: str

    @property
    def key(self) -> str:
        return f"{self.path}:{self.line}:{self.operator}:{self.number}"


class Module:
    """A module and its changes."""

    def __init__(self, root: Path, path: str) -> None:
        self.path = path
        self.text = (root / path).read_text(encoding="utf-8")
        visitor = _Changes()
        # the wrapper's copy holds each node once, so that a change has one place
        self._tree = MetadataWrapper(cst.parse_module(self.text)).module
        self._tree.visit(visitor)
        self._changes = visitor.found

    def __len__(self) -> int:
        return len(self._changes)

    def mutants(self, order: Sequence[int]) -> Iterator[Mutant]:
        """The mutants of these numbers, without those that aren't Python or are the same program."""
        original = ast.dump(ast.parse(self.text))
        for number in order:
            node, new, operator = self._changes[number]
            changed = self._tree.deep_replace(node, new)
            assert isinstance(changed, cst.Module)
            try:
                same = ast.dump(ast.parse(changed.code)) == original
            except SyntaxError:
                continue
            if not same:
                yield Mutant(self.path, _first_difference(self.text, changed.code), operator, number, changed.code)


class _Changes(cst.CSTVisitor):
    """Collects each node with what each operator makes of it."""

    def __init__(self) -> None:
        self.found: list[tuple[cst.CSTNode, cst.CSTNode, str]] = []

    def on_visit(self, node: cst.CSTNode) -> bool:
        if isinstance(node, PASSED_OVER) or _called(node) in SPOKEN or _guards(node):
            return False
        if _called(node) not in FIXED:
            for kind, operator in mutation_operators:
                if isinstance(node, kind) and operator is not operator_string:
                    name = operator.__name__.removeprefix("operator_")
                    self.found += [(node, new, name) for new in operator(node) if not _in_words_only(node, new)]
        return True


def _called(node: cst.CSTNode) -> str | None:
    return node.func.value if isinstance(node, cst.Call) and isinstance(node.func, cst.Name) else None


def _guards(node: cst.CSTNode) -> bool:
    return isinstance(node, cst.Arg) and node.keyword is not None and node.keyword.value in GUARDS


def _in_words_only(node: cst.CSTNode, new: cst.CSTNode) -> bool:
    """Whether a text, or an argument that is a guard, is all that is replaced or left out."""
    if isinstance(node, cst.Call) and isinstance(new, cst.Call):
        changed = next((old for old, other in zip_longest(node.args, new.args) if old is not other), None)
        return changed is not None and (isinstance(changed.value, TEXT) or _guards(changed))
    return isinstance(node, cst.Assign | cst.AnnAssign) and isinstance(node.value, TEXT)


def _first_difference(before: str, after: str) -> int:
    lines = zip_longest(before.splitlines(), after.splitlines())
    return next(number for number, (old, new) in enumerate(lines, 1) if old != new)


def draw(
    modules: Sequence[Module], count: int, seed: int, passing: Callable[[list[Mutant]], list[Mutant]]
) -> Iterator[Mutant]:
    """`count` mutants at random, from each module one and then in proportion to how many changes it has.

    Args:
        modules: where they come from.
        count: how many, or fewer where there are not so many.
        seed: decides which.
        passing: those of some mutants, of different modules, that are good enough; others take their places.
    """
    modules = [module for module in modules if len(module)]
    missing = dict(enumerate(shares([len(module) for module in modules], count)))
    waiting = [module.mutants(_shuffled(len(module), f"{seed} {module.path}")) for module in modules]
    numbers = {module.path: number for number, module in enumerate(modules)}
    while missing:
        candidates = {number: next(waiting[number], None) for number in missing}
        for mutant in passing([mutant for mutant in candidates.values() if mutant is not None]):
            missing[numbers[mutant.path]] -= 1
            yield mutant
        missing = {number: left for number, left in missing.items() if left and candidates[number] is not None}


def _shuffled(count: int, seed: str) -> list[int]:
    return random.Random(seed).sample(range(count), count)


def shares(sizes: Sequence[int], count: int) -> list[int]:
    """One for each size, and the rest of `count` in proportion to what the sizes have left (largest remainders)."""
    rest, left = max(count - len(sizes), 0), sum(sizes) - len(sizes)
    exact = [(size - 1) * min(rest / max(left, 1), 1) for size in sizes]
    found = [1 + int(part) for part in exact]
    by_remainder = sorted(range(len(sizes)), key=lambda index: int(exact[index]) - exact[index])
    for index in by_remainder[: max(min(count, sum(sizes)) - sum(found), 0)]:
        found[index] += 1
    return found
