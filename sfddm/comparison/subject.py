"""What a comparison needs of a student, from the name that a user gives: a run, a registered version, or a revision."""

import tempfile
from pathlib import Path
from typing import Any

from attrs import frozen

from sfddm.comparison.revision import read_revision
from sfddm.errors import missing
from sfddm.paths import Paths
from sfddm.results import find_run, flatten, load_row, resolved
from sfddm.spec.read import plain_data
from sfddm.spec.stored import read_mapping


@frozen(kw_only=True)
class Subject:
    """One trained student with its figures."""

    name: str
    """As the user gave it."""
    fields: dict[str, Any]
    """What it depends on: the spec's fields by their paths, its own under `student`."""
    metrics: dict[str, Any]
    timing: dict[str, Any]
    picture: bytes
    """Its images from the first evaluation noises, a grid as PNG."""


def find(name: str) -> Subject:
    """The student of that name: SPEC-STUDENT-sSEED, models:/NAME@ALIAS, models:/NAME/VERSION or REVISION:RUN.

    Raises:
        UserError: there is none, or it has no results; with the nearest name.
    """
    if name.startswith("models:/"):
        return _registered(name)
    if ":" in name:
        revision, _, run = name.rpartition(":")
        found = read_revision(revision, run)
        fields = _fields(found.content, found.student)
        return Subject(name=name, fields=fields, metrics=found.metrics, timing=found.timing, picture=found.picture)
    return _run(name)


def _run(name: str) -> Subject:
    spec, run = find_run(name)
    row, picture = load_row(spec, run), Paths(spec.name).result(run.student, run.seed) / "grid.png"
    if not picture.exists():
        raise missing(picture)
    fields = _fields(resolved(spec, run), run.student)
    return Subject(name=name, fields=fields, metrics=row.metrics, timing=row.timing, picture=picture.read_bytes())


def _registered(uri: str) -> Subject:
    from sfddm.tracking.registry import download_results

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        student = download_results(uri, folder)
        content = plain_data((folder / "spec.yaml").read_text(encoding="utf-8"), f"{uri}, spec.yaml")
        return Subject(
            name=uri,
            fields=_fields(content, student),
            metrics=dict(read_mapping(folder / "metrics.json")),
            timing=dict(read_mapping(folder / "timing.json")),
            picture=(folder / "grid.png").read_bytes(),
        )


def _fields(content: dict[str, Any], student: str) -> dict[str, Any]:
    """The fields of a run's part of the spec; students of different names have theirs in common."""
    students = dict(content["students"])
    rest = {section: value for section, value in content.items() if section != "students"}
    own = {"student": students.pop(student)}
    weights = {"weights_of": next(iter(students.values()))} if students else {}
    return {**flatten(own), **flatten(weights), **flatten(rest)}
