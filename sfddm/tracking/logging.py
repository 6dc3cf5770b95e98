"""What else a run in MLflow shows: curves, data sets, pictures."""

import json
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from sfddm.data.store import BYTES, read_array
from sfddm.images import grid, reduced
from sfddm.pipeline.paths import Paths
from sfddm.pipeline.rows import Row

if TYPE_CHECKING:
    from mlflow import MlflowClient


def send_points(client: "MlflowClient", run_id: str, points: Iterable[dict[str, Any]]) -> None:
    """Add points to a run."""
    values = [
        (f"train/{name}", value, point["step"]) for point in points for name, value in point.items() if name != "step"
    ]
    send_metrics(client, run_id, values)


def send_metrics(client: "MlflowClient", run_id: str, values: list[tuple[str, float, int]]) -> None:
    """Add metrics, each a name, a value and a step, to a run; MLflow shows them in this order."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    client.log_batch(run_id, metrics=[Metric(name, value, now, step) for name, value, step in values])


def steps_sent(client: "MlflowClient", run_id: str) -> set[int]:
    """The iterations whose points a run has."""
    return {metric.step for metric in client.get_metric_history(run_id, "train/loss")}


CONTEXTS = {"data": "training", "reference": "evaluation"}
"""Stages whose outputs a run's metrics depend on, and what they are used for."""


def log_datasets(client: "MlflowClient", run_id: str, spec_name: str, kind: str, lock: Mapping[str, Any]) -> None:
    """List a spec's data set, of a kind, and the teacher's reference images among the inputs of a run.

    `lock` is what dvc.lock says of the stages, by name.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag

    inputs = []
    for stage, context in CONTEXTS.items():
        out = lock[f"{stage}@{spec_name}"]["outs"][0]
        name = kind if stage == "data" else f"{spec_name}-{stage}"
        source = json.dumps({"path": out["path"], "md5": out["md5"]})
        profile = json.dumps({"bytes": out.get("size"), "files": out.get("nfiles")})
        dataset = Dataset(name=name, digest=out["md5"], source_type="dvc", source=source, profile=profile)
        inputs.append(DatasetInput(dataset, [InputTag("mlflow.data.context", context)]))
    client.log_inputs(run_id, inputs)


SHOWN, COLUMNS = 16, 4
"""Number of images in the grid, from the same noises for every run, and its columns."""
MOST_PIXELS = 64
"""The largest side of an image; larger ones are reduced."""


def log_pictures(client: "MlflowClient", run_id: str, row: Row) -> None:
    """Log a run's images from the first noises, and its images between two noises below the teacher's."""
    log_samples(client, run_id, row, "samples", 0)
    folder = Paths(row.run.spec).result(row.run.student, row.run.seed)
    teachers, own = read_array(folder / "interpolation.npy", BYTES, 6)
    first = np.concatenate([teachers[0], own[0]])
    client.log_image(run_id, _picture(first, len(own[0])), key="interpolation", step=0)


def log_samples(client: "MlflowClient", run_id: str, row: Row, key: str, step: int) -> None:
    """Log a student's images from the first noises as the image `key` at a step."""
    shown = read_array(Paths(row.run.spec).result(row.run.student, row.run.seed) / "shown.npy", BYTES, 4)
    client.log_image(run_id, _picture(shown[:SHOWN], COLUMNS), key=key, step=step)


def _picture(images: np.ndarray, columns: int) -> Image.Image:
    picture = grid(reduced(np.asarray(images), MOST_PIXELS), columns).convert("RGBA")
    white = Image.new("RGBA", picture.size, "white")
    white.alpha_composite(picture)
    return white.convert("RGB")
