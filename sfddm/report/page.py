"""The report as one self-contained page, `reports/SPEC.html`: no other file, no request, dark and light."""

import io
from base64 import b64encode
from itertools import groupby
from pathlib import Path
from typing import Any

from attrs import frozen
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from ruamel.yaml import YAML

from sfddm.report import summary as cost
from sfddm.report.columns import COLUMNS, explanations
from sfddm.report.contents import Contents
from sfddm.report.gallery import Strip, strip
from sfddm.report.style import inline
from sfddm.report.summary import headline
from sfddm.report.table import Entry, best_trained
from sfddm.spec.parse import unstructure

HERE = Path(__file__).parent
SHOWN = 5
"""Images next to the best student of every number of steps."""


@frozen(kw_only=True)
class Best:
    """The best student of one number of steps, and what it has to beat."""

    steps: int
    entry: Entry
    ratio: float
    """Its distance over the teacher's."""
    free: Entry | None
    """The best free sampler of as many steps."""
    equals: list[str]
    """Students whose distance does not differ from its own by more than noise."""
    strip: Strip


def to_html(contents: Contents) -> str:
    """The whole page; whatever comes from a spec or a result is escaped."""
    spec, table = contents.spec, contents.table
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
        columns=COLUMNS,
        column_groups=[(name, len(list(members))) for name, members in groupby(COLUMNS, lambda column: column.group)],
        explanations=explanations(table, COLUMNS),
        sections={name: _yaml(section) for name, section in unstructure(spec)["students"].items()},
        charts=contents.charts,
        galleries=contents.galleries,
        cost=cost,
        cost_rows=cost.cost_rows(spec, table.entries),
        resampled=cost.resampled(spec),
        style=(HERE / "page.css").read_text(encoding="utf-8"),
        script=(HERE / "page.js").read_text(encoding="utf-8"),
    )


def _best(contents: Contents) -> list[Best]:
    """The best student of every number of steps that something was trained for, few first."""
    found = []
    for group in reversed(contents.table.groups):
        trained, entry = best_trained(group), group[0]
        if trained is None:
            continue
        free = next((other for other in group if other.free), None)
        steps, teacher = entry.rows[0].metrics["nfe"], entry.rows[0].metrics["teacher_frechet_distance"]
        shown = strip(contents.spec, entry, SHOWN, f"best-{steps}", entry.student)
        ratio = entry.distance / teacher
        equals = [other.student for other in group if other.above_best and not other.above_best.different]
        found.append(Best(steps=steps, entry=entry, ratio=ratio, free=free, equals=equals, strip=shown))
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
        ("Its own distance", f"{shared['teacher_frechet_distance']:.3f}"),
        ("Scorer", f"{shared['scorer']}, version {shared['scorer_version']}"),
        ("Real images", f"{shared['real_images']} ({shared['real']})"),
        ("Floor", f"{shared['real_distance']:.3f}, real against real, n = {shared['real_distance_samples']}"),
        ("Images a row", f"{shared['samples']}, noises of seed {shared['noise_seed']}"),
        ("Reference", shared["reference"]),
    ]


def _yaml(section: Any) -> str:
    """A section of the spec as it is written."""
    yaml, buffer = YAML(), io.StringIO()
    yaml.default_flow_style = None
    yaml.width = 100
    yaml.dump(section, buffer)
    return buffer.getvalue()


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{b64encode(png).decode()}"
