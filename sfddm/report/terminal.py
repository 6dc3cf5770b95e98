"""The comparison on the terminal."""

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from sfddm.report.columns import TERMINAL
from sfddm.report.table import Table


def to_terminal(name: str, table: Table, console: Console) -> None:
    """The columns that fit, a rule between numbers of steps; long names are broken, figures never."""
    caption = escape(" ".join([*table.warnings, *table.notes(TERMINAL)]))
    rich = RichTable(title=name, caption=caption, caption_justify="left", box=SIMPLE_HEAD, padding=0)
    rich.add_column("student", overflow="fold")
    for column in TERMINAL:
        rich.add_column(column.name, justify="right", no_wrap=True, overflow="fold")
    for group in table.groups:
        for entry in group:
            rich.add_row(escape(entry.label), *(escape(column.text(entry)) for column in TERMINAL))
        rich.add_section()
    console.print(rich)
