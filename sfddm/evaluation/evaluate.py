"""One row of the comparison: a student's metrics, times and pictures."""

import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from sfddm.evaluation.interpolation import strips
from sfddm.evaluation.measure import Drawn, check_inputs, measure
from sfddm.evaluation.metrics import SCORERS, SUMMARY
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
    scorers: Mapping[str, Path],
    seed: int,
    batch_size: int,
    device: torch.device,
    views: Path,
    out: Path,
    label: str,
) -> None:
    """Evaluate the student in one folder and store its metrics, times and pictures in `out`, whole or not at all.

    The teacher's images are kept in `views` as scorers see them. Several processes draw images together; process 0 does
    the rest.

    Raises:
        UserError: something is missing, damaged or doesn't fit, or the network produced NaN; then nothing is written.
    """
    started = time.perf_counter()
    own, sampler, weights = storage.load(student, device), read_sampler(student), weights_digest(student)
    panel, wanted = {name: load_scorer(folder, device) for name, folder in scorers.items()}, read_reference(reference)
    check_inputs(own.image_shape, wanted, panel)
    if (weights, sampler) == (wanted.weights, wanted.sampler):  # the reference is this very sampler
        drawn = Drawn(images=wanted.images, strips=wanted.strips)
    else:
        images = generate(own, sampler, seed, len(wanted.images), batch_size, label)
        drawn = Drawn(images=images, strips=strips(own, sampler, seed, batch_size))
    if not is_main():
        return
    metrics = {
        **measure(drawn, wanted, panel, label, device, views),
        "path_pairs": len(drawn.strips),
        "nfe": sampler.nfe,
        "levels": list(sampler.levels),
        "noise_seed": seed,
        "weights": weights[:16],
        "cost": read_cost(student),
    }
    for warning in metrics["notes"]:
        print(f"warning: {warning}.", file=sys.stderr, flush=True)
    timing = time_sampling(own, sampler, storage.load(teacher, device))
    distance = {name: found["frechet_distance"] for name, found in metrics[SCORERS].items()}
    summary = {**{key: metrics[key] for key in SUMMARY}, "distance": distance, "cost": metrics["cost"]["total"]}
    took = {"evaluation_seconds": time.perf_counter() - started, "machine": machine(world_size())}
    with atomic_folder(out) as folder:
        write_json(folder / "metrics.json", metrics)
        write_json(folder / "summary.json", summary)
        write_json(folder / "timing.json", {**timing, **took})
        np.save(folder / "interpolation.npy", np.stack([wanted.strips[:STRIPS], drawn.strips[:STRIPS]]))
        np.save(folder / "shown.npy", drawn.images[:SHOWN])
        (folder / "grid.png").write_bytes(png(grid(drawn.images[:SHOWN], 16)))
