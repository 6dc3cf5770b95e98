"""What is stored with a version so that it can be rebuilt, readable without this repository."""

from functools import cache
from typing import Any

from sfddm.errors import UserError
from sfddm.pipeline.git import head, uncommitted
from sfddm.pipeline.lock import CODE, REQUIREMENTS, files_of, lineage
from sfddm.pipeline.paths import Paths
from sfddm.pipeline.rows import Row, resolved
from sfddm.runtime.files import digest_file
from sfddm.spec.experiment import Spec
from sfddm.spec.parse import read_mapping


def provenance(spec: Spec, row: Row) -> dict[str, Any]:
    """The files of a version's folder `provenance`, each as plain data.

    spec.yaml is the part of the spec that the run depends on, and lineage.json the entries of dvc.lock. metrics.json
    has its metrics. origin.json says where it was made: commit, lock file, the machine of every stage whose last bits
    depend on one, and the MD5 of each of the student's files, from which DVC's hash of the folder is computed.
    """
    return {
        "spec.yaml": resolved(spec, row.run),
        "lineage.json": lineage(spec, row.run),
        "metrics.json": row.metrics,
        "origin.json": {
            "commit": _commit(spec.name),
            "requirements_lock": digest_file(REQUIREMENTS) if REQUIREMENTS.exists() else "",
            "machines": {
                "teacher": read_mapping(Paths(spec.name).teacher_timing)["machine"],
                "student": row.training["machine"],
                "evaluation": row.timing["machine"],
            },
            "student": files_of(Paths(spec.name).student(row.run.student, row.run.seed)),
        },
    }


@cache
def _commit(spec: str) -> str:
    """The commit that has this spec and this code; empty where there is none yet. Asked once per process and spec."""
    try:
        return "" if uncommitted([*CODE, f"specs/{spec}.yaml"]) else head() or ""
    except UserError:
        return ""
