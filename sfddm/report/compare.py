"""Runs and revisions side by side: what `sfddm compare` takes, and where it finds it."""

import io
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import frozen
from PIL import Image

from sfddm.errors import UserError
from sfddm.pipeline.git import git
from sfddm.pipeline.paths import Paths
from sfddm.pipeline.rows import find_run, flatten, load_row, resolved, section_of
from sfddm.runtime.files import parse_json
from sfddm.spec.parse import nearest
from sfddm.spec.read import SPECS, plain_data

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@frozen(kw_only=True)
class Subject:
    """One trained student with its results."""

    name: str
    """As the user gave it."""
    fields: dict[str, Any]
    """The fields of the spec that it depends on, by their paths; its own are under `student`."""
    metrics: dict[str, Any]
    timing: dict[str, Any]
    picture: bytes
    """Its images from the first evaluation noises, a grid as PNG."""


def fields_that_differ(subjects: list[Subject]) -> dict[str, list[Any]]:
    """Paths of the fields that are not the same in all, with every subject's value; None where it has no such field."""
    paths = dict.fromkeys(path for subject in subjects for path in subject.fields)
    values = {path: [subject.fields.get(path) for subject in subjects] for path in paths}
    return {path: of for path, of in values.items() if any(value != of[0] for value in of)}


def fields_of(content: dict[str, Any], student: str) -> dict[str, Any]:
    """The fields of a run's part of the spec, in which the student's name doesn't occur."""
    students = dict(content["students"])
    rest = {section: value for section, value in content.items() if section != "students"}
    own = {"student": students.pop(student)}
    weights = {"weights_of": next(iter(students.values()))} if students else {}
    return {**flatten(own), **flatten(weights), **flatten(rest)}


def find(name: str) -> Subject:
    """The student of that name: SPEC-STUDENT-sSEED or REVISION:SPEC-STUDENT-sSEED.

    Raises:
        UserError: there is none, or it has no results; with the nearest name.
    """
    if ":" in name:
        return _at_revision(name)
    spec, run = find_run(name)
    row, picture = load_row(spec, run), Paths(spec.name).result(run.student, run.seed) / "grid.png"
    fields = fields_of(resolved(spec, run), run.student)
    return Subject(name=name, fields=fields, metrics=row.metrics, timing=row.timing, picture=picture.read_bytes())


def _at_revision(name: str) -> Subject:
    """What git and DVC have of REVISION:RUN; REVISION is a commit, a branch, a tag, or an experiment's name.

    Its spec is not checked by today's classes, because a revision may have other fields.
    """
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException
    from scmrepo.exceptions import SCMError

    revision, _, run = name.rpartition(":")
    try:
        files = DVCFileSystem(rev=revision)
        files.ls(".")
    except (DvcException, SCMError):  # the latter where the branch has no commit yet
        names = git("for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/tags").split()
        raise UserError(f"no git revision is called {revision!r}{nearest(revision, names)}") from None
    stem, content, student, seed = _find(files, revision, run)
    folder = PurePosixPath(Paths(stem).result(student, seed))
    try:
        metrics, timing, picture = (
            files.read_bytes(str(folder / file)) for file in ("metrics.json", "timing.json", "grid.png")
        )
    except (DvcException, FileNotFoundError):
        raise UserError(
            f"{revision}:{run}: its results are not available. They need a dvc.lock that was committed with them, and "
            "their bytes in DVC's cache: `dvc pull --all-commits` fetches those from a remote."
        ) from None
    return Subject(
        name=name,
        fields=fields_of(content, student),
        metrics=parse_json(metrics),
        timing=parse_json(timing),
        picture=picture,
    )


def _find(files: Any, revision: str, run: str) -> tuple[str, dict[str, Any], str, int]:
    """The name of the spec that has the run at that revision, its part for the run, and the run's student and seed."""
    known = []
    for path in sorted(files.glob(f"{SPECS}/*.yaml")):
        stem = PurePosixPath(path).stem
        if not run.startswith(f"{stem}-"):
            known.append(f"{stem}-STUDENT-sSEED")
            continue
        try:
            content = plain_data(files.read_bytes(path).decode(), f"{revision}:{path}")
            runs = {
                f"{stem}-{student}-s{seed}": (student, seed)
                for student, described in content["students"].items()
                for seed in described["seeds"]
            }
            if run in runs:
                return stem, section_of(content, *runs[run]), *runs[run]
        except (UnicodeDecodeError, AttributeError, KeyError, TypeError) as error:
            raise UserError(f"{revision}:{path} is not a spec ({type(error).__name__}: {error}).") from None
        known += runs
    raise UserError(f"no run is called {run!r} at {revision}{nearest(run, known)}")


WIDTH = 5.0
"""Inches per subject."""


def side_by_side(subjects: list[Subject]) -> bytes:
    """A PNG with each subject's grid of images under its name; where noises are shared, so are places in the grid."""
    from sfddm.report.style import draw  # matplotlib takes a second, which a mistake in a name need not wait for

    pictures = [Image.open(io.BytesIO(subject.picture), formats=["PNG"]) for subject in subjects]
    grids = [np.asarray(picture.convert("RGBA")) for picture in pictures]
    tallest = max(grid.shape[0] / grid.shape[1] for grid in grids)

    def paint(figure: "Figure") -> None:
        for axes, subject, grid in zip(figure.subplots(1, len(grids), squeeze=False)[0], subjects, grids, strict=True):
            axes.imshow(grid, interpolation="nearest")
            axes.set_title(subject.name, loc="left", parse_math=False)
            axes.set_axis_off()

    return draw(paint, (WIDTH * len(grids), WIDTH * tallest + 0.4), "side-by-side", "png")
