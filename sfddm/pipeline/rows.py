"""The figures of a spec's runs, as report and tracking read them."""

from typing import Any

from attrs import frozen

from sfddm.errors import UserError
from sfddm.pipeline.params import require_current
from sfddm.pipeline.paths import Paths
from sfddm.runtime.files import digest
from sfddm.spec.experiment import Run, Spec
from sfddm.spec.parse import nearest, read_mapping, unstructure
from sfddm.spec.read import example_names, load_spec, not_active, spec_names


@frozen(kw_only=True)
class Row:
    """One run with its figures."""

    run: Run
    metrics: dict[str, Any]
    """The same at every repetition."""
    timing: dict[str, Any]
    """Times of sampling. Measured, so never the same twice."""
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


def has_results(spec: Spec, run: Run) -> bool:
    """Whether a run has been evaluated here."""
    return (Paths(spec.name).result(run.student, run.seed) / "metrics.json").exists()


def load_row(spec: Spec, run: Run) -> Row:
    """One run's row.

    Raises:
        UserError: it has not been evaluated yet.
    """
    folder = Paths(spec.name).result(run.student, run.seed)
    if not has_results(spec, run):
        require_current()
        raise UserError(f"{run.name} has not been evaluated: run `sfddm run {spec.name}`.")
    metrics = dict(read_mapping(folder / "metrics.json"))
    key = digest({"spec": resolved(spec, run), "metrics": metrics})[:16]
    return Row(
        run=run,
        metrics=metrics,
        timing=dict(read_mapping(folder / "timing.json")),
        training=dict(read_mapping(Paths(spec.name).timing(spec.trained(run.student), run.seed))),
        content_key=key,
    )


def resolved(spec: Spec, run: Run) -> dict[str, Any]:
    """What one run depends on, in plain data: the spec with this student and this seed alone."""
    return section_of(unstructure(spec), run.student, run.seed)


def section_of(content: dict[str, Any], student: str, seed: int) -> dict[str, Any]:
    """The part of a spec, given in plain data, that one run depends on."""
    kept = {section: content[section] for section in ("version", "name", "data", "teacher", "evaluation")}
    method = content["students"][student]["method"]
    names = [student, method["student"]] if method["kind"] == "resampled" else [student]
    return {**kept, "students": {name: {**content["students"][name], "seeds": [seed]} for name in names}}


def flatten(content: Any, prefix: str = "") -> dict[str, Any]:
    """Nested plain data as one level, the keys joined by dots; lists of plain values become text.

    Items of other lists go by their kind, if each has one of its own, or else by their position.
    """
    if isinstance(content, list) and any(isinstance(item, dict) for item in content):
        kinds = [item.get("kind") for item in content if isinstance(item, dict)]
        named = len(set(kinds)) == len(content) and None not in kinds
        content = dict(zip(kinds if named else map(str, range(len(content))), content, strict=True))
    if not isinstance(content, dict):
        text = " ".join(map(str, content)) if isinstance(content, list) else content
        return {prefix: text}
    flat: dict[str, Any] = {}
    for key, value in content.items():
        flat.update(flatten(value, f"{prefix}.{key}" if prefix else key))
    return flat


def find_run(name: str) -> tuple[Spec, Run]:
    """The run of that name, and its spec.

    Raises:
        UserError: no active spec has such a run.
    """
    known: list[str] = []
    active = spec_names()
    for stem in active:
        if not name.startswith(f"{stem}-"):
            known.append(f"{stem}-STUDENT-sSEED")
            continue
        spec = load_spec(stem)
        for run in spec.runs():
            if run.name == name:
                return spec, run
            known.append(run.name)
    owners = [stem for stem in {*active, *example_names()} if name.startswith(f"{stem}-")]
    if owners and (owner := max(owners, key=len)) not in active:
        raise not_active(owner)
    raise UserError(f"no run is called {name!r}{nearest(name, known)}")
