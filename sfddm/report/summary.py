"""The comparison in words, and the table of what the trainings took."""

from sfddm.report.table import Entry, Table, best_trained
from sfddm.spec.experiment import Spec
from sfddm.spec.students import Resampled, Trained


def headline(spec: Spec, table: Table) -> str:
    """A sentence on the comparison, and one on every number of steps that something was trained for, few first."""
    groups = [group for group in reversed(table.groups) if best_trained(group)]
    teacher = f"A {spec.teacher.timesteps}-step teacher of {spec.data.kind}"
    if not groups:
        return f"{teacher}, under {len(table.entries)} free samplers."
    trained = sum(not entry.free for group in groups for entry in group)
    students = "one student" if trained == 1 else f"{trained} students"
    few, many = groups[0][0].steps, groups[-1][0].steps
    steps = f"{few} to {_counted(many)}" if few < many else _counted(few)
    return " ".join([f"{teacher}, distilled into {students} of {steps}.", *map(_said, groups)])


def _counted(steps: int) -> str:
    return f"{steps} step{'' if steps == 1 else 's'}"


def _said(group: list[Entry]) -> str:
    """Who wins at a number of steps, and how the best student compares with its teacher."""
    student = best_trained(group)
    assert student is not None
    said = f"{student.student} has no rival" if student.verdict is None else _winner(group, student)
    return f"At {_counted(student.steps)} {said}; {student.student} is {_compared(student)}."


def _winner(group: list[Entry], student: Entry) -> str:
    """Who wins; a free sampler first, where no student is shown to be better."""
    free, trained = ([entry for entry in group if entry.free is wanted] for wanted in (True, False))
    rivals = [entry.student for entry in free if entry.verdict != "worse"]
    if rivals and all(entry.verdict == "worse" for entry in trained):
        return f"{rivals[0]}, a free sampler, is better than any student"
    if rivals:
        dearer = any(entry.over_budget and entry.verdict == "better" for entry in trained)
        return f"no student{' of usual cost' if dearer else ''} is shown to be better than {rivals[0]}, a free sampler"
    if not student.best:
        return "the scorers differ on who is best"
    if free:
        return f"{student.student} is better than every free sampler"
    equals = [entry.student for entry in trained if entry.verdict == "open" and not entry.over_budget]
    if equals:
        return f"{student.student} is not told apart from {' and '.join(equals)}"
    return f"{student.student} is best"


def _compared(student: Entry) -> str:
    """A student against its teacher, in words."""
    ratios = sorted(student.ratio(scorer) for scorer in student.panel)
    span = " to ".join(dict.fromkeys(f"{ratio:.2f}" for ratio in (ratios[0], ratios[-1])))
    words = {
        "better": "better than its teacher",
        "as good": "as good as its teacher",
        "worse": "worse than its teacher",
        "open": "not shown to be as good as its teacher",
        "scorers differ": "as good as its teacher to some scorers and worse to others",
    }
    return f"{words[student.against_teacher]} ({span} times its distance)"


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
