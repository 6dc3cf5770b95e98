"""What several processes do together in tests: `torchrun ... -m tests.together FOLDER OUT`, or `work` in one process.

FOLDER holds a teacher and data. OUT gets the curve of every method's training and of a teacher's, and some images.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from attrs import evolve

from sfddm.data import store
from sfddm.diffusion.sampler import Sampler
from sfddm.evaluation.interpolation import strips
from sfddm.methods.job import distill
from sfddm.networks.generation import generate
from sfddm.runtime.processes import is_main, process_group
from sfddm.training.checkpoints import Checkpoints
from sfddm.training.curve import Curve
from sfddm.training.teacher import train_teacher
from tests.parts import METHODS, SOURCES, of, tiny, untrained_teacher

TRAINED = {**METHODS, "mixed": evolve(METHODS["sfddm"], sources=SOURCES["mix"])}
BATCH = 63
"""Odd, so that shares are unequal."""


def work(folder: Path, out: Path) -> None:
    """Train and sample everything."""
    out.mkdir(exist_ok=True)
    for name, method in TRAINED.items():
        described = of(folder, evolve(method, training=evolve(method.training, batch_size=BATCH)))
        checkpoints = Checkpoints(out / "checkpoints" / name, {})
        distill(evolve(described, cache=out / "cache", curve=out / f"{name}.jsonl", checkpoints=checkpoints))
    source = tiny().teacher.source
    short = evolve(tiny().teacher, source=evolve(source, training=METHODS["sfddm"].training))
    split = store.read(folder / "data", "train")
    with Curve(out / "teacher.jsonl", "test", 4, 64) as curve:
        train_teacher(short, split, torch.device("cpu"), curve, Checkpoints(out / "checkpoints" / "teacher", {}))
    sampler = Sampler(solver="ancestral", levels=(16, 64), clip_sample=True)
    drawn = generate(untrained_teacher(), sampler, 0, 50, 16, "test")
    between = strips(untrained_teacher(), sampler, 0, 100)
    if is_main():
        np.savez(out / "images.npz", drawn=drawn, between=between)


if __name__ == "__main__":
    with process_group():
        work(Path(sys.argv[1]), Path(sys.argv[2]))
