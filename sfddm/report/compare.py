"""`sfddm compare`: which fields of their specs and which metrics differ between students."""

from typing import Any

from attrs import frozen
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sfddm.evaluation.metrics import METRICS, Figure, Metric, figures, panel
from sfddm.evaluation.statistics import difference, why_not
from sfddm.pipeline.rows import find_run, flatten, load_row, resolved


@frozen(kw_only=True)
class Subject:
    """One trained student with its results."""

    name: str
    """As the user gave it."""
    fields: dict[str, Any]
    """The fields of the spec that it depends on, by their paths; its own are under `student`."""
    metrics: dict[str, Any]
    timing: dict[str, Any]


def fields_that_differ(subjects: list[Subject]) -> dict[str, list[Any]]:
    """Paths of the fields that are not the same in all, with every subject's value; None where it has no such field."""
    paths = dict.fromkeys(path for subject in subjects for path in subject.fields)
    values = {path: [subject.fields.get(path) for subject in subjects] for path in paths}
    return {path: of for path, of in values.items() if any(value != of[0] for value in of)}


def fields_of(content: dict[str, Any], student: str) -> dict[str, Any]:
    """The fields of a run's part of the spec, in which the student's name doesn't occur."""
    students = dict(content["students"])
    rest = {section: value for section, value in content.items() if section != "students"}
    own = {"student": students.pop(student)}
    weights = {"weights_of": next(iter(students.values()))} if students else {}
    return {**flatten(own), **flatten(weights), **flatten(rest)}


def find(name: str) -> Subject:
    """The student of the run SPEC-STUDENT-sSEED.

    Raises:
        UserError: there is none, or it has no results; with the nearest name.
    """
    spec, run = find_run(name)
    row, fields = load_row(spec, run), fields_of(resolved(spec, run), run.student)
    return Subject(name=name, fields=fields, metrics=row.metrics, timing=row.timing)


LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
"""What the tables call the subjects; their names may be long."""
LEGEND = (
    "Figures: {others} less A, with the 95 % interval of what was measured on common noises; ≈: the interval holds 0. "
    "Differences without an interval have no measured spread. Each subject is one trained network: of its method with "
    "other seeds this says nothing, `sfddm report` does."
)


def show(subjects: list[Subject], console: Console) -> None:
    """Print which fields and which metrics differ; the others are compared with the first subject."""
    named = list(zip(LETTERS, subjects, strict=False))
    for letter, subject in named:
        console.print(f"[bold]{letter}[/bold]  {escape(subject.name)}", highlight=False)
    console.print(_fields(subjects))
    console.print(_metrics(subjects))
    for letter, subject in named[1:]:
        common = [name for name in panel(subjects[0].metrics) if name in panel(subject.metrics)]
        of_each = (why_not(subjects[0].metrics, subject.metrics, scorer) for scorer in [None, *common])
        found = dict.fromkeys(reason for reasons in of_each for reason in reasons)
        if found:
            console.print(
                f"[bold]{letter} does not compare with A:[/bold] {escape('; '.join(found))}.", highlight=False
            )
    others = ", ".join(letter for letter, _ in named[1:])
    console.print(LEGEND.format(others=others), style="dim", highlight=False)


def _fields(subjects: list[Subject]) -> Table:
    table = _table("spec: fields that differ", "field", [*LETTERS[: len(subjects)]], "left")
    found = fields_that_differ(subjects)
    for path, values in found.items():
        table.add_row(escape(path), *("–" if value is None else escape(str(value)) for value in values))
    if not found:
        table.add_row("none", *("" for _ in subjects))
    return table


def _metrics(subjects: list[Subject]) -> Table:
    differences = [f"{letter} - A" for letter in LETTERS[1 : len(subjects)]]
    table = _table("figures", "figure", [*LETTERS[: len(subjects)], *differences], "right")
    of_each = [{figure.name: figure for figure in figures(each.metrics, each.timing)} for each in subjects]
    every = {name: figure for found in of_each for name, figure in found.items() if figure.metric.compared}
    for name, figure in sorted(every.items(), key=lambda item: METRICS.index(item[1].metric)):
        metric = figure.metric
        values = [found[name].value if name in found else None for found in of_each]
        pairs = zip(subjects[1:], values[1:], strict=True)
        compared = [_difference(figure, subjects[0], values[0], *pair) for pair in pairs]
        table.add_row(figure.titled(metric.compared), *(_text(metric, value) for value in values), *compared)
    return table


def _difference(figure: Figure, a: Subject, of_a: Any, b: Subject, of_b: Any) -> str:
    metric = figure.metric
    if of_a is None or of_b is None or (metric.conditional and why_not(a.metrics, b.metrics, figure.scorer)):
        return ""
    found = difference(b.metrics, a.metrics, metric.key, figure.scorer)
    if found is None:
        return _signed(metric, of_b - of_a)
    text = f"{_signed(metric, found.estimate)} ± {metric.exact.format(found.half_width)}"
    return f"[bold]{text}[/bold]" if found.different else f"≈ {text}"


def _signed(metric: Metric, value: float) -> str:
    return metric.exact.replace(":", ":+").format(value)


def _text(metric: Metric, value: Any) -> str:
    return "–" if value is None else metric.exact.format(value)


def _table(title: str, first: str, columns: list[str], justify: Any) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column(first, overflow="fold")
    for column in columns:
        table.add_column(column, justify=justify, overflow="fold")
    return table
