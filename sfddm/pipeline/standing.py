"""Where each run stands, as far as dvc.lock and the names of files tell: nothing is hashed, and DVC is not asked."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from attrs import frozen

from sfddm.pipeline.lock import Lineage, changed_inputs, known, outputs, stages_of
from sfddm.pipeline.promotions import History
from sfddm.spec.experiment import Run, Spec

State = Literal["made", "out of date", "not made"]


@frozen
class Standing:
    """Where one run stands."""

    run: Run
    state: State
    why: str
    """The first thing that is missing, or was changed since; empty where nothing is."""
    aliases: tuple[str, ...]
    """What promotions have made it."""


def standings(spec: Spec, history: History) -> list[Standing]:
    """Where each run of a spec stands."""
    return [Standing(run, *_state(spec, run), _aliases(run, history)) for run in spec.runs()]


def _state(spec: Spec, run: Run) -> tuple[State, str]:
    entries = known(spec, run)
    if missing := [name for name in stages_of(spec, run) if name not in entries]:
        return "not made", f"from {missing[0]} on"
    reasons = [*changed_inputs(entries), *_incomplete(entries), *_made_before(entries)]
    return ("out of date", reasons[0]) if reasons else ("made", "")


def _incomplete(entries: Lineage) -> Iterator[str]:
    """Outputs that are missing, and folders with fewer files than they had."""
    for entry in entries.values():
        for out in entry.get("outs", []):
            path, files = Path(out["path"]), out.get("nfiles", 0)
            if not path.exists():
                yield f"{path} is missing"
            elif files and (found := sum(file.is_file() for file in path.rglob("*"))) < files:
                yield f"{path} has {found} of {files} files"


def _made_before(entries: Lineage) -> list[str]:
    """Stages that were run with another output of an earlier stage than there is now."""
    locked = outputs(entries)
    return [
        f"{name} was run with another {dep['path']}"
        for name, entry in entries.items()
        for dep in entry.get("deps", [])
        if locked.get(dep["path"], dep["md5"]) != dep["md5"]
    ]


def _aliases(run: Run, history: History) -> tuple[str, ...]:
    holders = history.holders().items()
    return tuple(f"{alias} of {model}" for (model, alias), promotion in holders if promotion.run == run.name)
