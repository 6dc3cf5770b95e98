"""What differs between students: fields of their specs, and figures beyond their spread."""

from collections.abc import Mapping
from typing import Any

from sfddm.comparison.subject import Subject
from sfddm.evaluation.paired import Difference, Distances, paired_difference

SHARED = {
    "noise_seed": "noises",
    "samples": "number of images",
    "scorer": "scorer",
    "scorer_version": "scorer's version",
    "real": "real images",
    "reference": "reference",
}
"""What two students' `metrics.json` must agree on for their figures to compare, and what users call it."""
BLOCKS = {
    "frechet_distance": "frechet_blocks",
    "kernel_distance": "kernel_blocks",
    "agreement": "agreement_blocks",
    "mse_to_teacher": "mse_blocks",
    "ssim": "ssim_blocks",
    "feature_cosine": "cosine_blocks",
}
"""Figures that are also known for each block of the common noises, from which the spread of a difference comes."""


def fields_that_differ(subjects: list[Subject]) -> dict[str, list[Any]]:
    """Paths of the fields that are not the same in all, with every subject's value; None where it has no such field."""
    paths = dict.fromkeys(path for subject in subjects for path in subject.fields)
    values = {path: [subject.fields.get(path) for subject in subjects] for path in paths}
    return {path: found for path, found in values.items() if any(value != found[0] for value in found)}


def why_not(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """Why the figures of two students, each given by its `metrics.json`, don't compare; empty if they do."""
    return [
        f"other {words} ({a.get(key, 'unknown')} | {b.get(key, 'unknown')})"
        for key, words in SHARED.items()
        if key not in a or a[key] != b.get(key)
    ]


def difference(a: Mapping[str, Any], b: Mapping[str, Any], key: str) -> Difference | None:
    """How much larger a figure of `b` is than that of `a`, of these two trained networks; None without blocks of it."""
    blocks = BLOCKS.get(key, "")
    if blocks not in a or blocks not in b:
        return None
    of_a, of_b = (Distances(whole=metrics[key], blocks=tuple(metrics[blocks])) for metrics in (a, b))
    return paired_difference([of_b], [of_a])
