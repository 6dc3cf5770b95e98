"""What may be deleted without losing a result: the parts of the scratch folder, and their sizes."""

import shutil
from collections.abc import Collection
from pathlib import Path

from attrs import frozen

from sfddm.errors import UserError
from sfddm.runtime.files import read_json
from sfddm.runtime.locks import locked
from sfddm.runtime.machine import scratch

PARTS = {
    "trajectories": "teachers' trajectories: computed again when a student that learns from them is trained",
    "references": "teachers' images that `import sfddm` drew: drawn again by its next evaluation",
    "views": "teachers' images as scorers see them: looked at again by the next evaluation",
    "checkpoints": "trainings that were ended: they begin anew",
    "curves": "the course of trainings: that of finished ones is with their outputs too",
    "live": "what followed trainings into MLflow",
    "logs": "what `sfddm run` and jobs of SLURM said",
    "data": "images that `import sfddm` was given: copied again",
}
"""Folders in the scratch folder. Data sets and locks are there as well, and stay."""


DVC_WORKS = Path(".dvc/tmp/rwlock")
"""What paths DVC's processes read and write now; empty where none is at work."""


@frozen(kw_only=True)
class Removable:
    """One part that is there."""

    name: str
    meaning: str
    folder: Path
    size: int
    """Bytes."""


def removable(names: Collection[str] = ()) -> list[Removable]:
    """The parts that are there and not empty, or those of these names.

    Raises:
        UserError: an unknown name.
    """
    if unknown := sorted(set(names) - set(PARTS)):
        raise UserError(f"nothing here is called {unknown[0]!r}: expected {', '.join(PARTS)}.")
    found = []
    for name, meaning in PARTS.items():
        folder = scratch() / name
        if (not names or name in names) and (size := size_of(folder)):
            found.append(Removable(name=name, meaning=meaning, folder=folder, size=size))
    return found


def size_of(folder: Path) -> int:
    """Bytes of all files in a folder; 0 if it isn't there."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def remove(parts: Collection[Removable]) -> None:
    """Delete parts.

    Raises:
        UserError: a stage or a follower runs, which may need them; then nothing is deleted.
    """
    if DVC_WORKS.exists() and read_json(DVC_WORKS):
        raise UserError(f"DVC is at work here ({DVC_WORKS} names its processes): wait for it, then try again.")
    for lock in sorted(scratch().rglob("*.lock")):
        with locked(lock, wait=False):
            pass
    for part in parts:
        shutil.rmtree(part.folder)
