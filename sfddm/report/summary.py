"""The comparison in words, and the table of what the trainings took."""

from sfddm.report.table import Entry, Table, best_trained
from sfddm.spec.experiment import Spec
from sfddm.spec.students import Resampled, Trained


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


COLUMNS = ("student", "cache", "training", "total", "folds", "seconds", "peak MB", "device")
MEANING = (
    "cache, training, total: forward-equivalents. folds: trainings one after another, of equal cost. seconds: from the "
    "stored teacher to the stored student on this machine, whatever else it did meanwhile; trajectories that an "
    "earlier training left in the cache take no time again, though their forward-equivalents count. peak MB: largest "
    "memory of the process, or on a GPU of its tensors. Both are the highest of a student's seeds."
)


def cost_rows(spec: Spec, entries: list[Entry]) -> list[list[str]]:
    """The cells of each trained student."""
    return [_cells(entry) for entry in entries if isinstance(spec.students[entry.student].method, Trained)]


def resampled(spec: Spec) -> str:
    """A sentence on the students that are others on index sets of their own; empty if there are none."""
    pairs = [(name, student.method) for name, student in spec.students.items()]
    free = [f"{name} (of {method.student})" for name, method in pairs if isinstance(method, Resampled)]
    return f"Sampled from weights in this table, at no further cost: {', '.join(free)}." if free else ""


def _cells(entry: Entry) -> list[str]:
    cost = entry.rows[0].metrics["cost"]
    return [
        entry.label,
        *(f"{cost[part] / 1000:.0f} k" for part in ("cache", "training", "total")),
        str(cost["folds"]),
        f"{max(row.training['seconds'] for row in entry.rows):.0f}",
        f"{max(row.training['peak_memory_mb'] for row in entry.rows):.0f}",
        ", ".join(sorted({row.training["device"] for row in entry.rows})),
    ]
