"""What people read beside a run, an experiment and a version: tables and the commands that make them again."""

from sfddm.pipeline.rows import Row
from sfddm.report.cells import markdown_table
from sfddm.report.columns import COLUMNS, TERMINAL
from sfddm.report.entries import Entry
from sfddm.report.summary import headline
from sfddm.report.table import Table, make_table
from sfddm.spec.experiment import Spec
from sfddm.spec.students import FREE

NOTE = "mlflow.note.content"
"""The tag that MLflow shows as a run's or an experiment's description."""
LONGEST = 8000
"""Characters of a tag."""
COMPARED = "vs best"
"""The one column that needs other rows."""


def run_note(spec: Spec, row: Row) -> str:
    """A run's figures, and how it is made again."""
    run = row.run
    lines = [
        f"**{run.student}**, seed {run.seed} of `specs/{spec.name}.yaml`, content key `{row.content_key}`.",
        "",
        *figures(spec, row),
        "",
        "Made again by the command below, in a commit whose `dvc.lock` has the hashes of `lineage.yaml` (artifacts). "
        "`spec.yaml` there is the part of the spec that it depends on.",
        "",
        "```",
        f"dvc repro evaluate@{run.name}",
        f"sfddm sample {run.name} --out samples.png",
        "```",
    ]
    return _fit(lines)


def comparison_note(spec: Spec, rows: list[Row]) -> str:
    """The table of a whole comparison, and how it is made again."""
    table = make_table(spec, rows)
    header = ["student", *(column.name for column in TERMINAL)]
    body = [[entry.label, *(column.text(entry) for column in TERMINAL)] for entry in table.entries]
    lines = [headline(spec, table), "", *markdown_table(header, body)]
    end = ["", " ".join([*table.warnings, *table.notes(TERMINAL)]), "",
           f"Made again by `dvc repro track@{spec.name} report@{spec.name}`; `reports/{spec.name}.html` shows all "
           "columns, pictures and spreads."]  # fmt: skip
    return _fit(lines, end)


def figures(spec: Spec, row: Row) -> list[str]:
    """The lines of a table with a row a figure, and what the figures mean."""
    free = isinstance(spec.students[row.run.student].method, FREE)
    entry = Entry(student=row.run.student, rows=[row], above_best=None, best=False, free=free)
    columns = tuple(column for column in COLUMNS if column.name != COMPARED)
    table: Table = make_table(spec, [row])
    return [
        *markdown_table(["figure", "value"], [[column.name, column.text(entry)] for column in columns]),
        "",
        " ".join([*table.warnings, *table.notes(columns)]),
    ]


def _fit(lines: list[str], end: list[str] | None = None) -> str:
    """The lines and the end as one text; of lines that a tag has no room for the last are left out."""
    end, left_out = end or [], "| ... |"
    while len("\n".join([*lines, *end])) > LONGEST and len(lines) > 1:
        lines = [*lines[:-2], left_out] if lines[-1] == left_out else [*lines[:-1], left_out]
    return "\n".join([*lines, *end])[:LONGEST]
