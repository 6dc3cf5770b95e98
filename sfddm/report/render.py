"""A table as Markdown, on the terminal, and the picture beside it."""

import numpy as np
from PIL.Image import Image
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from sfddm.data.store import read_array
from sfddm.paths import Paths
from sfddm.pictures import grid
from sfddm.report.table import COLUMNS, Table
from sfddm.spec.experiment import Spec

IMAGES = 16
"""Images a row of the picture."""


def to_markdown(spec: Spec, table: Table) -> str:
    """The page `reports/SPEC.md`."""
    rows = [row for group in table.groups for row in group]
    header = f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}"
    body = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    names = "\n".join(f"1. {name}" for name in _order(spec))
    return (
        f"# {spec.name}\n\n{header}\n{body}\n\n{table.caption}\n\n![samples]({spec.name}.png)\n\n"
        f"Images from the same {IMAGES} noises, from top to bottom:\n\n{names}\n\n"
        f"Made by `dvc repro report@{spec.name}`.\n"
    )


def to_terminal(spec: Spec, table: Table, console: Console) -> None:
    """The table, a rule between numbers of steps."""
    rich = RichTable(title=spec.name, caption=escape(table.caption), caption_justify="left", box=SIMPLE_HEAD, padding=0)
    for column in COLUMNS:
        rich.add_column(column, justify="left" if column == COLUMNS[0] else "right", no_wrap=True)
    for group in table.groups:
        for row in group:
            rich.add_row(*map(escape, row))
        rich.add_section()
    console.print(rich)


def picture(spec: Spec) -> Image:
    """One row of images a student, of its first seed, the same noise in every column."""
    paths = Paths(spec.name)
    folders = [paths.result(name, spec.students[name].seeds[0]) for name in _order(spec)]
    return grid(np.concatenate([read_array(folder / "shown.npy")[:IMAGES] for folder in folders]), IMAGES)


def _order(spec: Spec) -> list[str]:
    """The students as the table has them: many steps first."""
    return sorted(spec.students, key=lambda name: -len(spec.levels(name)))
