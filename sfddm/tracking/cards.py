"""Texts about runs and versions: the note on a run's page, and the model card of a version."""

from statistics import fmean
from typing import Any

from sfddm.pipeline.rows import Row, flatten
from sfddm.report.columns import COLUMNS, TERMINAL
from sfddm.report.markdown import markdown_table
from sfddm.report.summary import headline
from sfddm.report.table import Entry, Table, make_table
from sfddm.spec.experiment import Spec
from sfddm.spec.parse import unstructure
from sfddm.spec.students import Free

NOTE = "mlflow.note.content"
"""The tag that MLflow shows as a run's or an experiment's description."""
LONGEST_NOTE = 8000
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
    free = isinstance(spec.students[row.run.student].method, Free)
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
    while len("\n".join([*lines, *end])) > LONGEST_NOTE and len(lines) > 1:
        lines = [*lines[:-2], left_out] if lines[-1] == left_out else [*lines[:-1], left_out]
    return "\n".join([*lines, *end])[:LONGEST_NOTE]


LICENCES = {"digits": "CC BY 4.0 (UCI, Optical Recognition of Handwritten Digits)", "fashion-mnist": "MIT"}
"""Of the data sets that are known here."""
LISTED = 32
"""Noise levels that a card names."""
LONGEST = 5000
"""Characters that MLflow's database has room for."""
BLOCKS = {"frechet_distance": "frechet_blocks", "agreement": "agreement_blocks", "mse_to_teacher": "mse_blocks"}
"""Figures that are also taken from parts of the same noises, and the parts' figures."""
FIGURES = {
    "frechet_distance": "Frechet distance to real images",
    "agreement": "share of images in the class of the teacher's",
    "mse_to_teacher": "mean squared error to the teacher's images",
    "precision": "precision",
    "recall": "recall",
}


def model_card(spec: Spec, row: Row, siblings: list[Row], lock: dict[str, Any], run_id: str) -> str:
    """The card of one run's student, in Markdown.

    Args:
        spec: its spec.
        row: its figures.
        siblings: the rows of the same student under all of its training seeds.
        lock: what dvc.lock says of the stages, by name.
        run_id: the MLflow run that has the sample grid.
    """
    sections = [
        f"## {row.run.student}, seed {row.run.seed}, of {spec.name}",
        _summary(spec, row),
        "### Figures\n\n" + "\n".join(_figures(row, siblings)),
        f"### Samples\n\n![The first images](get-artifact?path=grid.png&run_uuid={run_id})",
        "### Made of\n\n" + "\n".join(f"- {line}" for line in _made_of(spec, row, lock)),
        "### Licence\n\n" + _licence(spec),
        "### Limits\n\n" + _limits(row),
    ]
    return "\n\n".join(sections)[:LONGEST]


def _summary(spec: Spec, row: Row) -> str:
    shape = "x".join(map(str, spec.data.shape))
    return (
        f"Draws {shape} images in {row.metrics['nfe']} network evaluations, distilled by `{row.run.method}` from a "
        f"{spec.teacher.timesteps}-step teacher of {spec.data.kind}. Content key `{row.content_key}`."
    )


def _figures(row: Row, siblings: list[Row]) -> list[str]:
    metrics, timing = row.metrics, row.timing
    rows = [[words, f"{metrics[key]:.4g}", _spread(key, row, siblings)] for key, words in FIGURES.items()]
    rows += [
        ["seconds a thousand images", f"{timing['seconds_per_1000_images']:.3g}", ""],
        ["speed-up against DDIM on all levels", f"{timing['speed_up']:.0f} x", ""],
        ["cost in forward-equivalents", f"{metrics['cost']['total']}", ""],
    ]
    return [
        *markdown_table(["figure", "value", "spread"], rows),
        "",
        f"n = {metrics['samples']} images from the noises of seed {metrics['noise_seed']}, against "
        f"{metrics['real_images']} real images in the features of {metrics['scorer']}; the teacher's own distance is "
        f"{metrics['teacher_frechet_distance']:.4g}. Times are of {timing['device']}.",
    ]


def _spread(key: str, row: Row, siblings: list[Row]) -> str:
    """Over training seeds where there are several, else over parts of the noises."""
    if len(siblings) > 1:
        seeds = [float(sibling.metrics[key]) for sibling in siblings]
        return f"{len(seeds)} training seeds: mean {fmean(seeds):.4g}, {min(seeds):.4g} to {max(seeds):.4g}"
    blocks = row.metrics.get(BLOCKS.get(key, ""))
    if not blocks:
        return ""
    few = " (of fewer images, so larger)" if key == "frechet_distance" else ""
    return f"{len(blocks)} parts of the noises: {min(blocks):.4g} to {max(blocks):.4g}{few}"


def _made_of(spec: Spec, row: Row, lock: dict[str, Any]) -> list[str]:
    teacher, student = spec.teacher, spec.students[row.run.student]
    levels = spec.levels(row.run.student)
    listed = ", ".join(map(str, levels[:LISTED])) + (", ..." if len(levels) > LISTED else "")
    data = ", ".join(f"{key} {value}" for key, value in flatten(unstructure(spec.data)).items())
    return [
        f"data: {data}; DVC hash `{_hash(lock, f'data@{spec.name}')}`",
        f"teacher: T = {teacher.timesteps}, {teacher.noise_schedule} schedule, predicts {teacher.prediction}, DVC hash "
        f"`{_hash(lock, f'teacher@{spec.name}')}`",
        f"student: index set {student.index_set.kind}, T' = {row.metrics['nfe']}, levels {listed}; DVC hash "
        f"`{_hash(lock, f'distill@{row.run.name}')}`",
        f"made again by `dvc repro evaluate@{row.run.name}`; `spec.yaml` and `lineage.yaml` lie beside the model",
    ]


def _hash(lock: dict[str, Any], stage: str) -> str:
    return str(lock[stage]["outs"][0]["md5"])


def _licence(spec: Spec) -> str:
    data = LICENCES.get(spec.data.kind, "that of its owner, whom this project doesn't know")
    return f"Code: Apache-2.0. Data: {data}. The weights were learned from the data: both bind you."


def _limits(row: Row) -> str:
    metrics = row.metrics
    return (
        f"Unconditional images of the one set that it was trained on. The distance is in the features of "
        f"{metrics['scorer']}, so it compares with others of this spec and with no published FID of another scorer; "
        f"it says nothing of bias in the data. One training seed decides the weights. "
        + " ".join(f"{note}." for note in metrics["notes"])
    )
