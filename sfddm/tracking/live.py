"""Curves that appear in MLflow while a training runs, without the training knowing of it.

A stage starts a follower, a process of its own, that reads the curve's file as it grows. Whatever happens to the
follower or to the server, the training goes on. `track` later adopts the follower's run, which it knows by its key, and
adds what is missing: on whatever machine the two ran, they need nothing in common but the MLflow server.
"""

import importlib.util
import os
import subprocess
import sys
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
from sfddm.spec.parse import read_stored, unstructure

if TYPE_CHECKING:
    from mlflow import MlflowClient


LIVE = "SFDDM_LIVE_CURVES"
KEY = "sfddm.training_key"
"""The tag with the key of the training that a run shows."""
CONTENT_KEY = "sfddm.content_key"
"""The tag that `track` sets last; runs without it are unfinished."""
FOLLOWED_BY = "sfddm.followed_by"
"""The tag with the `follower_name` of the clone that writes to a live run: the training one, then the adopting one."""


@frozen(kw_only=True)
class LiveRun:
    """What a follower needs to know of a training, and how `track` recognises its run."""

    experiment: str
    name: str
    curve: str
    iterations: int
    key: str
    """Hash of all that the training depends on."""
    tags: dict[str, str]


def start_follower(run: LiveRun) -> None:
    """Start following a training; does nothing where mlflow is not installed, or SFDDM_LIVE_CURVES is off.

    If several processes share the training, the first one starts the follower.

    Raises:
        UserError: SFDDM_LIVE_CURVES is neither on nor off.
    """
    choice = os.environ.get(LIVE, "on")
    if choice not in ("on", "off"):
        raise UserError(f"{LIVE} is {choice!r}: expected on or off.")
    if choice == "off" or not is_main() or importlib.util.find_spec("mlflow") is None:
        return
    description = _folder() / f"{run.name}.json"
    write_json(description, asdict(run))
    Path(run.curve).unlink(missing_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (_folder() / f"{run.name}.log").open("w", encoding="utf-8") as log:
        subprocess.Popen(
            [sys.executable, "-m", "sfddm.tracking.follower", str(description), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=environment,
        )


def read_live_run(description: Path) -> LiveRun:
    """What `start_follower` wrote."""
    return read_stored(description, LiveRun)


def live_run(client: "MlflowClient", experiment: str, key: str) -> str | None:
    """The newest run that shows the training with this key and that `track` has not taken over, if there is one.

    Runs with params are left out: tracking has begun to fill them, and params can't be changed.
    """
    found = client.search_runs([experiment], f"tags.`{KEY}` = '{key}'", order_by=["attributes.start_time DESC"])
    usable = (run.info.run_id for run in found if CONTENT_KEY not in run.data.tags and not run.data.params)
    return next(usable, None)


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


SWEEP = "sfddm.experiment"
"""The tag of runs that DVC's experiments made."""


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
    """Tags by which a run is found, while it trains and afterwards."""
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
