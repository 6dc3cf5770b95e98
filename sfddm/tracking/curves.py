"""Training curves: from the points that a training writes to MLflow's metrics."""

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient

BATCH = 900
"""MLflow takes 1000 metrics a call at most."""


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
