"""The report as one self-contained page, `reports/SPEC.html`: no other file, no request, dark and light."""

from base64 import b64encode
from itertools import groupby
from pathlib import Path

from attrs import frozen
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from sfddm.evaluation.metrics import part
from sfddm.report import summary as cost
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
from sfddm.report.summary import headline
from sfddm.report.table import Entry, best_trained, first_of
from sfddm.runtime.files import to_yaml
from sfddm.spec.parse import unstructure

HERE = Path(__file__).parent
SHOWN = 5
"""Images next to the best student of every number of steps."""


@frozen(kw_only=True)
class Best:
    """The best student of one number of steps, and what it has to beat."""

    entry: Entry
    free: Entry | None
    """The best free sampler of as many steps."""
    equals: list[str]
    """Rows that not all scorers tell apart from it."""
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
        best=_best(contents),
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
        cost=cost,
        cost_rows=cost.cost_rows(spec, table.entries),
        resampled=cost.resampled(spec),
        style=(HERE / "page.css").read_text(encoding="utf-8"),
        script=(HERE / "page.js").read_text(encoding="utf-8"),
    )


def _best(contents: Contents) -> list[Best]:
    """The first row of every number of steps that something was trained for, few first."""
    found = []
    for group in reversed(contents.table.groups):
        if best_trained(group) is None:
            continue
        entry = first_of(group)
        free = next((other for other in group if other.free), None)
        shown = strip(contents.spec, entry, SHOWN, f"best-{entry.steps}", entry.student)
        equals = [other.student for other in group if other.verdict == "open" and not other.over_budget]
        found.append(Best(entry=entry, free=free, equals=equals, strip=shown))
    return found


def _facts(contents: Contents) -> list[tuple[str, str]]:
    """What every number of the page depends on."""
    spec, shared = contents.spec, contents.table.shared
    teacher = spec.teacher
    return [
        ("Data", spec.data.kind),
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
