"""What to use at each number of steps: a free sampler, wherever no student is shown to be better."""

from attrs import frozen

from sfddm.report.columns import COST_COLUMN
from sfddm.report.table import Entry, Table, best_trained, first_of
from sfddm.spec.data import Folder
from sfddm.spec.experiment import Spec

COLUMNS = ("steps", "use", "cost", "why")
QUALITY = {
    "better": "better than the teacher",
    "as good": "as good as the teacher",
    "worse": "worse than the teacher",
    "open": "not shown to be as good as the teacher",
    "scorers differ": "as good as the teacher to some scorers and worse to others",
    "not comparable": "not comparable with the teacher",
}
"""What a verdict says of a row."""


@frozen(kw_only=True)
class Advice:
    """What to use at one number of steps."""

    use: Entry
    why: str

    @property
    def price(self) -> str:
        """What making it takes."""
        return COST_COLUMN.text(self.use)

    def cells(self) -> list[str]:
        """A row under COLUMNS."""
        return [str(self.use.steps), self.use.student, self.price, f"{self.why}; {compared(self.use)}"]


def advice(table: Table) -> list[Advice]:
    """For every number of steps, few first."""
    return [_advice(group) for group in reversed(table.groups)]


def headline(spec: Spec, table: Table) -> str:
    """A sentence on what is compared, and one on the fewest steps at the teacher's quality."""
    trained = [entry for entry in table.entries if not entry.free]
    teacher = f"A {spec.teacher.timesteps}-step teacher of {data_name(spec)}"
    if not trained:
        return f"{teacher}, under {len(table.entries)} free samplers. {_fewest(table)}"
    students = "one student" if len(trained) == 1 else f"{len(trained)} students"
    few, many = trained[-1].steps, trained[0].steps
    steps = f"{few} to {_counted(many)}" if few < many else _counted(few)
    return f"{teacher}, distilled into {students} of {steps}. {_fewest(table)}"


def data_name(spec: Spec) -> str:
    """What its data are called: a folder by its path."""
    return spec.data.path if isinstance(spec.data, Folder) else spec.data.kind


def _fewest(table: Table) -> str:
    good = [entry for group in reversed(table.groups) for entry in group if _good(entry)]
    if not good:
        return "No row is shown to be as good as the teacher."
    advised = [each.use for each in advice(table)]
    first = min(good, key=lambda entry: (entry.steps, entry not in advised, not entry.free))
    if first.is_teacher:
        return f"No row of fewer steps than the teacher's own {first.steps} is shown to be as good."
    said = f"As good as the teacher with the fewest steps: {first.student}, {_counted(first.steps)}"
    if first.free:
        return f"{said}, without any training."
    free = next((f"{each.student}, {_counted(each.steps)}" for each in good if each.free), "no row")
    price = COST_COLUMN.text(first)
    return f"{said}, for {price} forward-equivalents of training; without any training: {free}."


def _good(entry: Entry) -> bool:
    """Whether a row is shown to be as good as the teacher."""
    return entry.against_teacher in ("better", "as good")


def compared(entry: Entry) -> str:
    """A row against the teacher, in words."""
    if entry.is_teacher:
        return "it is the teacher itself"
    ratios = sorted(ratio for scorer in entry.scorers if (ratio := entry.ratio(scorer)) is not None)
    if not ratios:
        return QUALITY[entry.against_teacher]
    span = " to ".join(dict.fromkeys(f"{ratio:.2f}" for ratio in (ratios[0], ratios[-1])))
    return f"{QUALITY[entry.against_teacher]} ({span} times its distance)"


def _advice(group: list[Entry]) -> Advice:
    free, trained = ([entry for entry in group if entry.free is wanted] for wanted in (True, False))
    rivals = [entry for entry in free if entry.verdict != "worse"]
    if not rivals:
        return Advice(use=first_of(group), why=_why_trained(group))
    student = best_trained(group)
    if student is None:
        return Advice(use=rivals[0], why="no student has as many steps")
    if all(entry.verdict == "worse" for entry in trained):
        return Advice(use=rivals[0], why="better than any student")
    dearer = any(entry.over_budget and entry.verdict == "better" for entry in trained)
    return Advice(use=rivals[0], why=f"no student{' of usual cost' if dearer else ''} is shown to be better")


def _why_trained(group: list[Entry]) -> str:
    """Why a student is used: no free sampler of as many steps is as good, or there is none."""
    student, said = first_of(group), []
    if any(entry.free for entry in group):
        said.append("better than every free sampler")
    if student.verdict == "scorers differ":
        said.append("though the scorers differ on the best student")
    untold = [entry for entry in group if entry.verdict in ("open", "not comparable") and not entry.over_budget]
    equals = [entry.student for entry in untold if entry is not student]
    if equals:
        said.append(f"not told apart from {' and '.join(equals)}")
    return ", ".join(said) or ("best" if student.best else "no rival")


def _counted(steps: int) -> str:
    return f"{steps} step{'' if steps == 1 else 's'}"
