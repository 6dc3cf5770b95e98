"""What the trainings took: forward-equivalents, folds, seconds and memory."""

from sfddm.report.table import by_student
from sfddm.results import Row, load_rows
from sfddm.spec.experiment import Spec
from sfddm.spec.methods import Resampled

COLUMNS = ("student", "cache", "training", "total", "folds", "seconds", "peak MB", "device")
NOTE = (
    "cache, training, total: forward-equivalents. folds: trainings one after another, of equal cost. seconds: from the "
    "stored teacher to the stored student on this machine, whatever else it did meanwhile; trajectories that an "
    "earlier training left in the cache take no time again, though their forward-equivalents count. peak MB: largest "
    "memory of the process, or on a GPU of its tensors. Both are the highest of a student's seeds."
)


def cost_lines(spec: Spec) -> list[str]:
    """Markdown lines: a row for each trained student, and which students cost nothing more; none if nothing is trained.

    Raises:
        UserError: a run has not been evaluated yet.
    """
    students = by_student(load_rows(spec))
    trained = {name: rows for name, rows in students.items() if _is_trained(spec, name, rows)}
    if not trained:
        return []
    body = [f"| {' | '.join(_cells(name, rows))} |" for name, rows in trained.items()]
    return [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|", *body, "", NOTE, *_resampled(spec)]


def _is_trained(spec: Spec, name: str, rows: list[Row]) -> bool:
    return rows[0].metrics["cost"]["folds"] > 0 and not isinstance(spec.students[name].method, Resampled)


def _cells(name: str, rows: list[Row]) -> list[str]:
    cost = rows[0].metrics["cost"]
    return [
        name + (f" ({len(rows)} seeds)" if len(rows) > 1 else ""),
        *(f"{cost[part] / 1000:.0f} k" for part in ("cache", "training", "total")),
        str(cost["folds"]),
        f"{max(row.training['seconds'] for row in rows):.0f}",
        f"{max(row.training['peak_memory_mb'] for row in rows):.0f}",
        ", ".join(sorted({row.training["device"] for row in rows})),
    ]


def _resampled(spec: Spec) -> list[str]:
    """A sentence on the students that are others on index sets of their own."""
    pairs = [(name, student.method) for name, student in spec.students.items()]
    free = [f"{name} (of {method.student})" for name, method in pairs if isinstance(method, Resampled)]
    return ["", f"Sampled from weights in this table, at no further cost: {', '.join(free)}."] if free else []
