"""Giving an alias to a student, and taking it away: first the file in git, from which MLflow's aliases follow."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import get_args

from sfddm.errors import UserError
from sfddm.pipeline.git import head, in_history, uncommitted
from sfddm.pipeline.lock import CODE, LOCK, changes, lineage
from sfddm.pipeline.promotions import PROMOTIONS, Alias, Demotion, Gate, History, Promotion, read_history
from sfddm.pipeline.rows import Row
from sfddm.registry.gates import remembered
from sfddm.runtime.locks import locked
from sfddm.runtime.machine import scratch
from sfddm.spec.experiment import Run, Spec
from sfddm.spec.parse import nearest

DEPENDS_ON = (*CODE, str(LOCK))
"""What a version depends on in addition to its spec; the whole package is stored with it."""
NAMED = 10
"""Files that an error names."""


@contextmanager
def deciding() -> Iterator[History]:
    """The history, which no other process of this clone changes within the `with` block.

    Raises:
        UserError: another process is promoting or demoting.
    """
    with locked(scratch() / "locks" / "promotions.lock", wait=False):
        yield read_history()


def check_marked(spec: Spec, run: Run) -> None:
    """Raises: UserError: the spec does not register the run's student."""
    if run.student not in spec.registry.students:
        raise UserError(
            f"{run.name} isn't registered: add {run.student!r} to registry.students in specs/{spec.name}.yaml and run "
            f"`dvc repro track@{spec.name}`. Registered: {', '.join(spec.registry.students) or 'none'}."
        )


def check_artifacts(spec: Spec, row: Row) -> None:
    """Raises: UserError: spec, code or outputs that the run depends on are not those of dvc.lock."""
    found = changes(lineage(spec, row.run))
    if found:
        raise UserError(
            f"{row.run.name} is not what dvc.lock describes:\n  " + "\n  ".join(found[:NAMED]) + "\n"
            f"`dvc checkout` brings outputs back; after a change of spec or code, `dvc repro track@{spec.name}` makes "
            "them anew."
        )


def check_committed(spec: Spec, row: Row) -> str:
    """The commit that has everything that the version depends on.

    Raises:
        UserError: some of it is not committed yet; with what to type.
    """
    left = uncommitted([*DEPENDS_ON, f"specs/{spec.name}.yaml"])
    commit = head()
    if left or commit is None:
        names = left or [*DEPENDS_ON, f"specs/{spec.name}.yaml"]
        listed = " ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
        added = " ".join(names if len(names) <= NAMED else sorted({name.partition("/")[0] for name in names}))
        raise UserError(
            f"{row.run.name} depends on what is not committed: {listed}\n"
            "A version can only be rebuilt from a commit. Type:\n"
            f"  git add {added}\n"
            f'  git commit -m "Results of {row.run.name}"\n'
            "and promote it again."
        )
    return commit


def standing(history: History, row: Row, model: str, alias: Alias) -> Promotion | None:
    """The promotion that gave a student its alias; None where it has not got it, or by a commit that this one lacks."""
    held = history.holders().get((model, alias))
    return held if held and held.content_key == row.content_key and in_history(held.commit) else None


def promote(history: History, spec: Spec, row: Row, alias: Alias, passed: list[Gate], commit: str) -> str:
    """Give the alias to the run's student as it is now, and return the number of its version in MLflow.

    Raises:
        UserError: the student isn't registered, or MLflow does not answer, or names another champion than the file.
    """
    from sfddm.registry.aliases import record
    from sfddm.tracking.versions import require_version

    version = require_version(spec, row)
    event = Promotion(
        kind="promotion",
        time=_now(),
        model=spec.registry.model,
        alias=alias,
        spec=spec.name,
        run=row.run.name,
        content_key=row.content_key,
        commit=commit,
        figures=remembered(row.metrics),
        gates=tuple(passed),
    )
    record(history, event)
    return version


def demote(history: History, name: str) -> list[Demotion]:
    """Take the alias `models:/NAME@ALIAS` from who has it, or every alias from the version `models:/NAME/VERSION`.

    Raises:
        UserError: no such model, alias or version; it has no alias; or MLflow does not answer.
    """
    from sfddm.registry.aliases import record
    from sfddm.tracking.versions import content_key

    model, alias, version = _parts(history, name)
    key = content_key(name) if version else None
    held = {
        which: holder
        for (of, which), holder in history.holders().items()
        if of == model and (alias is None or which == alias) and (key is None or holder.content_key == key)
    }
    if not held:
        raise UserError(f"{name} names no student now: `sfddm history {model}` shows what was promoted.")
    commit, done = head() or "", list[Demotion]()
    for holder in held.values():
        event = Demotion(kind="demotion", time=_now(), model=model, alias=holder.alias, run=holder.run,
                         content_key=holder.content_key, commit=commit)  # fmt: skip
        history = record(history, event)
        done.append(event)
    return done


def _parts(history: History, name: str) -> tuple[str, str | None, str | None]:
    """Model, and alias or version."""
    found = re.fullmatch(r"models:/([^@/]+)(?:@(.+)|/([0-9]+))", name)
    if found is None:
        raise UserError(f"{name}: expected models:/NAME@ALIAS or models:/NAME/VERSION.")
    model, alias, version = found.groups()
    if model not in history.models():
        raise UserError(
            f"{name}: {PROMOTIONS} has no promotion of a model {model!r}{nearest(model, history.models())}\n"
            "`sfddm track` makes MLflow's aliases follow the file."
        )
    if alias is not None and alias not in get_args(Alias):
        raise UserError(f"{name}: no alias is called {alias!r}{nearest(alias, get_args(Alias))}")
    return model, alias, version


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
