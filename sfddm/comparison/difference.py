"""What differs between students: fields of their specs, and figures beyond their spread."""

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


def fields_that_differ(subjects: list[Subject]) -> dict[str, list[Any]]:
    """Paths of the fields that are not the same in all, with every subject's value; None where it has no such field."""
    paths = dict.fromkeys(path for subject in subjects for path in subject.fields)
    values = {path: [subject.fields.get(path) for subject in subjects] for path in paths}
    return {path: found for path, found in values.items() if any(value != found[0] for value in found)}


def why_not(a: Subject, b: Subject) -> list[str]:
    """Why the figures of two students don't compare; empty if they do."""
    return [
        f"other {words} ({_text(a, key)} | {_text(b, key)})"
        for key, words in SHARED.items()
        if key not in a.metrics or a.metrics.get(key) != b.metrics.get(key)
    ]


def distance_difference(a: Subject, b: Subject) -> Difference:
    """How much larger the Frechet distance of `b` is than that of `a`: of these two trained networks."""
    return paired_difference([_distances(b)], [_distances(a)])


def _distances(subject: Subject) -> Distances:
    metrics = subject.metrics
    return Distances(whole=metrics["frechet_distance"], blocks=tuple(metrics["frechet_blocks"]))


def _text(subject: Subject, key: str) -> str:
    return str(subject.metrics.get(key, "unknown"))
