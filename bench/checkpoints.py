"""What checkpoints cost a spec's teacher: `python -m bench.checkpoints [SPEC]`.

The teacher is trained for a few iterations with a checkpoint after each. From what an iteration and a checkpoint take
follows the share of the whole training's time at the default interval.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from attrs import evolve
from torch import Tensor

from sfddm.data import store
from sfddm.data.prepare import prepare
from sfddm.runtime.machine import device
from sfddm.spec.read import load_spec
from sfddm.spec.teacher import Teacher, Trained
from sfddm.training.checkpoints import DEFAULT_SECONDS, SECONDS, SHARE, Checkpoints
from sfddm.training.curve import Curve
from sfddm.training.teacher import train_teacher

ITERATIONS = 60


class Timed(Checkpoints):
    """Checkpoints that note how long each one took."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, {})
        self.seconds: list[float] = []

    def write(self, step: int, tensors: Mapping[str, Tensor], curve: str) -> None:
        """As ever, timed."""
        started = time.perf_counter()
        super().write(step, tensors, curve)
        self.seconds.append(time.perf_counter() - started)


def main(name: str = "digits") -> None:
    """Measure one spec's teacher and print what checkpoints cost it."""
    spec = load_spec(name)
    source = spec.teacher.source
    assert isinstance(source, Trained), "a teacher that is trained here"
    training = source.training
    short = evolve(spec.teacher, source=evolve(source, training=evolve(training, iterations=ITERATIONS)))
    os.environ[SECONDS] = "0"
    with tempfile.TemporaryDirectory(dir=".") as temporary:
        prepare(spec.data, Path(temporary))
        checkpoints = Timed(Path(temporary) / "checkpoints")
        started = time.perf_counter()
        size = _train(short, Path(temporary), checkpoints)
        iteration = (time.perf_counter() - started - sum(checkpoints.seconds)) / ITERATIONS
    once = statistics.median(checkpoints.seconds)
    whole = training.iterations * iteration
    times = int(whole / max(DEFAULT_SECONDS, once / SHARE)) + 1  # and one for the result
    print(
        f"{name}: {size / 2**20:.1f} MiB a checkpoint, {once * 1e3:.0f} ms to write one (median of "
        f"{len(checkpoints.seconds)}, longest {max(checkpoints.seconds) * 1e3:.0f} ms), {iteration * 1e3:.0f} ms an "
        f"iteration on {device().type} with {torch.get_num_threads()} threads.\nA training of {training.iterations} "
        f"iterations takes {whole:.0f} s and writes {times}: {times * once / whole:.2%} of its time."
    )


def _train(teacher: Teacher, folder: Path, checkpoints: Timed) -> int:
    """Train, and return the bytes of a checkpoint."""
    split = store.read(folder, "train")
    assert isinstance(teacher.source, Trained)
    training = teacher.source.training
    with Curve(folder / "curve", "teacher", training.iterations, training.batch_size) as curve:
        network = train_teacher(teacher, split, device(), curve, checkpoints).network
    weights = sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
    return 4 * int(weights)  # weights, their average, and Adam's two moments


if __name__ == "__main__":
    main(*sys.argv[1:])
