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
from sfddm.report.cost import cost_lines
from sfddm.report.table import COLUMNS, Table
from sfddm.spec.experiment import Spec

IMAGES = 16
"""Images a row of the picture."""
FIGURE = (
    "Students named NAME-tN are one line, NAME, with a band from the lowest to the highest training seed; dotted: free "
    "samplers of the teacher; dashed: the teacher's own distance. Both axes are logarithmic."
)
"""What the figure's reader has to know."""
PAGE_ONLY = ("pixel", "agrees", "s/1000", "speed-up")
"""Columns that the page has and the terminal, of 80 columns, has not."""
TERMINAL = tuple(column for column in COLUMNS if column not in PAGE_ONLY)


def to_markdown(spec: Spec, table: Table) -> str:
    """The page `reports/SPEC.md`."""
    rows = [row for group in table.groups for row in group]
    header = f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}"
    body = "\n".join(f"| {' | '.join(row[column] for column in COLUMNS)} |" for row in rows)
    costs = cost_lines(spec)
    cost = "\n".join(["## Cost", "", *costs, "", ""]) if costs else ""
    names = "\n".join(f"1. {name}" for name in _order(spec))
    return (
        f"# {spec.name}\n\n{header}\n{body}\n\n{table.caption(COLUMNS)}\n\n"
        f"![distance against number of steps]({spec.name}-distance.svg)\n\n{FIGURE}\n\n{cost}"
        f"## Images\n\n![samples]({spec.name}.png)\n\n"
        f"From the same {IMAGES} noises, from top to bottom:\n\n{names}\n\n"
        f"Made by `dvc repro report@{spec.name}`.\n"
    )


def to_terminal(spec: Spec, table: Table, console: Console) -> None:
    """The table without `PAGE_ONLY`, a rule between numbers of steps; long names are broken, figures never."""
    caption = escape(table.caption(TERMINAL))
    rich = RichTable(title=spec.name, caption=caption, caption_justify="left", box=SIMPLE_HEAD, padding=0)
    for column in TERMINAL:
        name = column == "student"
        rich.add_column(column, justify="left" if name else "right", no_wrap=not name, overflow="fold")
    for group in table.groups:
        for row in group:
            rich.add_row(*(escape(row[column]) for column in TERMINAL))
        rich.add_section()
    console.print(rich)


def picture(spec: Spec) -> Image:
    """One row of images a student, of its first seed, the same noise in every column."""
    paths = Paths(spec.name)
    folders = [paths.result(name, spec.students[name].seeds[0]) for name in _order(spec)]
    shown = [read_array(folder / "shown.npy", np.dtype(np.uint8), 4)[:IMAGES] for folder in folders]
    return grid(np.concatenate(shown), IMAGES)


def _order(spec: Spec) -> list[str]:
    """The students as the table has them: many steps first."""
    return sorted(spec.students, key=lambda name: -len(spec.levels(name)))
