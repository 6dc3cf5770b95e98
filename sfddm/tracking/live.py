"""Curves that appear in MLflow while a training runs, without the training knowing of it.

A stage starts a follower, a process of its own, that reads the curve's file as it grows. Whatever happens to the
follower or to the server, the training goes on. `track` later adopts the follower's run, which it knows by its key, and
adds what is missing: on whatever machine the two ran, they need nothing in common but the MLflow server.
"""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from attrs import asdict, frozen
from filelock import FileLock

from sfddm.errors import UserError
from sfddm.networks.layout import weights_digest
from sfddm.pipeline.paths import Paths
from sfddm.runtime.files import digest, write_json, write_text
from sfddm.runtime.machine import scratch
from sfddm.runtime.processes import is_main
from sfddm.spec.experiment import Run, Spec
from sfddm.spec.parse import unstructure

if TYPE_CHECKING:
    from mlflow import MlflowClient


LIVE = "SFDDM_LIVE_CURVES"
KEY = "sfddm.training_key"
"""The tag with the key of the training that a run shows."""
CONTENT_KEY = "sfddm.content_key"
"""The tag that `track` sets last; runs without it are unfinished."""
FOLLOWED_BY = "sfddm.followed_by"
"""The tag with the `follower_name` of the clone that writes to a live run: the training one, then the adopting one."""
SWEEP = "sfddm.experiment"
"""The tag of runs that DVC's experiments made."""


@frozen(kw_only=True)
class Training:
    """A training as MLflow shows it, and how `track` recognises its run."""

    experiment: str
    name: str
    """What its run in MLflow is called; DVC's name of the experiment comes behind it."""
    key: str
    """Hash of all that it depends on; known before there is a result."""
    tags: dict[str, str]
    """By these its run is found, while it trains and afterwards."""


def student_training(spec: Spec, run: Run, device: str) -> Training:
    """The training of a run on `device`."""
    student, teacher = unstructure(spec.students[run.student]), weights_digest(Paths(spec.name).teacher)
    key = digest({"index_set": student["index_set"], "method": student["method"], "seed": run.seed, "teacher": teacher})
    own = {"sfddm.student": run.student, "sfddm.method": run.method, "sfddm.seed": str(run.seed), **sweep_tags()}
    return _training(spec, run.name, key, device, own)


def teacher_training(spec: Spec, device: str) -> Training:
    """The training of a spec's teacher on `device`."""
    return _training(spec, teacher_name(spec), teacher_key(spec), device, {})


def _training(spec: Spec, name: str, key: str, device: str, own: dict[str, str]) -> Training:
    tags = {"sfddm.spec": spec.name, "sfddm.run": name, "sfddm.device": device, KEY: key, **own}
    return Training(experiment=spec.name, name=name, key=key, tags=tags)


def teacher_key(spec: Spec) -> str:
    """The key of the teacher's training."""
    return digest({"data": unstructure(spec.data), "teacher": unstructure(spec.teacher)})


def teacher_name(spec: Spec) -> str:
    """What MLflow calls the run with the teacher's training."""
    return f"{spec.name}-teacher-training"


def sweep_tags() -> dict[str, str]:
    """The name that DVC gave the experiment (`dvc exp run`) in which this process runs; nothing outside of one."""
    name = os.environ.get("DVC_EXP_NAME")
    return {SWEEP: name} if name else {}


def sweep_suffix(tags: Mapping[str, str]) -> str:
    """What tells runs of one student apart that DVC's experiments made with other settings."""
    return f" ({tags[SWEEP]})" if SWEEP in tags else ""


def follow_training(spec: Spec, run: Run, curve: Path, iterations: int, device: str) -> None:
    """Follow the curve of a run's training, which is about to begin on `device`."""
    start_follower(student_training(spec, run, device), curve, iterations)


def follow_teacher(spec: Spec, curve: Path, iterations: int, device: str) -> None:
    """Follow the curve of the teacher's training, which is about to begin on `device`."""
    start_follower(teacher_training(spec, device), curve, iterations)


def start_follower(training: Training, curve: Path, iterations: int) -> None:
    """Start following a curve; does nothing where mlflow is not installed, or SFDDM_LIVE_CURVES is off.

    If several processes share the training, the first one starts the follower.

    Raises:
        UserError: SFDDM_LIVE_CURVES is neither on nor off.
    """
    choice = os.environ.get(LIVE, "on")
    if choice not in ("on", "off"):
        raise UserError(f"{LIVE} is {choice!r}: expected on or off.")
    if choice == "off" or not is_main() or importlib.util.find_spec("mlflow") is None:
        return
    description = _folder() / f"{training.name}.json"
    write_json(description, asdict(training))
    curve.unlink(missing_ok=True)
    with (_folder() / f"{training.name}.log").open("w", encoding="utf-8") as log:
        subprocess.Popen(
            [sys.executable, "-m", "sfddm.tracking.follower", description, curve, str(iterations), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )


def live_run(client: "MlflowClient", experiment: str, key: str) -> str | None:
    """The newest run that shows the training with this key and that `track` has not taken over, if there is one.

    Runs with params are left out: tracking has begun to fill them, and params can't be changed.
    """
    found = client.search_runs([experiment], f"tags.`{KEY}` = '{key}'", order_by=["attributes.start_time DESC"])
    usable = (run.info.run_id for run in found if CONTENT_KEY not in run.data.tags and not run.data.params)
    return next(usable, None)


def create_run(client: "MlflowClient", experiment: str, training: Training) -> str:
    """Create the run of a training, and return its id."""
    name = f"{training.name}{sweep_suffix(training.tags)}"
    return str(client.create_run(experiment, run_name=name, tags=training.tags).info.run_id)


def follower_lock(name: str) -> Path:
    """The lock that a follower holds as long as it writes to its run."""
    return _folder() / f"{name}.lock"


def follower_name() -> str:
    """The name of this clone's followers, whose locks can be asked, unlike those of other clones and machines."""
    path = _folder() / "name"
    with FileLock(_folder() / "name.lock"):
        if not path.exists():
            write_text(path, uuid4().hex)
    return path.read_text(encoding="utf-8")


def _folder() -> Path:
    path = scratch() / "live"
    path.mkdir(parents=True, exist_ok=True)
    return path
