"""One row of the comparison: a student's figures, times and pictures."""

from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sfddm.errors import UserError
from sfddm.evaluation.classifier import Scorer, load_scorer
from sfddm.evaluation.frechet import frechet_distance
from sfddm.evaluation.pixels import pixel_moments
from sfddm.evaluation.reference import Reference, read_reference
from sfddm.evaluation.timing import time_sampling
from sfddm.files import write_json
from sfddm.generation import generate
from sfddm.images import from_bytes
from sfddm.networks import storage
from sfddm.networks.layout import read_cost, read_sampler, weights_digest
from sfddm.pictures import grid, png

BATCH = 1000
"""Images compared at a time."""
SHOWN = 64
"""Images in the sample grid."""
BLOCKS = 5
"""Of consecutive noises, for the differences between rows."""


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
    for folder, shape in ((scorer, judged_by.shape), (reference, wanted.images.shape[1:])):
        if shape != own.image_shape:
            made = list(own.image_shape)
            raise UserError(f"{folder} is for images {list(shape)}, {student} makes {made}: run `dvc repro`.")
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
        "cost": read_cost(student),
    }
    write_json(out / "metrics.json", metrics)
    write_json(out / "timing.json", time_sampling(own, sampler, storage.load(teacher, device)))
    np.save(out / "shown.npy", images[:SHOWN])
    (out / "grid.png").write_bytes(png(grid(images[:SHOWN], 16)))


def figures(images: np.ndarray, reference: Reference, scorer: Scorer) -> dict[str, Any]:
    """Distances to the real images, and agreement with the teacher's images from the same noises.

    Args:
        images: uint8 [n, C, H, W], from the noises that the reference was drawn from.
        reference: the teacher's images.
        scorer: features, classes, and the moments of the real images.

    Returns:
        `frechet_distance` in the scorer's features; `frechet_blocks`, the same of each fifth of the images;
        `teacher_frechet_distance`, the same of the teacher's images; `pixel_distance`, the Frechet distance of the
        pixels; `mse_to_teacher`, of pixels in [-1, 1]; `agreement`, the share of images in the same class as the
        teacher's; and what each of them rests on.

    Raises:
        UserError: too few images for every block to have a covariance.
    """
    if len(images) < 2 * BLOCKS:
        raise UserError(
            f"evaluation.samples is {len(images)}: comparisons need at least {2 * BLOCKS}, better thousands."
        )
    scored = [scorer.score(block) for block in np.array_split(images, BLOCKS)]
    blocks, classes = [sums for sums, _ in scored], np.concatenate([found for _, found in scored])
    whole = reduce(add, blocks)
    teachers, wanted = scorer.score(reference.images)
    squares = sum(
        float((from_bytes(images[i : i + BATCH]) - from_bytes(reference.images[i : i + BATCH])).double().square().sum())
        for i in range(0, len(images), BATCH)
    )
    return {
        "frechet_distance": frechet_distance(whole.moments(), scorer.real),
        "frechet_blocks": [frechet_distance(block.moments(), scorer.real) for block in blocks],
        "teacher_frechet_distance": frechet_distance(teachers.moments(), scorer.real),
        "pixel_distance": frechet_distance(pixel_moments(images), scorer.real_pixels),
        "mse_to_teacher": squares / images.size,
        "agreement": float((classes == wanted).mean()),
        "samples": len(images),
        "real_images": scorer.real.count,
        "scorer": scorer.name,
        "reference": reference.digest,
    }
