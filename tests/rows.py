"""Rows of a comparison made up in memory: students of tiny's teacher with any figures."""

from typing import Any

from attrs import evolve

from sfddm.pipeline.rows import Row
from sfddm.spec.experiment import Run, Spec
from sfddm.spec.index_set import Uniform
from sfddm.spec.students import Free, Method, Student
from tests.experiment import figures
from tests.parts import tiny

OURS = tiny().students["ours-t4"].method
FREE = Free(kind="free", solver="ddim")
COST = {"search": 0, "cache": 1000, "training": 2000, "folds": 1, "total": 3000}


def row(student: str, seed: int = 0, distance: float = 0.5, pixels: float | None = None, **changed: Any) -> Row:
    """One training seed. `changed` are keys of its timing, of its training or of its metrics, as `figures` has them."""
    timing = {
        "seconds_per_1000_images": 6.0,
        "speed_up": 16.0,
        "latency_ms": 7.5,
        "teacher_seconds_per_1000_images": 96.0,
    }
    training = {"seconds": 10.0, "peak_memory_mb": 500.0, "device": "cpu"}
    timing, training = ({key: changed.pop(key, value) for key, value in of.items()} for of in (timing, training))
    metrics = figures(distance, pixels, **{"nfe": 4, "levels": [16, 32, 48, 64], "cost": COST, **changed})
    run = Run(name=f"tiny-{student}-s{seed}", spec="tiny", student=student, seed=seed, method="sfddm")
    return Row(run=run, content_key="0123456789abcdef", metrics=metrics, timing=timing, training=training)


def seeds(student: str, *distances: float, pixels: tuple[float, ...] = (), **changed: Any) -> list[Row]:
    """A student with a distance per seed."""
    return [
        row(student, seed, each, pixels[seed] if pixels else None, **changed) for seed, each in enumerate(distances)
    ]


def spec_of(methods: dict[str, Method]) -> Spec:
    """tiny's spec with students of these methods, of 4 steps each."""
    four = Uniform(kind="uniform", steps=4)
    students = {
        name: Student(index_set=four, clip_sample=True, method=method, seeds=(0,)) for name, method in methods.items()
    }
    return evolve(tiny(), students=students)
