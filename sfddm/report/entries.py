"""The students of a comparison, grouped by number of steps, seeds of one student together."""

from statistics import fmean

from attrs import frozen

from sfddm.evaluation.paired import Difference, Distances, paired_difference
from sfddm.pipeline.rows import Row
from sfddm.spec.experiment import Spec
from sfddm.spec.students import FREE


@frozen(kw_only=True)
class Entry:
    """One student and how it stands among those of equal number of steps."""

    student: str
    rows: list[Row]
    """One a training seed."""
    above_best: Difference | None
    """How much its distance is above that of the best; None if it is the best, or alone."""
    best: bool
    """Whether its distance is the lowest of several."""
    free: bool
    """Whether it is the teacher itself under another sampler."""

    @property
    def label(self) -> str:
        """The student's name, with its seeds where it has several."""
        return self.student + (f" ({len(self.rows)} seeds)" if len(self.rows) > 1 else "")

    @property
    def distance(self) -> float:
        """The mean Frechet distance of its seeds."""
        return fmean(row.metrics["frechet_distance"] for row in self.rows)


def entries_of(spec: Spec, rows: list[Row]) -> list[list[Entry]]:
    """One list of students for each number of steps, falling; in it the lowest distance first."""
    students: dict[str, list[Row]] = {}
    for row in rows:
        students.setdefault(row.run.student, []).append(row)
    groups: dict[int, dict[str, list[Row]]] = {}
    for name, seeds in students.items():
        groups.setdefault(seeds[0].metrics["nfe"], {})[name] = seeds
    return [_group(spec, groups[nfe]) for nfe in sorted(groups, reverse=True)]


def best_trained(group: list[Entry]) -> Entry | None:
    """The student with the lowest distance of those that were trained."""
    return next((entry for entry in group if not entry.free), None)


def distances(rows: list[Row]) -> list[Distances]:
    """What differences between Frechet distances are taken from."""
    return [
        Distances(whole=row.metrics["frechet_distance"], blocks=tuple(row.metrics["frechet_blocks"])) for row in rows
    ]


def _group(spec: Spec, students: dict[str, list[Row]]) -> list[Entry]:
    """The students of equal number of steps, each against the best of them."""
    ordered = sorted(students.items(), key=lambda item: fmean(row.metrics["frechet_distance"] for row in item[1]))
    best = distances(ordered[0][1])
    return [
        Entry(
            student=name,
            rows=rows,
            above_best=paired_difference(distances(rows), best) if place else None,
            best=place == 0 and len(ordered) > 1,
            free=isinstance(spec.students[name].method, FREE),
        )
        for place, (name, rows) in enumerate(ordered)
    ]
