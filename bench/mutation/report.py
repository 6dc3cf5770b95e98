"""What a run of the bench found, as Markdown."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import unified_diff
from pathlib import PurePosixPath

from attrs import frozen

from bench.mutation.mutants import Mutant

NOTICED = ("killed", "timeout")


@frozen
class Verdict:
    """What became of a mutant."""

    mutant: Mutant
    ended: str
    """`killed`, `timeout`, `survived`, or `uncovered` where no test runs the line."""
    ran: int
    """How many tests it was given, of `reaching` that run what it changes."""
    reaching: int
    by: str
    """The test that failed."""
    took: float

    @property
    def noticed(self) -> bool:
        return self.ended in NOTICED


def markdown(verdicts: Sequence[Verdict], texts: Mapping[str, str], head: str) -> str:
    """Scores by folder and by kind of change, then every mutant that nobody noticed."""
    parts = [
        head,
        table("folder", verdicts, lambda verdict: str(PurePosixPath(verdict.mutant.path).parent)),
        table("change", verdicts, lambda verdict: verdict.mutant.operator.replace("_", " ")),
        "## Survivors",
        *(survivor(verdict, texts[verdict.mutant.path]) for verdict in verdicts if not verdict.noticed),
    ]
    return "\n\n".join(parts) + "\n"


def table(title: str, verdicts: Sequence[Verdict], group: Callable[[Verdict], str]) -> str:
    """Counts and the score of each group, and of all together."""
    groups: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        groups.setdefault(group(verdict), []).append(verdict)
    rows = [*sorted(groups.items()), ("all", list(verdicts))]
    lines = [f"| {title} | mutants | failed a test | ran too long | survived | not covered | score |"]
    lines.append("|---" * 7 + "|")
    lines += [_row(name, found) for name, found in rows]
    return "\n".join(lines)


def _row(name: str, verdicts: Sequence[Verdict]) -> str:
    counts = [_count(verdicts, ended) for ended in ("killed", "timeout", "survived", "uncovered")]
    cells = [name, str(len(verdicts)), *map(str, counts), f"{score(verdicts):.0%}"]
    return f"| {' | '.join(cells)} |"


def _count(verdicts: Iterable[Verdict], ended: str) -> int:
    return sum(verdict.ended == ended for verdict in verdicts)


def score(verdicts: Sequence[Verdict]) -> float:
    """The share that was noticed."""
    return sum(verdict.noticed for verdict in verdicts) / max(len(verdicts), 1)


def survivor(verdict: Verdict, text: str) -> str:
    """Where a mutant is, how many tests it went through, and what it changes."""
    mutant = verdict.mutant
    tests = f"{verdict.ran} of {verdict.reaching} tests" if verdict.ran < verdict.reaching else f"{verdict.ran} tests"
    state = f"survived {tests}" if verdict.ran else "run by no test"
    lines = unified_diff(text.splitlines(), mutant.source.splitlines(), n=1, lineterm="")
    shown = "\n".join(line for line in lines if not line.startswith(("---", "+++", "@@")))
    return f"### {mutant.path}:{mutant.line}\n\n{state}\n\n```diff\n{shown}\n```"
