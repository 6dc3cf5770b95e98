"""Comparisons on a terminal."""

from textwrap import wrap
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from sfddm.evaluation.metrics import METRICS, Figure, Metric, figures, panel
from sfddm.evaluation.statistics import difference, why_not
from sfddm.report.columns import basis_of_scorer, explanations, terminal_columns
from sfddm.report.compare import Subject, fields_that_differ
from sfddm.report.table import Table

HEADING = 7
"""Characters of a heading over numbers that are in one line."""


def to_terminal(name: str, table: Table, console: Console) -> None:
    """The columns that fit, a rule between numbers of steps; long names and headings are broken, numbers never."""
    columns = terminal_columns(table)
    bases = (f"{scorer}: {basis_of_scorer(table.shared, scorer)}" for scorer in table.panel)
    caption = escape(" ".join([*table.warnings, *explanations(table, columns), *bases]))
    rich = RichTable(title=name, caption=caption, caption_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    rich.add_column("student", overflow="fold")
    for column in columns:
        if column.words:
            rich.add_column(column.name, justify="left", overflow="fold")
            continue
        width = max(HEADING, *(len(column.text(entry)) for entry in table.entries))
        rich.add_column("\n".join(wrap(column.name, width)), justify="right", no_wrap=True, overflow="fold")
    for group in table.groups:
        for entry in group:
            rich.add_row(escape(entry.label), *(escape(column.text(entry)) for column in columns))
        rich.add_section()
    console.print(rich)


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


def _fields(subjects: list[Subject]) -> RichTable:
    table = _table("spec: fields that differ", "field", [*LETTERS[: len(subjects)]], "left")
    found = fields_that_differ(subjects)
    for path, values in found.items():
        table.add_row(escape(path), *("–" if value is None else escape(str(value)) for value in values))
    if not found:
        table.add_row("none", *("" for _ in subjects))
    return table


def _metrics(subjects: list[Subject]) -> RichTable:
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
    found = difference(a.metrics, b.metrics, metric.key, figure.scorer)
    if found is None:
        return _signed(metric, of_b - of_a)
    text = f"{_signed(metric, found.estimate)} ± {metric.exact.format(found.half_width)}"
    return f"[bold]{text}[/bold]" if found.different else f"≈ {text}"


def _signed(metric: Metric, value: float) -> str:
    return metric.exact.replace(":", ":+").format(value)


def _text(metric: Metric, value: Any) -> str:
    return "–" if value is None else metric.exact.format(value)


def _table(title: str, first: str, columns: list[str], justify: Any) -> RichTable:
    table = RichTable(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column(first, overflow="fold")
    for column in columns:
        table.add_column(column, justify=justify, overflow="fold")
    return table
