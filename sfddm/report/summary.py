"""The comparison in words: what was distilled, and what came nearest."""

from sfddm.report.entries import Entry, best_trained
from sfddm.report.table import Table
from sfddm.spec.experiment import Spec


def headline(spec: Spec, table: Table) -> str:
    """One or two sentences."""
    steps = [group[0].rows[0].metrics["nfe"] for group in table.groups if best_trained(group)]
    teacher = f"A {spec.teacher.timesteps}-step teacher of {spec.data.kind}"
    if not steps:
        return f"{teacher}, under {len(table.entries)} free samplers."
    span = f"{steps[-1]}" if len(steps) == 1 else f"{steps[-1]} to {steps[0]}"
    trained = [entry for group in table.groups for entry in group if not entry.free]
    return f"{teacher}, distilled into {len(trained)} students of {span} steps. {_nearest(trained)}"


def _nearest(trained: list[Entry]) -> str:
    """Which student has the lowest distance."""
    best = min(trained, key=lambda entry: entry.distance)
    ratio = best.distance / float(best.rows[0].metrics["teacher_frechet_distance"])
    steps = best.rows[0].metrics["nfe"]
    return (
        f"The lowest distance to real images is that of {best.student}, with {steps} network "
        f"evaluation{'' if steps == 1 else 's'} an image: {ratio:.2f} times the teacher's own."
    )
