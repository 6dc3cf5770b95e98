"""The report as one self-contained page, `reports/SPEC.html`: no other file, no request, dark and light."""

from base64 import b64encode
from itertools import groupby
from pathlib import Path

from attrs import frozen
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from sfddm.evaluation.metrics import part
from sfddm.report.advice import Advice, advice, compared, data_name, headline
from sfddm.report.columns import (
    basis_of_scorer,
    columns_of,
    columns_of_scorer,
    explanations,
    explanations_of_scorers,
)
from sfddm.report.contents import Contents
from sfddm.report.gallery import Strip, strip
from sfddm.report.style import inline
from sfddm.report.table import Entry
from sfddm.runtime.files import to_yaml
from sfddm.spec.experiment import Spec
from sfddm.spec.parse import unstructure
from sfddm.spec.students import Resampled, Trained
from sfddm.spec.training import KEPT

HERE = Path(__file__).parent
SHOWN = 5
"""Images next to the best student of every number of steps."""


@frozen(kw_only=True)
class Shown:
    """What to use at one number of steps, with images, and the best free sampler of as many."""

    advice: Advice
    free: Entry | None
    strip: Strip


def to_html(contents: Contents) -> str:
    """The whole page; whatever comes from a spec or a result is escaped."""
    spec, table = contents.spec, contents.table
    columns = columns_of(table)
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(data_uri=_data_uri, inline=inline)
    return environment.get_template("page.html").render(
        spec=spec,
        headline=headline(spec, table),
        advised=_advised(contents),
        compared=compared,
        facts=_facts(contents),
        table=table,
        columns=columns,
        column_groups=[(name, len(list(members))) for name, members in groupby(columns, lambda column: column.group)],
        explanations=explanations(table, columns),
        scorers=[(name, basis_of_scorer(table.shared, name), columns_of_scorer(table, name)) for name in table.panel],
        explanations_of_scorers=explanations_of_scorers(table),
        sections={name: to_yaml(section, width=100) for name, section in unstructure(spec)["students"].items()},
        charts=contents.charts,
        galleries=contents.galleries,
        cost_columns=COST_COLUMNS,
        cost_rows=cost_rows(spec, table.entries),
        cost_meaning=f"{COST_MEANING} {resampled(spec)}",
        style=(HERE / "page.css").read_text(encoding="utf-8"),
        script=(HERE / "page.js").read_text(encoding="utf-8"),
    )


def _advised(contents: Contents) -> list[Shown]:
    found = []
    for group, each in zip(reversed(contents.table.groups), advice(contents.table), strict=True):
        free = next((other for other in group if other.free), None)
        images = strip(contents.spec, each.use, SHOWN, each.use.student)
        found.append(Shown(advice=each, free=free, strip=images))
    return found


def _facts(contents: Contents) -> list[tuple[str, str]]:
    """What every number of the page depends on."""
    spec, shared = contents.spec, contents.table.shared
    teacher = spec.teacher
    return [
        ("Data", data_name(spec)),
        (
            "Teacher",
            f"{teacher.timesteps} levels, {teacher.noise_schedule} schedule, predicts {teacher.prediction}",
        ),
        ("Scorers", ", ".join(f"{name} ({part(shared, name)['scorer']})" for name in contents.table.panel)),
        ("Images per row", f"{shared['samples']}, noises of seed {shared['noise_seed']}"),
        ("Reference", shared["reference"]),
    ]


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{b64encode(png).decode()}"


COST_COLUMNS = ("student", "search", "cache", "training", "total", "folds", "seconds", "peak MB", "device")
COST_MEANING = (
    "search (for the index set), cache, training, total: forward-equivalents. folds: trainings one after another, of "
    "equal cost. seconds: from the stored teacher to the stored student on this machine, whatever else it did "
    "meanwhile; trajectories that an earlier training left in the cache take no time again, though their "
    "forward-equivalents count. peak MB: largest memory of the process, or on a GPU of its tensors. Both are the "
    "highest of a student's seeds."
)


def cost_rows(spec: Spec, entries: list[Entry]) -> list[list[str]]:
    """The cells of each trained student."""
    return [_cost_cells(entry) for entry in entries if isinstance(spec.students[entry.student].method, Trained)]


def resampled(spec: Spec) -> str:
    """A sentence on the students that come from another one's training; empty if there are none."""
    pairs = [(name, student.method) for name, student in spec.students.items()]
    free = [f"{name} (of {_source(method)})" for name, method in pairs if isinstance(method, Resampled)]
    return f"From trainings in this table, at no further cost: {', '.join(free)}." if free else ""


def _source(method: Resampled) -> str:
    return method.student if method.average == KEPT else f"{method.student}, its average {method.average}"


def _cost_cells(entry: Entry) -> list[str]:
    cost = entry.rows[0].metrics["cost"]
    return [
        entry.label,
        *(f"{cost[part] / 1000:.0f} k" for part in ("search", "cache", "training", "total")),
        str(cost["folds"]),
        f"{max(row.training['seconds'] for row in entry.rows):.0f}",
        f"{max(row.training['peak_memory_mb'] for row in entry.rows):.0f}",
        ", ".join(sorted({row.training["device"] for row in entry.rows})),
    ]
