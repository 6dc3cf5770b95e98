"""One row of the comparison: a student's figures, times and pictures."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from sfddm.evaluation.classifier import Scorer, load_scorer
from sfddm.evaluation.frechet import frechet_distance
from sfddm.evaluation.reference import Reference, read_reference
from sfddm.evaluation.timing import time_sampling
from sfddm.files import read_json, write_json
from sfddm.generation import generate
from sfddm.images import from_bytes
from sfddm.networks import storage
from sfddm.networks.layout import read_sampler, weights_digest
from sfddm.pictures import grid, png

BATCH = 1000
"""Images compared at a time."""
SHOWN = 64
"""Images in the sample grid."""


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
    """Judge the student in one folder and store its figures, times and pictures in another, existing one."""
    own = storage.load(student, device)
    sampler = read_sampler(student)
    judged_by = load_scorer(scorer, device)
    wanted = read_reference(reference)
    if (weights_digest(student), sampler) == (wanted.weights, wanted.sampler):
        images = wanted.images  # the reference is this very sampler: nothing to draw again
    else:
        images = generate(own, sampler, seed, len(wanted.images), batch_size, label)
    metrics = {
        **figures(images, wanted, judged_by),
        "nfe": sampler.nfe,
        "levels": list(sampler.levels),
        "noise_seed": seed,
        "weights": weights_digest(student)[:16],
        "cost": read_json(student / "cost.json"),
    }
    write_json(out / "metrics.json", metrics)
    write_json(out / "timing.json", time_sampling(own, sampler, storage.load(teacher, device)))
    np.save(out / "shown.npy", images[:SHOWN])
    (out / "grid.png").write_bytes(png(grid(images[:SHOWN], 16)))


def figures(images: np.ndarray, reference: Reference, scorer: Scorer) -> dict[str, Any]:
    """Distance to the real images, and agreement with the teacher's images from the same noises.

    Args:
        images: uint8 [n, C, H, W], from the noises that the reference was drawn from.
        reference: the teacher's images.
        scorer: features and classes.

    Returns:
        `frechet_distance` in the scorer's features; `mse_to_teacher`, of pixels in [-1, 1]; `agreement`, the share of
        images in the same class as the teacher's; and what each of them rests on.
    """
    moments, classes = scorer.score(images)
    _, wanted = scorer.score(reference.images)
    squares = sum(
        float((from_bytes(images[i : i + BATCH]) - from_bytes(reference.images[i : i + BATCH])).double().square().sum())
        for i in range(0, len(images), BATCH)
    )
    return {
        "frechet_distance": frechet_distance(moments, scorer.real),
        "mse_to_teacher": squares / images.size,
        "agreement": float((classes == wanted).mean()),
        "samples": len(images),
        "real_images": scorer.real.count,
        "scorer": scorer.name,
        "reference": reference.digest,
    }
