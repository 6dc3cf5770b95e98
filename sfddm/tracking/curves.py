"""Training curves: from the file that the training writes to MLflow's metrics."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfddm.errors import damaged
from sfddm.files import parse_json

if TYPE_CHECKING:
    from mlflow import MlflowClient

BATCH = 900
"""MLflow takes 1000 metrics a call at most."""


def read_points(path: Path) -> list[dict[str, Any]]:
    """The complete points of a curve; a line that is still being written is left for later.

    Raises:
        UserError: a line is no point.
    """
    if not path.exists():
        return []
    *lines, _ = path.read_text(encoding="utf-8").split("\n")
    try:
        points = [parse_json(line.encode()) for line in lines]
        if any(type(point.get("step")) is not int for point in points):
            raise ValueError("a point without a step")
    except (ValueError, AttributeError, RecursionError) as error:
        raise damaged(path, error) from None
    return points


def send_points(client: "MlflowClient", run_id: str, points: list[dict[str, Any]]) -> None:
    """Add points to a run, in as few calls as MLflow allows."""

    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    metrics = [
        Metric(f"train/{name}", value, now, point["step"])
        for point in points
        for name, value in point.items()
        if name != "step"
    ]
    for start in range(0, len(metrics), BATCH):
        client.log_batch(run_id, metrics=metrics[start : start + BATCH])


def steps_sent(client: "MlflowClient", run_id: str) -> set[int]:
    """The iterations whose points a run has."""
    return {metric.step for metric in client.get_metric_history(run_id, "train/loss")}
