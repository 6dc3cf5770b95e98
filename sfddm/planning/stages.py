"""The stages of a spec, what each rests on, and which of them DVC would not run again."""

from collections.abc import Mapping
from typing import Any

from sfddm.spec.experiment import Spec


def stages(spec: Spec) -> dict[str, list[str]]:
    """Every stage by DVC's name, in an order that it can be run in, with the stages whose outputs it reads."""
    data, scorer, teacher, reference = (f"{name}@{spec.name}" for name in ("data", "scorer", "teacher", "reference"))
    found = {data: [], scorer: [data], teacher: [data], reference: [teacher]}
    for run in spec.runs():
        parent = spec.parent(run)
        made = f"distill@{run.name}"
        found[made] = [data, f"distill@{spec.name}-{parent}" if parent else teacher]
        found[f"evaluate@{run.name}"] = [teacher, scorer, reference, made]
    for leaf in ("track", "report"):
        found[f"{leaf}@{spec.name}"] = [name for name in found if name.startswith(("distill@", "evaluate@"))]
    return found


def to_run(needs: Mapping[str, list[str]], changed: set[str]) -> set[str]:
    """The stages that will run: those that have changed, and all that read what such a stage writes.

    A stage that writes the bytes that were there before ends the chain, which can't be known yet: these are the most.
    """
    found = set(changed)
    while more := {name for name, reads in needs.items() if name not in found and found.intersection(reads)}:
        found |= more
    return found


def changed_stages(names: list[str]) -> set[str] | None:
    """The stages that DVC would run by their own inputs and outputs.

    Returns:
        Their names; None where DVC can't say, because it is not installed or is running.
    """
    try:
        from dvc.exceptions import DvcException
        from dvc.repo import Repo
    except ImportError:
        return None
    try:
        with Repo() as repo:
            status: dict[str, Any] = repo.status(targets=names)
    except DvcException:
        return None
    return set(status)
