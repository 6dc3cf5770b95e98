"""What a stage does before it trains, so that MLflow shows the training while it runs."""

import os
from pathlib import Path

from sfddm.networks.layout import weights_digest
from sfddm.pipeline.paths import Paths
from sfddm.runtime.files import digest
from sfddm.spec.experiment import Run, Spec
from sfddm.spec.parse import unstructure
from sfddm.tracking.live import KEY, LiveRun, start_follower

SWEEP = "sfddm.experiment"
"""The tag of what DVC's experiments made."""


def follow_training(spec: Spec, run: Run, curve: Path, iterations: int, device: str) -> None:
    """Follow the curve of a run's training, which is about to begin on `device`."""
    start_follower(
        LiveRun(
            experiment=spec.name,
            name=run.name,
            curve=str(curve),
            iterations=iterations,
            key=training_key(spec, run),
            tags=tags(spec, run, device),
        )
    )


def follow_teacher(spec: Spec, curve: Path, iterations: int, device: str) -> None:
    """Follow the curve of the teacher's training, which is about to begin on `device`."""
    start_follower(
        LiveRun(
            experiment=spec.name,
            name=teacher_name(spec),
            curve=str(curve),
            iterations=iterations,
            key=teacher_key(spec),
            tags=teacher_tags(spec, device),
        )
    )


def training_key(spec: Spec, run: Run) -> str:
    """Hash of what a training depends on; a follower knows it before there is a result."""
    student = unstructure(spec.students[run.student])
    teacher = weights_digest(Paths(spec.name).teacher)
    return digest(
        {"index_set": student["index_set"], "method": student["method"], "seed": run.seed, "teacher": teacher}
    )


def teacher_key(spec: Spec) -> str:
    """The same for the teacher's training."""
    return digest({"data": unstructure(spec.data), "teacher": unstructure(spec.teacher)})


def tags(spec: Spec, run: Run, device: str) -> dict[str, str]:
    """What a run is found by, while it trains and after."""
    return {
        "sfddm.spec": spec.name,
        "sfddm.run": run.name,
        "sfddm.student": run.student,
        "sfddm.method": run.method,
        "sfddm.seed": str(run.seed),
        "sfddm.device": device,
        KEY: training_key(spec, run),
        **sweep_tags(),
    }


def sweep_tags() -> dict[str, str]:
    """The name that DVC gave the experiment (`dvc exp run`) in which this process runs; nothing outside of one."""
    name = os.environ.get("DVC_EXP_NAME")
    return {SWEEP: name} if name else {}


def teacher_tags(spec: Spec, device: str) -> dict[str, str]:
    """The same for the teacher's training."""
    return {
        "sfddm.spec": spec.name,
        "sfddm.run": teacher_name(spec),
        "sfddm.device": device,
        KEY: teacher_key(spec),
    }


def teacher_name(spec: Spec) -> str:
    """What MLflow calls the run with the teacher's training."""
    return f"{spec.name}-teacher-training"
