"""The process that ships a growing curve to MLflow: `python -m sfddm.tracking.follower DESCRIPTION PID`."""

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from sfddm.errors import UserError
from sfddm.tracking.live import FOLLOWED_BY, LiveRun, follower_lock, follower_name, live_run, read_live_run
from sfddm.tracking.logging import send_points, steps_sent
from sfddm.tracking.server import connect, experiment_id, users_errors
from sfddm.training.curve import read_points

if TYPE_CHECKING:
    from mlflow import MlflowClient

SECONDS = 5.0
"""Pause between two looks at the file."""
AGAIN_SECONDS = 20.0
"""Pause after MLflow did not answer."""
NICENESS = 10


def main(description: str, pid: str) -> None:
    """Follow the training of process `pid` until it is complete or the process is gone."""
    os.nice(NICENESS)
    run = read_live_run(Path(description))
    with FileLock(follower_lock(run.name)):
        _follow(run, int(pid))


def _follow(run: LiveRun, pid: int) -> None:
    """Send points as they come. Through an outage of MLflow they wait in their file; `track` sends what is left."""
    tracked: _Curve | None = None
    while True:
        alive = _is_alive(pid)  # before the file is read: what is written later will be read next time
        points = read_points(Path(run.curve))
        complete = bool(points) and points[-1]["step"] == run.iterations
        try:
            with users_errors():
                tracked = tracked or _Curve(run)
                tracked.send(points)
                if complete or not alive:
                    tracked.end("FINISHED" if complete else "KILLED")
                    return
        except UserError as error:
            print(error, file=sys.stderr, flush=True)
            tracked = None  # what MLflow has is asked again
            if complete or not alive:
                return
            _wait(pid, AGAIN_SECONDS)
        time.sleep(SECONDS)


class _Curve:
    """The run in MLflow that shows a training, and the points that it has."""

    def __init__(self, run: LiveRun) -> None:
        self.client: MlflowClient = connect()
        experiment = experiment_id(self.client, run.experiment)
        self.run_id = live_run(self.client, experiment, run.key) or self._create(experiment, run)
        self.client.update_run(self.run_id, status="RUNNING")  # one that goes on was shown as killed
        self.client.set_tag(self.run_id, FOLLOWED_BY, follower_name())
        self.sent = steps_sent(self.client, self.run_id)

    def send(self, points: list[dict[str, Any]]) -> None:
        fresh = [point for point in points if point["step"] not in self.sent]
        send_points(self.client, self.run_id, fresh)
        self.sent |= {point["step"] for point in fresh}

    def end(self, status: str) -> None:
        self.client.set_terminated(self.run_id, status)

    def _create(self, experiment: str, run: LiveRun) -> str:
        return str(self.client.create_run(experiment, run_name=run.name, tags=run.tags).info.run_id)


def _wait(pid: int, seconds: float) -> None:
    """Wait so long, or until the process is gone."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and _is_alive(pid):
        time.sleep(SECONDS)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except UserError as error:  # into the log, without the addresses that a traceback would show
        sys.exit(str(error))
