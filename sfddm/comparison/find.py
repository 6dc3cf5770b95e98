"""What a comparison needs of a student, from the name that a user gives: a run, a registered version, or a revision."""

import tempfile
from pathlib import Path

from sfddm.comparison.revision import at_revision
from sfddm.comparison.subject import Subject, fields_of
from sfddm.errors import missing
from sfddm.pipeline.paths import Paths
from sfddm.pipeline.rows import find_run, load_row, resolved
from sfddm.spec.parse import read_mapping
from sfddm.spec.read import plain_data


def find(name: str) -> Subject:
    """The student of that name: SPEC-STUDENT-sSEED, models:/NAME@ALIAS, models:/NAME/VERSION or REVISION:RUN.

    Raises:
        UserError: there is none, or it has no results; with the nearest name.
    """
    if name.startswith("models:/"):
        return _registered(name)
    if ":" in name:
        return at_revision(name)
    return _run(name)


def _run(name: str) -> Subject:
    spec, run = find_run(name)
    row, picture = load_row(spec, run), Paths(spec.name).result(run.student, run.seed) / "grid.png"
    if not picture.exists():
        raise missing(picture)
    fields = fields_of(resolved(spec, run), run.student)
    return Subject(name=name, fields=fields, metrics=row.metrics, timing=row.timing, picture=picture.read_bytes())


def _registered(uri: str) -> Subject:
    from sfddm.tracking.registry import download_results

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        student = download_results(uri, folder)
        content = plain_data((folder / "spec.yaml").read_text(encoding="utf-8"), f"{uri}, spec.yaml")
        return Subject(
            name=uri,
            fields=fields_of(content, student),
            metrics=dict(read_mapping(folder / "metrics.json")),
            timing=dict(read_mapping(folder / "timing.json")),
            picture=(folder / "grid.png").read_bytes(),
        )
