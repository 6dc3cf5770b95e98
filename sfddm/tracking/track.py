"""Everything that MLflow shows of a spec, from its results: what the stage `track` and `sfddm track` do."""

import os
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sfddm.errors import UserError
from sfddm.pipeline.lock import changes, lineage, remembering
from sfddm.pipeline.promotions import History, Promotion, read_history
from sfddm.pipeline.rows import Row, has_results, load_row
from sfddm.spec.experiment import Spec
from sfddm.spec.read import load_spec, spec_names
from sfddm.tracking.aliases import check_newest, set_aliases
from sfddm.tracking.live import CONTENT_KEY, teacher_name
from sfddm.tracking.record import delete_unfinished, find_runs, teacher_content_key, track_run, track_teacher
from sfddm.tracking.registry import register, versions_by_key
from sfddm.tracking.server import connect, experiment_id, users_errors
from sfddm.tracking.summary import track_summary

if TYPE_CHECKING:
    from mlflow import MlflowClient


def track_spec(client: "MlflowClient", spec: Spec, rows: list[Row]) -> int:
    """Bring all rows of a spec into MLflow, as `track_rows`, and its comparison."""
    new = track_rows(client, spec, rows)
    with users_errors():
        track_summary(client, spec, rows)
    return new


def track_rows(client: "MlflowClient", spec: Spec, rows: list[Row]) -> int:
    """Bring rows and the teacher's training into MLflow, and register the students that the spec marks.

    What is there already is left alone, what killed trainings left is deleted. Returns the number of runs that are new.

    Raises:
        UserError: MLflow does not answer, or refuses; what is there by then stays, and the next call goes on from it.
    """
    with users_errors():
        experiment = experiment_id(client, spec.name)
        found = find_runs(client, experiment)
        there = {run.data.tags[CONTENT_KEY]: str(run.info.run_id) for run in found if CONTENT_KEY in run.data.tags}
        key = teacher_content_key(spec)
        if key is not None and key not in there:
            there[key] = track_teacher(client, experiment, spec, key)
        missing = [row for row in rows if row.content_key not in there]
        for row in missing:
            there[row.content_key] = track_run(client, experiment, spec, row)
        _register(client, spec, rows, there)
        left = [run for run in found if run.info.run_id not in there.values()]
        delete_unfinished(client, left, {row.run.name for row in rows} | {teacher_name(spec)})
    return len(missing)


def _register(client: "MlflowClient", spec: Spec, rows: list[Row], runs: dict[str, str]) -> None:
    marked = [row for row in rows if row.run.student in spec.registry.students]
    if not marked:
        return
    versions = versions_by_key(client, spec.registry.model)
    for row in marked:
        if row.content_key not in versions:
            register(client, spec, row, runs[row.content_key])


def track(names: list[str]) -> Iterator[str]:
    """Bring specs (all active ones by default), versions and aliases into MLflow; says what it does, line by line.

    Raises:
        UserError: no such spec; MLflow does not answer, or knows of promotions that promotions.json has not.
    """
    specs = [load_spec(name) for name in names or spec_names()]
    client, history = connect(), read_history()
    check_newest(client, history)
    for spec in specs:
        rows, left_out = current_rows(spec)
        yield from left_out
        if rows:
            new = track_spec(client, spec, rows)
            yield f"{spec.name}: {len(rows)} of {len(spec.runs())} runs are in MLflow, {new} of them new"
    yield from _track_aliases(client, history)


def current_rows(spec: Spec) -> tuple[list[Row], list[str]]:
    """The runs whose results are still what dvc.lock says, and a line for each other one that has results."""
    rows, left_out, digest = list[Row](), list[str](), remembering()
    for run in spec.runs():
        if not has_results(spec, run):
            continue
        try:
            if found := changes(lineage(spec, run), digest):
                raise UserError(f"{found[0]}; run `dvc repro track@{spec.name}`")
            rows.append(load_row(spec, run))
        except UserError as error:
            left_out.append(f"{run.name} is left out: {error}")
    return rows, left_out


def _track_aliases(client: "MlflowClient", history: History) -> Iterator[str]:
    for model in history.models():
        missing = {promotion.content_key: promotion for promotion in set_aliases(client, history, model)}
        for promotion in missing.values():
            yield _restore(client, promotion)
        for promotion in set_aliases(client, history, model) if missing else ():
            yield f"models:/{model}@{promotion.alias} could not be set"
        for (of, alias), holder in history.holders().items():
            if of == model:
                yield f"models:/{model}@{alias} is {holder.run}, content {holder.content_key}"


def _restore(client: "MlflowClient", promotion: Promotion) -> str:
    """Register a student that is not what its spec makes today, from the commit that it was promoted at."""
    from sfddm.pipeline.git import worktree
    from sfddm.registry.workspace import fetch

    try:
        with worktree(promotion.commit) as folder:
            with _inside(folder):
                spec = load_spec(promotion.spec)
                run = next((run for run in spec.runs() if run.name == promotion.run), None)
                if run is None:
                    raise UserError(f"{promotion.commit} has no run {promotion.run}")
                entries = lineage(spec, run)
            fetch(folder, entries, list(entries))
            with _inside(folder):
                track_rows(client, spec, [load_row(spec, run)])
    except UserError as error:
        return f"{promotion.run} of commit {promotion.commit[:12]} is not to be had: {error}"
    return f"{promotion.run} was registered again from commit {promotion.commit[:12]}"


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    """Work in another checkout, with MLflow's own database and the scratch folder where they were."""
    before = os.environ.get("DVC_ROOT")
    os.environ["DVC_ROOT"] = before or str(Path.cwd())
    try:
        with chdir(folder):
            yield
    finally:
        if before is None:
            del os.environ["DVC_ROOT"]
