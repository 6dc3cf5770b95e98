"""Students become versions of MLflow's registered models, each with all that is needed to rebuild it."""

import tempfile
import warnings
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sfddm.errors import UserError
from sfddm.evaluation.metrics import panel, part
from sfddm.networks.layout import CONFIG
from sfddm.pipeline.git import head, uncommitted
from sfddm.pipeline.lock import CODE, REQUIREMENTS, files_of, lineage
from sfddm.pipeline.paths import Paths
from sfddm.pipeline.rows import Row, has_results, load_row, resolved
from sfddm.runtime.files import digest_file, read_json, to_yaml, write_json, write_text
from sfddm.spec.experiment import Spec
from sfddm.spec.parse import read_mapping
from sfddm.tracking.cards import model_card

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.models.model import ModelInfo

SERVED = ("attrs", "cattrs", "diffusers", "filelock", "numpy", "pillow", "rich", "ruamel.yaml", "safetensors", "torch")
"""What the served model imports; the library itself is stored with the version."""
SURROUNDINGS = ("mlflow.source.name", "mlflow.source.git.repoURL", "mlflow.user")
"""Tags that MLflow would set by itself, with paths, names, and the remote's address and its password."""


def register(client: "MlflowClient", spec: Spec, row: Row, run_id: str) -> None:
    """Make the run's student a version of the spec's model."""
    from mlflow.exceptions import MlflowException

    name = spec.registry.model
    try:
        client.get_registered_model(name)
    except MlflowException:
        client.create_registered_model(name)
    logged = _log_model(spec, row, run_id)
    tags = {
        "sfddm.content_key": row.content_key,
        "sfddm.run": row.run.name,
        "sfddm.student": row.run.student,
        **{
            f"sfddm.distance.{name}": f"{part(row.metrics, name)['frechet_distance']:.4f}"
            for name in panel(row.metrics)
        },
        "sfddm.nfe": str(row.metrics["nfe"]),
    }
    siblings = [load_row(spec, run) for run in spec.runs() if run.student == row.run.student and has_results(spec, run)]
    client.create_model_version(
        name,
        source=logged.model_uri,
        run_id=run_id,
        tags=tags,
        model_id=logged.model_id,
        description=model_card(spec, row, siblings, lineage(spec, row.run), run_id),
    )


def _log_model(spec: Spec, row: Row, run_id: str) -> "ModelInfo":
    """Store the student as an MLflow model made of code and safetensors; nothing is pickled."""
    import mlflow

    folder = Paths(spec.name).student(row.run.student, row.run.seed)
    package = Path(__file__).parents[1]
    with tempfile.TemporaryDirectory() as temporary:
        described = Path(temporary) / "provenance"
        described.mkdir()
        _write_provenance(described, spec, row)
        # MLflow recommends type hints and an example, from which it would guess the signature that is given here.
        # It sets filters of its own, so warnings are not ignored but recorded, and dropped.
        with mlflow.start_run(run_id=run_id), warnings.catch_warnings(record=True):
            return mlflow.pyfunc.log_model(
                name="student",
                python_model=str(package / "tracking" / "served.py"),
                artifacts={"student": str(folder), "provenance": str(described)},
                signature=_signature(folder),
                code_paths=[str(package)],
                pip_requirements=list(SERVED),
                tags=dict.fromkeys(SURROUNDINGS, ""),
            )


def _signature(folder: Path) -> Any:
    """Takes a request, as `sfddm.tracking.request` reads it, and returns images."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema, TensorSpec
    from mlflow.types.schema import Array

    config = read_json(folder / CONFIG)
    shape = (-1, config["in_channels"], *config["sample_size"])
    numbers = [ColSpec(DataType.long, name, required=False) for name in ("seed", "num", "steps", "class_label")]
    levels = ColSpec(Array(DataType.long), "index_set", required=False)
    return ModelSignature(inputs=Schema([*numbers, levels]), outputs=Schema([TensorSpec(np.dtype(np.uint8), shape)]))


def _write_provenance(folder: Path, spec: Spec, row: Row) -> None:
    """Write all that a version can be rebuilt from.

    spec.yaml is the part of the spec that the run depends on, and lineage.json the entries of dvc.lock. metrics.json
    has its metrics. origin.json says where it was made: commit, lock file, the machine of every stage whose last bits
    depend on one, and the MD5 of each of the student's files, from which DVC's hash of the folder is computed.
    """
    write_text(folder / "spec.yaml", to_yaml(resolved(spec, row.run)))
    write_json(folder / "lineage.json", lineage(spec, row.run))
    write_json(folder / "metrics.json", row.metrics)
    origin = {
        "commit": _commit(spec.name),
        "requirements_lock": digest_file(REQUIREMENTS) if REQUIREMENTS.exists() else "",
        "machines": {
            "teacher": read_mapping(Paths(spec.name).teacher_timing)["machine"],
            "student": row.training["machine"],
            "evaluation": row.timing["machine"],
        },
        "student": files_of(Paths(spec.name).student(row.run.student, row.run.seed)),
    }
    write_json(folder / "origin.json", origin)


@cache
def _commit(spec: str) -> str:
    """The commit that has this spec and this code; empty where there is none yet. Asked once per process and spec."""
    try:
        return "" if uncommitted([*CODE, f"specs/{spec}.yaml"]) else head() or ""
    except UserError:
        return ""
