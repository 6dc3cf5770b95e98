"""The figures of a spec's runs, as report and tracking read them."""

from typing import Any

from attrs import frozen

from sfddm.errors import UserError
from sfddm.files import digest
from sfddm.paths import Paths
from sfddm.spec.experiment import Run, Spec
from sfddm.spec.methods import Resampled
from sfddm.spec.read import load_spec, spec_names
from sfddm.spec.stored import read_mapping
from sfddm.spec.structure import nearest, unstructure
from sfddm.spec.sync import require_current


@frozen(kw_only=True)
class Row:
    """One run with its figures."""

    run: Run
    metrics: dict[str, Any]
    """The same at every repetition."""
    timing: dict[str, Any]
    """Of sampling. Measured, so never the same twice."""
    training: dict[str, Any]
    """Seconds, peak memory and device of making its weights; a resampled student has those of the one it samples."""
    content_key: str
    """Hash of the spec's sections and of the repeatable figures: equal keys, equal models."""


def load_rows(spec: Spec) -> list[Row]:
    """The rows of all of a spec's runs.

    Raises:
        UserError: some have not been evaluated yet.
    """
    return [load_row(spec, run) for run in spec.runs()]


def load_row(spec: Spec, run: Run) -> Row:
    """One run's row.

    Raises:
        UserError: it has not been evaluated yet.
    """
    folder = Paths(spec.name).result(run.student, run.seed)
    if not (folder / "metrics.json").exists():
        require_current()
        raise UserError(f"{run.name} has not been evaluated: run `dvc repro report@{spec.name}`.")
    metrics = dict(read_mapping(folder / "metrics.json"))
    key = digest({"spec": resolved(spec, run), "metrics": metrics})[:16]
    method = spec.students[run.student].method
    trained = method.student if isinstance(method, Resampled) else run.student
    return Row(
        run=run,
        metrics=metrics,
        timing=dict(read_mapping(folder / "timing.json")),
        training=dict(read_mapping(Paths(spec.name).timing(trained, run.seed))),
        content_key=key,
    )


def resolved(spec: Spec, run: Run) -> dict[str, Any]:
    """What one run depends on, in plain data: the spec with this student and this seed alone."""
    content: dict[str, Any] = unstructure(spec)
    kept = {section: content[section] for section in ("version", "name", "data", "teacher", "evaluation")}
    parent = spec.students[run.student].method
    names = [run.student, parent.student] if isinstance(parent, Resampled) else [run.student]
    return {**kept, "students": {name: {**content["students"][name], "seeds": [run.seed]} for name in names}}


def find_run(name: str) -> tuple[Spec, Run]:
    """The run of that name, and its spec.

    Raises:
        UserError: no spec has such a run.
    """
    known: list[str] = []
    for stem in spec_names():
        if not name.startswith(f"{stem}-"):
            known.append(f"{stem}-STUDENT-sSEED")
            continue
        spec = load_spec(stem)
        for run in spec.runs():
            if run.name == name:
                return spec, run
            known.append(run.name)
    raise UserError(f"no run is called {name!r}{nearest(name, known)}")
