"""The table of what the trainings took."""

from sfddm.report.table import Entry
from sfddm.spec.experiment import Spec
from sfddm.spec.students import Resampled, Trained

COLUMNS = ("student", "search", "cache", "training", "total", "folds", "seconds", "peak MB", "device")
MEANING = (
    "search (for the index set), cache, training, total: forward-equivalents. folds: trainings one after another, of "
    "equal cost. seconds: from the stored teacher to the stored student on this machine, whatever else it did "
    "meanwhile; trajectories that an earlier training left in the cache take no time again, though their "
    "forward-equivalents count. peak MB: largest memory of the process, or on a GPU of its tensors. Both are the "
    "highest of a student's seeds."
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
        *(f"{cost[part] / 1000:.0f} k" for part in ("search", "cache", "training", "total")),
        str(cost["folds"]),
        f"{max(row.training['seconds'] for row in entry.rows):.0f}",
        f"{max(row.training['peak_memory_mb'] for row in entry.rows):.0f}",
        ", ".join(sorted({row.training["device"] for row in entry.rows})),
    ]
