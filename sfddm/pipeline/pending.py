"""The stages of a spec, and those of them that would run."""

import logging

from sfddm.pipeline.lock import stages_of
from sfddm.spec.experiment import Spec


def stages(spec: Spec) -> list[str]:
    """Every stage of a spec by DVC's name, in an order in which they can run."""
    of_runs = dict.fromkeys(name for run in spec.runs() for name in stages_of(spec, run))
    return [*of_runs, f"track@{spec.name}", f"report@{spec.name}"]


def to_run(spec: Spec) -> set[str] | None:
    """The stages that `dvc repro` would run, and all that read what those write.

    A stage that writes the bytes that were there before ends the chain, which can't be known yet: these are the most.

    Returns:
        Their names; None where DVC can't say, because it is not installed or is running.
    """
    try:
        from dvc.exceptions import DvcException
        from dvc.repo import Repo
    except ImportError:
        return None
    logging.getLogger("dvc").setLevel(logging.CRITICAL)
    try:
        with Repo() as repo:
            found = repo.reproduce(targets=stages(spec)[-2:], dry=True, force_downstream=True)
    except DvcException:
        return None
    return {stage.addressing for stage in found}
