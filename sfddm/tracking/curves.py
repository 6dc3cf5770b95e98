"""Training curves: from the points that a training writes to MLflow's metrics."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient

BATCH = 900
"""MLflow takes 1000 metrics a call at most."""


def send_points(client: "MlflowClient", run_id: str, points: Iterable[dict[str, Any]]) -> None:
    """Add points to a run, in as few calls as MLflow allows."""
    values = [
        (f"train/{name}", value, point["step"]) for point in points for name, value in point.items() if name != "step"
    ]
    send_metrics(client, run_id, values)


def send_metrics(client: "MlflowClient", run_id: str, values: list[tuple[str, float, int]]) -> None:
    """Add metrics, each a name, a value and a step, to a run; MLflow shows them in this order."""
    import time

    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    metrics = [Metric(name, value, now, step) for name, value, step in values]
    for start in range(0, len(metrics), BATCH):
        client.log_batch(run_id, metrics=metrics[start : start + BATCH])


def steps_sent(client: "MlflowClient", run_id: str) -> set[int]:
    """The iterations whose points a run has."""
    return {metric.step for metric in client.get_metric_history(run_id, "train/loss")}
