"""A run's results as they were at a git revision: small files from git, outputs from DVC's cache."""

import json
import subprocess
from pathlib import PurePosixPath
from typing import Any

from attrs import frozen
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from sfddm.errors import UserError
from sfddm.paths import Paths
from sfddm.results import section_of
from sfddm.spec.read import SPECS
from sfddm.spec.structure import nearest


@frozen(kw_only=True)
class AtRevision:
    """A run at a revision."""

    student: str
    content: dict[str, Any]
    """What it depends on, in plain data. It is not held against today's classes: a revision may have other fields."""
    metrics: dict[str, Any]
    timing: dict[str, Any]
    picture: bytes


def read_revision(revision: str, run: str) -> AtRevision:
    """What git and DVC have of a run at a revision: a commit, a branch, a tag, or an experiment's name.

    Raises:
        UserError: no such revision or run, or its outputs are not there.
    """
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException

    try:
        files = DVCFileSystem(rev=revision)
        files.ls(".")
    except DvcException:
        raise UserError(f"no git revision is called {revision!r}{nearest(revision, _references())}") from None
    content, student, seed = _find(files, revision, run)
    folder = PurePosixPath(Paths(content["name"]).result(student, seed))
    try:
        metrics, timing, picture = (
            files.read_bytes(str(folder / name)) for name in ("metrics.json", "timing.json", "grid.png")
        )
    except (DvcException, FileNotFoundError):
        raise UserError(
            f"{revision}:{run}: its results are not to be had. They need a dvc.lock that was committed with them, and "
            "their bytes in DVC's cache: `dvc pull --all-commits` fetches those from a remote."
        ) from None
    return AtRevision(
        student=student,
        content=section_of(content, student, seed),
        metrics=json.loads(metrics),
        timing=json.loads(timing),
        picture=picture,
    )


def _find(files: Any, revision: str, run: str) -> tuple[dict[str, Any], str, int]:
    """The spec that has the run at that revision, in plain data, with the run's student and seed."""
    known = []
    for path in sorted(files.glob(f"{SPECS}/*.yaml")):
        stem = PurePosixPath(path).stem
        if not run.startswith(f"{stem}-"):
            known.append(f"{stem}-STUDENT-sSEED")
            continue
        try:
            content = YAML(typ="safe", pure=True).load(files.read_bytes(path).decode())
            runs = {
                f"{stem}-{student}-s{seed}": (student, seed)
                for student, described in content["students"].items()
                for seed in described["seeds"]
            }
        except (YAMLError, UnicodeDecodeError, AttributeError, KeyError, TypeError) as error:
            raise UserError(f"{revision}:{path} is no spec: {str(error).splitlines()[0]}") from None
        if run in runs:
            return content, *runs[run]
        known += runs
    raise UserError(f"no run is called {run!r} at {revision}{nearest(run, known)}")


def _references() -> list[str]:
    """Names of branches and tags."""
    listed = subprocess.run(
        ["git", "for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/tags"],
        capture_output=True,
        text=True,
        check=False,
    )
    return listed.stdout.split()
