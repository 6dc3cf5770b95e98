"""What MLflow's pages say in words: descriptions of runs and experiments, and the model card of a version."""

from statistics import fmean
from typing import Any

from sfddm.evaluation.metrics import Figure, figures, panel, part
from sfddm.evaluation.statistics import measured, standard_error
from sfddm.pipeline.rows import Row, flatten
from sfddm.report import advice
from sfddm.report.columns import basis_of_scorer, explanations, terminal_columns
from sfddm.report.table import make_table
from sfddm.report.text import markdown_table
from sfddm.spec.experiment import Spec
from sfddm.spec.parse import unstructure

DESCRIPTION = "mlflow.note.content"
"""The tag that MLflow shows as a run's or an experiment's description."""
LONGEST_DESCRIPTION = 8000
"""Characters that a tag can have."""


def run_description(spec: Spec, row: Row) -> str:
    """What a run is, what is amiss with its metrics, and how it is made again."""
    run = row.run
    lines = [
        f"**{run.student}**, seed {run.seed} of `specs/{spec.name}.yaml`, content key `{row.content_key}`.",
        "",
        *(f"Beware: {note}." for note in row.metrics["notes"]),
        "",
        "Made again by the command below, in a commit whose `dvc.lock` has the hashes of `lineage.yaml` (artifacts). "
        "`spec.yaml` there is the part of the spec that it depends on.",
        "",
        "```",
        f"dvc repro evaluate@{run.name}",
        f"sfddm sample {run.name} --out samples.png",
        "```",
    ]
    return "\n".join(lines)


def comparison_description(spec: Spec, rows: list[Row]) -> str:
    """The table of a whole comparison, and how it is made again."""
    table = make_table(spec, rows)
    columns = terminal_columns(table)
    header = ["student", *(column.name for column in columns)]
    body = [[entry.label, *(column.text(entry) for column in columns)] for entry in table.entries]
    advised = markdown_table(advice.COLUMNS, (each.cells() for each in advice.advice(table)))
    lines = [" ".join([advice.headline(spec, table), *table.warnings]), "", *advised, "", *markdown_table(header, body)]
    end = ["", " ".join(explanations(table, columns)), "",
           f"Made again by `dvc repro track@{spec.name} report@{spec.name}`; `reports/{spec.name}.html` shows all "
           "columns, pictures and spreads."]  # fmt: skip
    return _fit(lines, end)


def _fit(lines: list[str], end: list[str]) -> str:
    """The lines and the end as one text, without the last lines where a tag has no room for all."""
    left_out = "| ... |"
    while len("\n".join([*lines, *end])) > LONGEST_DESCRIPTION and len(lines) > 1:
        lines = [*lines[:-2], left_out] if lines[-1] == left_out else [*lines[:-1], left_out]
    return "\n".join([*lines, *end])[:LONGEST_DESCRIPTION]


LICENCES = {"digits": "CC BY 4.0 (UCI, Optical Recognition of Handwritten Digits)", "fashion-mnist": "MIT"}
"""Licences of data sets; others are unknown here."""
LISTED = 32
"""Noise levels that a card names."""
LONGEST_CARD = 5000
"""Characters that MLflow's database has room for."""


def model_card(spec: Spec, row: Row, siblings: list[Row], lock: dict[str, Any], run_id: str) -> str:
    """The card of one run's student, in Markdown.

    `siblings` are the rows of the same student under all of its training seeds; `lock` is what dvc.lock says of the
    stages, by name; the MLflow run `run_id` has the grid of samples.
    """
    sections = [
        f"## {row.run.student}, seed {row.run.seed}, of {spec.name}",
        _summary(spec, row),
        "### Figures\n\n" + "\n".join(_metrics(row, siblings)),
        f"### Samples\n\n![The first images](get-artifact?path=grid.png&run_uuid={run_id})",
        "### Made of\n\n" + "\n".join(f"- {line}" for line in _made_of(spec, row, lock)),
        "### Licence\n\n" + _licence(spec),
        "### Limits\n\n" + _limits(spec, row),
    ]
    return "\n\n".join(sections)[:LONGEST_CARD]


def _summary(spec: Spec, row: Row) -> str:
    shape = "x".join(map(str, spec.data.shape))
    return (
        f"Draws {shape} images in {row.metrics['nfe']} network evaluations, distilled by `{row.run.method}` from a "
        f"{spec.teacher.timesteps}-step teacher of {advice.data_name(spec)}. Content key `{row.content_key}`."
    )


def _metrics(row: Row, siblings: list[Row]) -> list[str]:
    metrics, timing = row.metrics, row.timing
    rows = [
        [figure.titled(figure.metric.card), f"{figure.value:.4g}", _spread(figure, row, siblings)]
        for figure in figures(metrics, timing)
        if figure.metric.card
    ]
    rows += [
        ["seconds per thousand images", f"{timing['seconds_per_1000_images']:.3g}", ""],
        ["speed-up against DDIM on all levels", f"{timing['speed_up']:.0f} x", ""],
        ["cost in forward-equivalents", f"{metrics['cost']['total']}", ""],
    ]
    return [
        *markdown_table(["figure", "value", "spread"], rows),
        "",
        f"n = {metrics['samples']} images from the noises of seed {metrics['noise_seed']}. Times are of "
        f"{timing['device']}.",
        "",
        *(f"- {name}: {basis_of_scorer(metrics, name)}" for name in panel(metrics)),
    ]


def _spread(figure: Figure, row: Row, siblings: list[Row]) -> str:
    """The spread over training seeds where there are several, else the standard error."""
    if len(siblings) > 1:
        seeds = [float(part(sibling.metrics, figure.scorer)[figure.metric.key]) for sibling in siblings]
        return f"{len(seeds)} training seeds: mean {fmean(seeds):.4g}, {min(seeds):.4g} to {max(seeds):.4g}"
    found = measured(row.metrics, figure.metric.key, figure.scorer)
    return f"± {standard_error(found):.2g} (standard error)" if found else ""


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
        f"made again by `dvc repro evaluate@{row.run.name}`; `spec.yaml` and `lineage.yaml` are artifacts of the run",
    ]


def _hash(lock: dict[str, Any], stage: str) -> str:
    return str(lock[stage]["outs"][0]["md5"])


def _licence(spec: Spec) -> str:
    data = LICENCES.get(spec.data.kind, "that of its owner, whom this project doesn't know")
    imported = spec.teacher.source.kind != "train"
    teacher = " So does the licence of the teacher, which was trained elsewhere." if imported else ""
    return f"Code: Apache-2.0. Data: {data}. The weights were learned from the data: both bind you.{teacher}"


def _limits(spec: Spec, row: Row) -> str:
    metrics, classes = row.metrics, spec.teacher.classes
    kind = f"Images of {classes} classes, which it is told, of" if classes else "Unconditional images of"
    return (
        f"{kind} the one set that it was trained on. Distances compare with others of this spec, and "
        "with no published FID of another scorer; "
        "it says nothing of bias in the data. One training seed decides the weights. "
        + " ".join(f"{warning}." for warning in metrics["notes"])
    )
