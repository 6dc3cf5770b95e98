"""Filling MLflow with what it lacks of runs, versions and aliases: what `sfddm track` does."""

import os
from collections.abc import Iterable, Iterator
from contextlib import chdir, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from sfddm.errors import UserError
from sfddm.pipeline.git import worktree
from sfddm.pipeline.lock import changes, lineage, md5
from sfddm.pipeline.promotions import History, Promotion, read_history
from sfddm.pipeline.rows import Row, has_results, load_row
from sfddm.registry.aliases import check_newest, newer, set_aliases
from sfddm.registry.workspace import fetch
from sfddm.spec.experiment import Spec
from sfddm.spec.read import load_spec, spec_names
from sfddm.tracking.server import connect
from sfddm.tracking.track import track_rows, track_spec

if TYPE_CHECKING:
    from mlflow import MlflowClient


def track(names: list[str], overrule: bool = False) -> Iterator[str]:
    """Bring specs (all active ones by default), versions and aliases into MLflow; says what it does, line by line.

    `overrule` makes MLflow forget promotions that promotions.json lacks.

    Raises:
        UserError: no such spec; MLflow does not answer, or shows promotions that promotions.json lacks.
    """
    specs = [load_spec(name) for name in names or spec_names()]
    client, history = connect(), read_history()
    models = sorted({*history.models(), *(spec.registry.model for spec in specs)})
    if not overrule:
        check_newest(client, history, models)
    for spec in specs:
        rows, left_out = _current_rows(spec)
        yield from left_out
        if rows:
            new = track_spec(client, spec, rows)
            yield f"{spec.name}: {len(rows)} of {len(spec.runs())} runs are in MLflow, {new} of them new"
    yield from _track_aliases(client, history, models)


def _current_rows(spec: Spec) -> tuple[list[Row], list[str]]:
    """The runs whose results are still those of dvc.lock, and a line for each other run that has results."""
    rows, left_out, digest = list[Row](), list[str](), cache(md5)
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


def _track_aliases(client: "MlflowClient", history: History, models: Iterable[str]) -> Iterator[str]:
    for model in models:
        for line in newer(client, history, model):
            yield f"{model}, taken back: {line}"
        missing = {promotion.content_key: promotion for promotion in set_aliases(client, history, model)}
        for promotion in missing.values():
            yield _restore(client, promotion)
        unset = set_aliases(client, history, model) if missing else []
        for (of, alias), holder in history.holders().items():
            name = f"models:/{model}@{alias}"
            if holder in unset:
                yield f"{name} names nothing: promote another student, or `sfddm demote {name}`"
            elif of == model:
                yield f"{name} is {holder.run}, content {holder.content_key}"


def _restore(client: "MlflowClient", promotion: Promotion) -> str:
    """Register a student that its spec no longer makes, from the commit at which it was promoted."""
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
        return f"{promotion.run} of commit {promotion.commit[:12]} is not available: {error}"
    return f"{promotion.run} was registered again from commit {promotion.commit[:12]}"


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    """Work in another checkout, with MLflow's database and the scratch folder of this one."""
    before = os.environ.get("DVC_ROOT")
    os.environ["DVC_ROOT"] = before or str(Path.cwd())
    try:
        with chdir(folder):
            yield
    finally:
        if before is None:
            del os.environ["DVC_ROOT"]
