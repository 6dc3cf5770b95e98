"""A run's data, as MLflow lists it: with DVC's hash, which finds the bytes in any DVC remote."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient

CONTEXTS = {"data": "training", "reference": "evaluation"}
"""Stages whose outputs a run's figures come from, and what for."""


def log_datasets(client: "MlflowClient", run_id: str, spec_name: str, kind: str, lock: Mapping[str, Any]) -> None:
    """List the data set and the teacher's reference images among the inputs of a run.

    Args:
        client: of the tracking server.
        run_id: the run.
        spec_name: whose data it is.
        kind: of the data set.
        lock: what dvc.lock says of the stages, by name.
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
