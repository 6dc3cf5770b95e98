"""A registered version, checked against its own hashes before anything is made from it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import attrs
from attrs import frozen

from sfddm.errors import UserError
from sfddm.pipeline.lock import files_of, md5, md5_of_folder, outputs
from sfddm.pipeline.paths import Paths
from sfddm.pipeline.promotions import Promotion, read_history
from sfddm.runtime.files import LARGEST_JSON, digest, parse_json, read_bytes
from sfddm.spec.experiment import Spec
from sfddm.spec.parse import StructureError, structure
from sfddm.spec.read import plain_data
from sfddm.tracking.versions import Downloaded


@frozen(kw_only=True)
class Version:
    """What is stored with a version, as plain data."""

    uri: str
    student: Path
    """The folder with its network and sampler."""
    spec: dict[str, Any]
    lineage: dict[str, Any]
    metrics: dict[str, Any]
    origin: dict[str, Any]
    content_key: str

    @property
    def name(self) -> str:
        """The spec's name."""
        return str(self.spec["name"])

    @property
    def run(self) -> tuple[str, str]:
        """The run's student and seed, as command lines name them."""
        student = next(iter(self.spec["students"]))
        return student, str(self.spec["students"][student]["seeds"][0])

    @property
    def run_name(self) -> str:
        """As the pipeline names the run."""
        return f"{self.name}-{self.run[0]}-s{self.run[1]}"


def read_version(downloaded: Downloaded) -> Version:
    """A downloaded version, checked.

    Raises:
        UserError: something is missing, or differs from its hash; or it has another spec schema.
    """
    uri, folder = downloaded.uri, downloaded.provenance
    try:
        version = Version(
            uri=uri,
            student=downloaded.student,
            spec=dict(plain_data((folder / "spec.yaml").read_text(encoding="utf-8"), "spec.yaml")),
            lineage=_json(folder / "lineage.json"),
            metrics=_json(folder / "metrics.json"),
            origin=_json(folder / "origin.json"),
            content_key=downloaded.content_key,
        )
        faults = _tampered(version, folder)
    except FileNotFoundError as error:
        raise UserError(
            f"{uri} has no {Path(str(error.filename)).name}: it was registered by an older version of this project, "
            "and nothing says how it was made."
        ) from None
    except (ValueError, TypeError, KeyError, AttributeError, StopIteration, RecursionError) as error:
        raise UserError(f"{uri}: what is stored with it is damaged ({type(error).__name__}: {error}).") from None
    if faults:
        raise UserError(
            f"{uri} is not what was registered:\n  " + "\n  ".join(faults) + "\n"
            "Delete the version in MLflow; `sfddm track` makes it anew from DVC's outputs."
        )
    _check_schema(version)
    return version


def commit_of(version: Version) -> str:
    """The commit that has the version's spec and code: that of its last promotion, or of its registration.

    Raises:
        UserError: it was registered from files that were not committed, and never promoted.
    """
    events = [event for event in read_history().events if event.content_key == version.content_key]
    promoted = [event.commit for event in events if isinstance(event, Promotion)]
    commit = promoted[-1] if promoted else str(version.origin["commit"])
    if not commit:
        raise UserError(
            f"{version.uri} was registered from files that no commit had, and nobody promoted it since: there is "
            f"nothing to rebuild it from. Commit them, and promote {version.run_name}."
        )
    return commit


def _json(path: Path) -> dict[str, Any]:
    return dict(parse_json(read_bytes(path, LARGEST_JSON)))


def _tampered(version: Version, provenance: Path) -> list[str]:
    """The parts of a version whose hashes changed, each with both."""
    locked, paths = outputs(version.lineage), Paths(version.name)
    student, seed = version.run
    folder, metrics = paths.student(student, int(seed)), paths.result(student, int(seed)) / "metrics.json"
    faults = []
    if (key := digest({"spec": version.spec, "metrics": version.metrics})[:16]) != version.content_key:
        faults.append(f"spec.yaml and metrics.json have the content key {key}, the version {version.content_key}")
    if (now := md5(provenance / "metrics.json")) != locked[metrics.as_posix()]:
        faults.append(f"metrics.json is {now}, in lineage.json {locked[metrics.as_posix()]}")
    found = files_of(version.student)
    if md5_of_folder(found) != locked[folder.as_posix()]:
        faults += _changed_files(found, version.origin["student"], locked[folder.as_posix()])
    return faults


def _changed_files(found: Mapping[str, str], noted: Mapping[str, str], locked: str) -> list[str]:
    if md5_of_folder(noted) != locked:
        return [f"the student's files are {md5_of_folder(found)}, in lineage.json {locked}"]
    names = sorted(name for name in {*found, *noted} if found.get(name) != noted.get(name))
    return [f"{name} is {found.get(name, 'missing')}, was {noted.get(name, 'not there')}" for name in names]


def _check_schema(version: Version) -> None:
    """Raises: UserError: today's classes don't take the version's spec; with every field that changed."""
    known, faults = attrs.fields_dict(Spec), list[str]()
    for section, content in version.spec.items():
        if section not in known:
            faults.append(f"unknown section {section!r}")
            continue
        try:
            structure(content, cast(type, known[section].type))
        except StructureError as error:
            faults.append(f"{section}: {error}")
    if faults:
        raise UserError(
            f"{version.uri} has another spec schema (version {version.spec.get('version')}) than this checkout:\n  "
            + "\n  ".join(faults)
            + f"\n`git checkout {commit_of(version)}` has the code of its time: run the command there."
        )
