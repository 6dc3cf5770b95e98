"""The process that ships a growing curve to MLflow: `python -m sfddm.tracking.follower DESCRIPTION PID`."""

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from sfddm.errors import UserError
from sfddm.tracking.curves import send_points
from sfddm.tracking.live import Followed, LiveRun, follower_lock, read_live_run, write_followed
from sfddm.tracking.server import connect, experiment_id, server_name, users_errors
from sfddm.training.curve import read_points

if TYPE_CHECKING:
    from mlflow import MlflowClient

SECONDS = 2.0
"""Between two looks at the file."""
NICENESS = 10


def main(description: str, pid: str) -> None:
    """Follow the training of process `pid` until it is complete or the process is gone."""
    os.nice(NICENESS)
    run = read_live_run(Path(description))
    with FileLock(follower_lock(run.name)), users_errors():
        client = connect()
        created = client.create_run(experiment_id(client, run.experiment), run_name=run.name, tags=run.tags)
        run_id = created.info.run_id
        write_followed(run.name, Followed(key=run.key, tracking_server=server_name(), run_id=run_id))
        complete = _follow(client, run_id, run, int(pid))
        client.set_terminated(run_id, "FINISHED" if complete else "KILLED")


def _follow(client: "MlflowClient", run_id: str, run: LiveRun, pid: int) -> bool:
    """Send points as they come; say whether the training reached its last iteration."""
    sent = 0
    while True:
        alive = _is_alive(pid)
        points = read_points(Path(run.curve))
        send_points(client, run_id, points[sent:])
        sent = len(points)
        if points and points[-1]["step"] == run.iterations:
            return True
        if not alive:
            return False
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
