"""One row of the comparison: a student's metrics, times and pictures."""

import sys
import time
from pathlib import Path

import numpy as np
import torch

from sfddm.evaluation.interpolation import path_length, strips
from sfddm.evaluation.measure import check_inputs, measure
from sfddm.evaluation.metrics import SUMMARY
from sfddm.evaluation.reference import read_reference
from sfddm.evaluation.scorer import load_scorer
from sfddm.evaluation.timing import time_sampling
from sfddm.images import grid, png
from sfddm.networks import storage
from sfddm.networks.generation import generate
from sfddm.networks.layout import read_cost, read_sampler, weights_digest
from sfddm.runtime.files import atomic_folder, write_json
from sfddm.runtime.machine import machine
from sfddm.runtime.processes import is_main, world_size

SHOWN = 64
"""Images in the sample grid."""
STRIPS = 4
"""Interpolations that are stored as images."""


def evaluate(
    student: Path,
    teacher: Path,
    reference: Path,
    scorer: Path,
    seed: int,
    batch_size: int,
    device: torch.device,
    out: Path,
    label: str,
) -> None:
    """Evaluate the student in one folder and store its metrics, times and pictures in `out`, whole or not at all.

    Several processes draw images together; process 0 does the rest.

    Raises:
        UserError: something is missing, damaged or doesn't fit, or the network produced NaN; then nothing is written.
    """
    started = time.perf_counter()
    own, sampler, weights = storage.load(student, device), read_sampler(student), weights_digest(student)
    judged_by, wanted = load_scorer(scorer, device), read_reference(reference)
    check_inputs(own.image_shape, wanted, judged_by)
    if (weights, sampler) == (wanted.weights, wanted.sampler):
        images, between = wanted.images, wanted.strips  # the reference is this very sampler: nothing to draw again
    else:
        images = generate(own, sampler, seed, len(wanted.images), batch_size, label)
        between = strips(own, sampler, seed, batch_size)
    if not is_main():
        return
    metrics = {
        **measure(images, wanted, judged_by, f"{label}: scoring"),
        "path_length": path_length(between, judged_by.features),
        "teacher_path_length": path_length(wanted.strips, judged_by.features),
        "path_pairs": len(between),
        "nfe": sampler.nfe,
        "levels": list(sampler.levels),
        "noise_seed": seed,
        "weights": weights[:16],
        "cost": read_cost(student),
    }
    for warning in metrics["notes"]:
        print(f"warning: {warning}.", file=sys.stderr, flush=True)
    timing = time_sampling(own, sampler, storage.load(teacher, device))
    summary = {**{key: metrics[key] for key in SUMMARY}, "cost": metrics["cost"]["total"]}
    took = {"evaluation_seconds": time.perf_counter() - started, "machine": machine(world_size())}
    with atomic_folder(out) as folder:
        write_json(folder / "metrics.json", metrics)
        write_json(folder / "summary.json", summary)
        write_json(folder / "timing.json", {**timing, **took})
        np.save(folder / "interpolation.npy", np.stack([wanted.strips[:STRIPS], between[:STRIPS]]))
        np.save(folder / "shown.npy", images[:SHOWN])
        (folder / "grid.png").write_bytes(png(grid(images[:SHOWN], 16)))
