"""All numbers about one set of images that repeat to the last digit, each with what it depends on."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attrs import frozen

from sfddm.errors import UserError
from sfddm.evaluation.distances import distances
from sfddm.evaluation.interpolation import path_length
from sfddm.evaluation.metrics import PANEL, SCORERS, WRONG
from sfddm.evaluation.moments import Sample
from sfddm.evaluation.real import CPU, FEWEST
from sfddm.evaluation.reference import Reference
from sfddm.evaluation.scorer import Scorer
from sfddm.evaluation.scorers.extractor import check_images
from sfddm.evaluation.similarity import feature_similarities, pixel_similarities
from sfddm.evaluation.views import teachers_view

FEW = 4
"""Images per feature below which readers are warned."""


@frozen(kw_only=True)
class Drawn:
    """What a sampler drew: images uint8 [n, C, H, W] from the evaluation noises, and between pairs of them."""

    images: np.ndarray
    strips: np.ndarray


def check_inputs(shape: tuple[int, ...], reference: Reference, panel: Mapping[str, Scorer]) -> None:
    """Check that student, reference and scorers fit together, before anything is drawn.

    Raises:
        UserError: they have images of different sizes; or the reference holds no images, or too few for blocks.
    """
    check_images(reference.images, shape, "the teacher's images in the reference")
    for name, scorer in panel.items():
        if scorer.extractor.shape != shape:
            raise UserError(
                f"the scorer {name} judges images of {scorer.extractor.shape} (channels, height, width), the student "
                f"makes {shape}: one of the two is of another version of the spec. Run `dvc repro`."
            )
    if len(reference.images) < FEWEST:
        raise UserError(
            f"evaluation.samples is {len(reference.images)}: comparisons need at least {FEWEST}, better thousands."
        )


def measure(
    drawn: Drawn,
    reference: Reference,
    panel: Mapping[str, Scorer],
    label: str,
    device: torch.device = CPU,
    views: Path | None = None,
) -> dict[str, Any]:
    """Metrics of images against the real images, and against the teacher's from the same noises.

    Args:
        drawn: from the noises that the reference was drawn from.
        reference: the teacher's images.
        panel: the scorers by their names.
        label: what a progress line calls the images.
        device: where pixels are compared. Features are compared where their scorer is.
        views: where the teacher's images are kept as scorers see them, if anywhere.

    Returns:
        What docs/evaluation.md lists, by key; what each scorer says under `scorers` and its name. Keys that end in
        `_jackknife` hold values without one block of images each, for the errors of differences between rows.

    Raises:
        UserError: the images don't fit the reference or a scorer, or are too few.
    """
    check_inputs(drawn.images.shape[1:], reference, panel)
    return {
        **pixel_similarities(drawn.images, reference.images, device),
        "samples": len(drawn.images),
        "reference": reference.digest,
        PANEL: list(panel),
        SCORERS: {
            name: judge(drawn, reference, scorer, f"{label}: scoring by {name}", views)
            for name, scorer in panel.items()
        },
        "notes": [f"{name}: {note}" for name, scorer in panel.items() for note in notes(len(drawn.images), scorer)],
    }


def judge(drawn: Drawn, reference: Reference, scorer: Scorer, label: str, views: Path | None) -> dict[str, Any]:
    """What one scorer says."""
    teachers = teachers_view(scorer, reference, views, f"{label}, the teacher's")
    own = teachers if drawn.images is reference.images else scorer.view(drawn.images, label)
    return {
        **distances(Sample(own.features), Sample(teachers.features), scorer.real),
        **feature_similarities(own, teachers),
        "path_length": path_length(drawn.strips, scorer),
        "teacher_path_length": path_length(reference.strips, scorer),
        "floor": scorer.real.floor,
        "floor_images": scorer.real.floor_images,
        "real_images": len(scorer.real.sample.features),
        "held_out": scorer.real.held_out,
        "scorer": scorer.extractor.name,
        "scorer_version": scorer.extractor.version,
        "real": scorer.real.digest,
    }


def notes(n: int, scorer: Scorer) -> Iterator[str]:
    """What readers must know before they trust a scorer's distances; nothing where nothing is amiss."""
    features, real = scorer.extractor.features, scorer.real
    for what, count in {"images": n, "real images": len(real.sample.features)}.items():
        if count <= features:
            yield (
                f"{count} {what} are fewer than the {features} features and can't fill their covariance: {WRONG}, even "
                "without their bias, and only figures of equal numbers compare"
            )
        elif count < FEW * features:
            yield f"{count} {what} are few for {features} features: Frechet distances without their bias are rough"
    if not real.held_out:
        yield (
            "the data hold no images out, so distances are measured to images that the teacher may have been trained "
            "with: a student that copies them looks good"
        )
