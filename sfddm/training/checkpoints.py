"""Checkpoints: a training that was killed goes on from the last one, and ends with the same bytes.

They lie in NAME/KEY/ITERATION of a folder that git and DVC ignore. KEY is a hash of all that decides the training, so
that what a changed spec, parent, data set, code or kind of machine would train otherwise never goes on from what was
trained before the change. No generator has a state to keep: every draw depends on a seed and the iteration alone
(`sfddm.randomness`). Of several processes the first writes, while the others wait; all of them read.
"""

import os
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

from sfddm.errors import UserError
from sfddm.runtime.files import atomic_folder, digest, read_json, write_json
from sfddm.runtime.machine import machine
from sfddm.runtime.processes import all_reduce_max, barrier, is_main, world_size

if TYPE_CHECKING:
    from torch import Tensor

SECONDS = "SFDDM_CHECKPOINT_SECONDS"
"""Time between checkpoints; 0 writes one after every iteration, whatever that costs."""
DEFAULT_SECONDS = 60.0
SHARE = 0.02
"""The largest share of a training's time that checkpoints take."""
KEPT = 2
"""Checkpoints within a training: the last one, and the one before in case that is damaged."""
STATE, PROGRESS = "state.safetensors", "progress.json"


@frozen
class Checkpoint:
    """A training as it was after `step` iterations, those of earlier folds included."""

    step: int
    tensors: "dict[str, Tensor]"
    curve: str
    """The points until then, as the curve's file has them."""


class Checkpoints:
    """The checkpoints of one stage. One that trains in several folds keeps the result of each until it is done."""

    def __init__(self, folder: Path, inputs: Mapping[str, Any]) -> None:
        """Nothing is read or written yet.

        Args:
            folder: of all checkpoints under this name; whoever uses them holds a lock on the name.
            inputs: plain data that decides the training: its sections of the spec, digests of what it reads, the
                fingerprint of its code.

        Raises:
            UserError: SFDDM_CHECKPOINT_SECONDS is not a number of seconds.
        """
        self._root, self._inputs = folder, inputs
        self._folder: Path | None = None
        self._interval = _interval()
        self._began = time.monotonic()
        self._next = 0.0
        self.earlier_seconds = 0.0
        """What this training took in processes that were killed, up to the checkpoint that was read."""

    def read(self, before: int, end: int) -> Checkpoint | None:
        """Where to go on in a training of the iterations `before`..`end` - 1; at `end` it is done.

        A damaged checkpoint is passed over.

        Raises:
            UserError: the processes of this training don't find the same.
        """
        self._next = time.monotonic() + self._interval
        found = self._newest_whole(before, end)
        step = found.step if found else -1
        if all_reduce_max(step, -step) != (step, -step):
            raise UserError(
                f"the processes of {self._root.name} don't find the same checkpoints: set SFDDM_SCRATCH to a folder "
                "that all machines share."
            )
        if found and is_main():
            print(f"{self._root.name}: going on after iteration {found.step}", file=sys.stderr, flush=True)
        return found

    def _newest_whole(self, before: int, end: int) -> Checkpoint | None:
        running = [name for name in reversed(self._running()) if before < int(name) < end]
        for name in (_result(end), *running):
            found = self._load(name)
            if found is not None:
                return found
        return None

    def due(self) -> bool:
        """Whether it is time to write one."""
        return time.monotonic() >= self._next

    def write(self, step: int, tensors: "Mapping[str, Tensor]", curve: str) -> None:
        """Keep the state after `step` iterations, and forget all but the one before.

        Raises:
            UserError: it could not be written; those before are kept.
        """
        began = time.monotonic()
        if is_main():
            self._store(f"{step:09d}", tensors, curve)
            self._forget(self._running()[:-KEPT])
        barrier()
        now = time.monotonic()
        self._next = now + (max(self._interval, (now - began) / SHARE) if self._interval else 0.0)

    def write_result(self, end: int, tensors: "Mapping[str, Tensor]", curve: str) -> None:
        """Keep what the iterations up to `end` made, in place of the checkpoints on the way there.

        Raises:
            UserError: it could not be written; those before are kept.
        """
        if is_main():
            self._store(_result(end), tensors, curve)
            self._forget(self._running())
        barrier()

    def newest(self) -> Path | None:
        """The last one that was written."""
        names = sorted(path.name for path in self.folder.glob("[0-9]*"))
        return self.folder / names[-1] if names else None

    def remove(self) -> None:
        """Forget everything under this name: the stage's outputs are written."""
        shutil.rmtree(self._root, ignore_errors=True)

    @property
    def folder(self) -> Path:
        """The folder of the checkpoints of these inputs; what a killed writer left there is cleared away."""
        if self._folder is None:
            self._folder = self._root / _key(self._inputs)
            for left in self._folder.glob(".*.partial") if is_main() else ():
                shutil.rmtree(left)
        return self._folder

    def _store(self, name: str, tensors: "Mapping[str, Tensor]", curve: str) -> None:
        from sfddm.networks.weights import write_tensors

        with atomic_folder(self.folder / name) as folder:
            write_tensors(folder / STATE, tensors)
            seconds = self.earlier_seconds + time.monotonic() - self._began
            write_json(folder / PROGRESS, {"curve": curve, "seconds": seconds})

    def _load(self, name: str) -> Checkpoint | None:
        from sfddm.networks.weights import read_tensors

        path = self.folder / name
        if not path.is_dir():
            return None
        try:
            tensors, progress = read_tensors(path / STATE), read_json(path / PROGRESS)
        except UserError as error:
            print(f"passing over a damaged checkpoint: {error}", file=sys.stderr, flush=True)
            return None
        self.earlier_seconds = progress["seconds"]
        return Checkpoint(int(name.partition("-")[0]), tensors, progress["curve"])

    def _running(self) -> list[str]:
        return sorted(path.name for path in self.folder.glob("[0-9]*") if path.name.isdigit())

    def _forget(self, names: list[str]) -> None:
        for name in names:
            shutil.rmtree(self.folder / name)


def _result(end: int) -> str:
    return f"{end:09d}-result"


def _interval() -> float:
    text = os.environ.get(SECONDS, str(DEFAULT_SECONDS))
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise UserError(f"{SECONDS} is {text!r}: expected a number of seconds, 0 or more.")
    return seconds


def _key(inputs: Mapping[str, Any]) -> str:
    """Hash of all that decides a training: its inputs, code among them, and where it runs."""
    return digest({"inputs": inputs, "machine": machine(world_size())})[:16]
