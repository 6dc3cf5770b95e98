"""Rows of a comparison made up in memory: students of tiny's teacher with any figures."""

from typing import Any

from attrs import evolve

from sfddm.pipeline.rows import Row
from sfddm.spec.experiment import Run, Spec
from sfddm.spec.index_set import Uniform
from sfddm.spec.students import Free, Method, Student
from tests.experiment import OWN, SHARED
from tests.parts import tiny

OURS = tiny().students["ours-t4"].method
FREE = Free(kind="free", solver="ddim")


def row(student: str, seed: int = 0, **changed: Any) -> Row:
    """One training seed. `changed` are keys of its metrics, of its timing or of its training."""
    metrics = {
        **SHARED, **OWN, "frechet_distance": 0.5, "frechet_blocks": [0.6] * 5, "frechet_distance_at_floor": 0.55,
        "nfe": 4, "levels": [16, 32, 48, 64], "cost": {"cache": 1000, "training": 2000, "folds": 1, "total": 3000},
    }  # fmt: skip
    timing = {"seconds_per_1000_images": 6.0, "speed_up": 16.0, "latency_ms": 7.5}
    training = {"seconds": 10.0, "peak_memory_mb": 500.0, "device": "cpu"}
    known = ((name, {key: changed.pop(key, value) for key, value in part.items()})
             for name, part in (("metrics", metrics), ("timing", timing), ("training", training)))  # fmt: skip
    parts = dict(known)
    assert not changed, f"no figure is called {', '.join(changed)}"
    run = Run(name=f"tiny-{student}-s{seed}", spec="tiny", student=student, seed=seed, method="sfddm")
    return Row(run=run, content_key="0123456789abcdef", **parts)


def spec_of(methods: dict[str, Method]) -> Spec:
    """tiny's spec with students of these methods, of 4 steps each."""
    four = Uniform(kind="uniform", steps=4)
    students = {
        name: Student(index_set=four, clip_sample=True, method=method, seeds=(0,)) for name, method in methods.items()
    }
    return evolve(tiny(), students=students)
