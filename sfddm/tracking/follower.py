"""The process that ships a growing curve to MLflow; `start_follower` in `live.py` starts it."""

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from sfddm.errors import UserError
from sfddm.spec.parse import read_stored
from sfddm.tracking.live import FOLLOWED_BY, Training, create_run, follower_lock, follower_name, live_run
from sfddm.tracking.logging import send_points, steps_sent
from sfddm.tracking.server import connect, experiment_id, users_errors
from sfddm.training.curve import read_points

if TYPE_CHECKING:
    from mlflow import MlflowClient

SECONDS = 5.0
"""Pause between two looks at the file."""
NICENESS = 10


def main(description: str, curve: str, iterations: str, pid: str) -> None:
    """Follow the training of process `pid` until it is complete or the process is gone."""
    os.nice(NICENESS)
    training = read_stored(Path(description), Training)
    with FileLock(follower_lock(training.name)):
        _follow(training, Path(curve), int(iterations), int(pid))


def _follow(training: Training, curve: Path, iterations: int, pid: int) -> None:
    """Send points as they come. Through an outage of MLflow they wait in their file; `track` sends what is left."""
    shown: _Curve | None = None
    while True:
        alive = _is_alive(pid)  # before the file is read: what is written later will be read next time
        points = read_points(curve)
        complete = bool(points) and points[-1]["step"] == iterations
        try:
            with users_errors():
                shown = shown or _Curve(training)
                shown.send(points)
                if complete or not alive:
                    shown.end("FINISHED" if complete else "KILLED")
        except UserError as error:
            print(error, file=sys.stderr, flush=True)
            shown = None  # what MLflow has is asked again
        if complete or not alive:
            return
        time.sleep(SECONDS)


class _Curve:
    """The run in MLflow that shows a training, and the points that it has."""

    def __init__(self, training: Training) -> None:
        self.client: MlflowClient = connect()
        experiment = experiment_id(self.client, training.experiment)
        found = live_run(self.client, experiment, training.key)
        self.run_id = found or create_run(self.client, experiment, training)
        self.client.update_run(self.run_id, status="RUNNING")  # one that goes on was shown as killed
        self.client.set_tag(self.run_id, FOLLOWED_BY, follower_name())
        self.sent = steps_sent(self.client, self.run_id)

    def send(self, points: list[dict[str, Any]]) -> None:
        fresh = [point for point in points if point["step"] not in self.sent]
        send_points(self.client, self.run_id, fresh)
        self.sent |= {point["step"] for point in fresh}

    def end(self, status: str) -> None:
        self.client.set_terminated(self.run_id, status)


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
