"""The comparison as text: on a terminal, and in Markdown."""

from collections.abc import Iterable, Sequence
from textwrap import wrap

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from sfddm.report.advice import COLUMNS, advice, headline
from sfddm.report.columns import (
    Column,
    basis_of_scorer,
    columns_of,
    columns_of_scorer,
    explanations,
    explanations_of_scorers,
    legend,
    terminal_columns,
)
from sfddm.report.table import Table
from sfddm.spec.experiment import Spec

HEADING = 7
"""Characters of a heading over numbers that are in one line."""


def to_terminal(name: str, table: Table, console: Console) -> None:
    """The columns that fit, a rule between numbers of steps; long names and headings are broken, numbers never. Below
    are warnings, and a legend."""
    columns = terminal_columns(table)
    rich = RichTable(title=name, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
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
    warn(table.warnings, console)
    console.print(f'{legend(table)} More: docs/guide.md, "Reading the demo\'s table".', markup=False, highlight=False)


def warn(warnings: Sequence[str], console: Console) -> None:
    """Each from a line of its own on, apart from what follows."""
    for warning in warnings:
        console.print(warning, style="yellow", markup=False, highlight=False)
    if warnings:
        console.print()


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table."""
    return [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]


def to_markdown(spec: Spec, table: Table) -> str:
    """Advice, the table with all columns, and each scorer's, for a document or a pull request."""
    columns = columns_of(table)
    lines = [f"# {spec.name}", "", headline(spec, table), ""]
    lines += [line for warning in (*table.warnings, *table.warnings_of_times) for line in (warning, "")]
    lines += [*markdown_table(COLUMNS, (each.cells() for each in advice(table))), "", *_rows(table, columns), ""]
    lines += [" ".join(explanations(table, columns)), ""]
    for scorer in table.panel:
        lines += [f"## Scorer {scorer}", "", basis_of_scorer(table.shared, scorer), ""]
        lines += [*_rows(table, columns_of_scorer(table, scorer)), ""]
    return "\n".join([*lines, " ".join(explanations_of_scorers(table))])


def _rows(table: Table, columns: Sequence[Column]) -> list[str]:
    rows = ([entry.label, *(column.text(entry) for column in columns)] for entry in table.entries)
    return markdown_table(["student", *(column.name for column in columns)], rows)
