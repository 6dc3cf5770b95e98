"""What dvc.lock says of the stages that a run rests on, and whether the files here are still those.

DVC's own check of a run reads every stage of dvc.yaml; this reads the few that count, and needs no DVC.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from sfddm.errors import UserError
from sfddm.pipeline.params import CODE as CODE_YAML
from sfddm.pipeline.params import at, code
from sfddm.runtime.files import digest_file
from sfddm.spec.experiment import Run, Spec
from sfddm.spec.read import plain_data

LOCK = Path("dvc.lock")
REQUIREMENTS = Path("requirements.lock")
CODE = ("sfddm", "stages", "dvc.yaml", "params.yaml", "code.yaml", str(REQUIREMENTS))
"""What decides, beside its spec, how a run is made; DVC writes dvc.lock after that."""
Lineage = Mapping[str, Mapping[str, Any]]
"""The entries of dvc.lock by the stages' names, in the order in which they run."""


def stages_of(spec: Spec, run: Run) -> list[str]:
    """The names of the stages that the run rests on, in the order in which they run."""
    scorers = [f"scorer@{spec.name}-{name}" for name in spec.evaluation.scorers]
    shared = [f"data@{spec.name}", *scorers, f"teacher@{spec.name}", f"reference@{spec.name}"]
    parent = spec.parent(run)
    made_from = [f"distill@{spec.name}-{parent}"] if parent else []
    return [*shared, *made_from, f"distill@{run.name}", f"evaluate@{run.name}"]


def lineage(spec: Spec, run: Run) -> dict[str, Any]:
    """What dvc.lock says of the stages that the run rests on.

    Raises:
        UserError: it is damaged, or has no entry for one of them.
    """
    stages = known(spec, run)
    if missing := [name for name in stages_of(spec, run) if name not in stages]:
        raise UserError(f"{LOCK} has no entry for {', '.join(missing)}: run `dvc repro`, or `dvc commit` for outputs "
                        "that were made elsewhere.")  # fmt: skip
    return stages


def known(spec: Spec, run: Run) -> dict[str, Any]:
    """The same of those of the stages that have an entry.

    Raises:
        UserError: dvc.lock is damaged.
    """
    stages = _stages(LOCK.resolve(), LOCK.stat().st_mtime_ns) if LOCK.exists() else {}
    return {name: stages[name] for name in stages_of(spec, run) if name in stages}


def outputs(entries: Lineage) -> dict[str, str]:
    """The MD5 of every output by its path, as DVC has it."""
    return {out["path"]: out["md5"] for entry in entries.values() for out in entry.get("outs", [])}


def other_code(entries: Lineage) -> list[str]:
    """The sections of code.yaml, each a stage's or a kind's, in which the code of this folder is not the stages'."""
    sections = (entry.get("params", {}).get(str(CODE_YAML), {}) for entry in entries.values())
    locked = {name: hash_ for section in sections for name, hash_ in section.items()}
    return sorted(name for name, hash_ in locked.items() if code(name) != hash_)


def md5(path: Path) -> str:
    """DVC's hash of a file or a folder: of a folder that of the list of its files; empty where there is nothing."""
    if path.is_dir():
        return md5_of_folder(files_of(path))
    return digest_file(path, "md5") if path.is_file() else ""


def md5_of_folder(files: Mapping[str, str]) -> str:
    """DVC's hash of a folder with these files, each with its MD5."""
    listed = [{"md5": hash_, "relpath": name} for name, hash_ in sorted(files.items())]
    return f"{hashlib.md5(json.dumps(listed, sort_keys=True).encode(), usedforsecurity=False).hexdigest()}.dir"


def files_of(folder: Path) -> dict[str, str]:
    """The MD5 of every file in a folder by its path there; what a killed writer left is no part of it."""
    files = [path for path in folder.rglob("*") if path.is_file() and not fnmatch(path.name, ".*.partial")]
    return {path.relative_to(folder).as_posix(): digest_file(path, "md5") for path in files}


def changes(entries: Lineage, digest: Callable[[Path], str] = md5) -> list[str]:
    """What is here no longer as dvc.lock has it: sections of specs, code, and outputs, these with both hashes.

    `digest` takes a path's MD5; for many runs it may be one that remembers what they share.
    """
    found = ((path, locked, digest(Path(path))) for path, locked in outputs(entries).items())
    return [
        *changed_inputs(entries),
        *(f"{path} is {now or 'missing'}, in dvc.lock {locked}" for path, locked, now in found if now != locked),
    ]


def changed_inputs(entries: Lineage) -> list[str]:
    """What is here no longer as dvc.lock has it, outputs aside, which take time to hash."""
    return [
        *_changed_params(entries),
        *(f"the code of {name} is not what it was run with" for name in other_code(entries)),
    ]


def _changed_params(entries: Lineage) -> Iterator[str]:
    files = {file for entry in entries.values() for file in entry.get("params", {})} - {str(CODE_YAML)}
    present = {file: plain_data(Path(file).read_text(encoding="utf-8"), file) for file in files if Path(file).exists()}
    for name, entry in entries.items():
        for file in files & set(entry.get("params", {})):
            for section, locked in entry["params"][file].items():
                if at(present.get(file), section) != locked:
                    yield f"{file}: {section} is not what {name} was run with"


@cache
def _stages(path: Path, _: int) -> dict[str, dict[str, Any]]:
    """The stages of a dvc.lock as it was changed last."""
    try:
        stages = dict(YAML(typ="safe", pure=True).load(path)["stages"])
        outputs(stages)  # every path has its hash
    except (YAMLError, ValueError, TypeError, KeyError, AttributeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{LOCK} is damaged ({reason}): `git checkout {LOCK}`, or delete it and `dvc repro`.") from None
    return stages
