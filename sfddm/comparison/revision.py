"""A run's results as they were at a git revision: small files from git, outputs from DVC's cache."""

import subprocess
from pathlib import PurePosixPath
from typing import Any

from sfddm.comparison.subject import Subject, fields_of
from sfddm.errors import UserError
from sfddm.pipeline.paths import Paths
from sfddm.pipeline.rows import section_of
from sfddm.runtime.files import parse_json
from sfddm.spec.parse import nearest
from sfddm.spec.read import SPECS, plain_data


def at_revision(name: str) -> Subject:
    """What git and DVC have of REVISION:RUN; REVISION is a commit, a branch, a tag, or an experiment's name.

    Its spec is not held against today's classes: a revision may have other fields.

    Raises:
        UserError: no such revision or run, or its outputs are not there.
    """
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException
    from scmrepo.exceptions import SCMError

    revision, _, run = name.rpartition(":")
    try:
        files = DVCFileSystem(rev=revision)
        files.ls(".")
    except (DvcException, SCMError):  # the latter where the branch has no commit yet
        raise UserError(f"no git revision is called {revision!r}{nearest(revision, _references())}") from None
    stem, content, student, seed = _find(files, revision, run)
    folder = PurePosixPath(Paths(stem).result(student, seed))
    try:
        metrics, timing, picture = (
            files.read_bytes(str(folder / file)) for file in ("metrics.json", "timing.json", "grid.png")
        )
    except (DvcException, FileNotFoundError):
        raise UserError(
            f"{revision}:{run}: its results are not to be had. They need a dvc.lock that was committed with them, and "
            "their bytes in DVC's cache: `dvc pull --all-commits` fetches those from a remote."
        ) from None
    return Subject(
        name=name,
        fields=fields_of(content, student),
        metrics=_mapping(metrics, f"{revision}:{folder / 'metrics.json'}"),
        timing=_mapping(timing, f"{revision}:{folder / 'timing.json'}"),
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
            raise UserError(f"{revision}:{path} is no spec ({type(error).__name__}: {error}).") from None
        known += runs
    raise UserError(f"no run is called {run!r} at {revision}{nearest(run, known)}")


def _mapping(content: bytes, origin: str) -> dict[str, Any]:
    try:
        found = parse_json(content)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{origin} is damaged ({error}).") from None
    if not isinstance(found, dict):
        raise UserError(f"{origin} is damaged (expected a mapping).")
    return found


def _references() -> list[str]:
    """Names of branches and tags."""
    listed = subprocess.run(
        ["git", "for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/tags"],
        capture_output=True,
        text=True,
        check=False,
    )
    return listed.stdout.split()
