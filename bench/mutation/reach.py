"""Which tests run the statement that a mutant changes."""

import ast
from collections.abc import Mapping, Sequence
from typing import Any

from bench.mutation.mutants import Mutant

BUDGET = 60.0
"""Seconds of processor time that the tests of one mutant may take together; the quickest come first."""


class Reach:
    """The tests that passed, what they took, and the lines they ran."""

    def __init__(self, recordings: Sequence[Mapping[str, Any]]) -> None:
        self.seconds: dict[str, float] = {}
        self.left_out: dict[str, str] = {}
        self._lines: dict[str, dict[int, set[str]]] = {}
        for recording in recordings:
            self.seconds |= recording["seconds"]
            self.left_out |= recording["failed"]
            for path, lines in recording["lines"].items():
                known = self._lines.setdefault(path, {})
                for line, tests in lines.items():
                    known.setdefault(int(line), set()).update(tests)

    def tests(self, mutant: Mutant, text: str) -> list[str]:
        """Those that run what a mutant of a module with this text changes, the quickest first.

        What runs when the module is imported, such as a constant, can matter to all that run any of its lines, and in
        a module of which nothing runs later to all tests.
        """
        lines = self._lines.get(mutant.path, {})
        statement = statement_at(text, mutant.line)
        found = set().union(*(lines.get(line, set()) for line in statement)) if statement else {""}
        if "" in found:
            found = set().union(*lines.values()) - {""} or set(self.seconds)
        return sorted(found, key=lambda name: (self.seconds[name], name))

    def affordable(self, tests: Sequence[str]) -> list[tuple[str, float]]:
        """As many of them as fit the budget, file by file, the quickest first."""
        kept: dict[str, list[tuple[str, float]]] = {}
        left = BUDGET
        for name in tests:
            left -= self.seconds[name]
            if left < 0 and kept:
                break
            kept.setdefault(name.partition("::")[0], []).append((name, self.seconds[name]))
        files = sorted(kept.values(), key=lambda found: sum(seconds for _, seconds in found))
        return [test for found in files for test in found]


def statement_at(text: str, line: int) -> range | None:
    """The lines of the statement at a line, of one with a body those of its head; None outside of functions.

    The head of a function has the lines of its body: its defaults matter to those who call it.
    """
    around = [
        node
        for node in ast.walk(ast.parse(text))  # outer nodes first
        if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or 0)
    ]
    if not any(isinstance(node, ast.FunctionDef) for node in around):
        return None
    found = around[-1]
    first, last = found.lineno, found.end_lineno or line
    if isinstance(found, ast.FunctionDef):
        first = found.body[0].lineno
    elif isinstance(found, ast.Match):
        last = first
    elif isinstance(found, ast.For | ast.While | ast.If | ast.With | ast.Try):
        last = max(first, found.body[0].lineno - 1)
    return range(first, last + 1)
