"""Curves that appear in MLflow while a training runs, without the training knowing of it.

A stage starts a follower, a process of its own, that reads the curve's file as it grows. Whatever happens to the
follower or to the server, the training goes on; `track` later adopts the follower's run and adds what is missing.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

from attrs import asdict, frozen

from sfddm.environment import scratch
from sfddm.files import write_json
from sfddm.spec.stored import read_stored


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


@frozen(kw_only=True)
class Followed:
    """A follower's MLflow run, for `track` to adopt."""

    key: str
    tracking_server: str
    """Its address without user and password."""
    run_id: str


def start_follower(run: LiveRun) -> None:
    """Start following a training; does nothing where mlflow is not installed."""
    if importlib.util.find_spec("mlflow") is None:
        return
    description = _folder() / f"{run.name}.json"
    write_json(description, asdict(run))
    Path(run.curve).unlink(missing_ok=True)
    _word(run.name).unlink(missing_ok=True)
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


def write_followed(name: str, followed: Followed) -> None:
    """Leave word for `track`."""
    write_json(_word(name), asdict(followed))


def read_followed(name: str, key: str, tracking_server: str) -> str | None:
    """The id of the MLflow run that followed the training with this key on this server, if there is one."""
    path = _word(name)
    if not path.exists():
        return None
    followed = read_stored(path, Followed)
    return followed.run_id if (followed.key, followed.tracking_server) == (key, tracking_server) else None


def follower_lock(name: str) -> Path:
    """Held by a follower as long as it writes to its run."""
    return _folder() / f"{name}.lock"


def _word(name: str) -> Path:
    return _folder() / f"{name}.followed.json"


def _folder() -> Path:
    path = scratch() / "live"
    path.mkdir(parents=True, exist_ok=True)
    return path
