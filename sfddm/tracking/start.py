"""What a stage does before it trains, so that MLflow shows the training while it runs."""

from pathlib import Path

from sfddm.files import digest
from sfddm.networks.layout import weights_digest
from sfddm.paths import Paths
from sfddm.spec.experiment import Run, Spec
from sfddm.spec.methods import SFDDM
from sfddm.spec.structure import unstructure
from sfddm.tracking.live import LiveRun, start_follower


def follow_training(spec: Spec, run: Run, curve: Path) -> None:
    """Follow the curve of a run's training; a free sampler has none."""
    method = spec.students[run.student].method
    if not isinstance(method, SFDDM):
        return
    start_follower(
        LiveRun(
            experiment=spec.name,
            name=run.name,
            curve=str(curve),
            iterations=method.training.iterations,
            key=training_key(spec, run),
            tags=tags(spec, run),
        )
    )


def training_key(spec: Spec, run: Run) -> str:
    """Hash of what a training depends on; a follower knows it before there is a result."""
    student = unstructure(spec.students[run.student])
    teacher = weights_digest(Paths(spec.name).teacher)
    return digest(
        {"index_set": student["index_set"], "method": student["method"], "seed": run.seed, "teacher": teacher}
    )


def tags(spec: Spec, run: Run) -> dict[str, str]:
    """What a run is found by, while it trains and after."""
    return {
        "sfddm.spec": spec.name,
        "sfddm.run": run.name,
        "sfddm.student": run.student,
        "sfddm.method": run.method,
        "sfddm.seed": str(run.seed),
    }
