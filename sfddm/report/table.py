"""The comparison as a table: rows by number of steps, the seeds of a student in one row."""

from statistics import fmean
from typing import Any

from attrs import frozen

from sfddm.evaluation.statistics import Difference, Distances, paired_difference
from sfddm.pipeline.rows import Row
from sfddm.report.columns import Column
from sfddm.spec.experiment import Spec
from sfddm.spec.students import Free


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
            free=isinstance(spec.students[name].method, Free),
        )
        for place, (name, rows) in enumerate(ordered)
    ]


@frozen(kw_only=True)
class Table:
    """The rows, and what they share."""

    groups: list[list[Entry]]
    """One list of rows for each number of steps, falling; in it the lowest distance first."""
    shared: dict[str, Any]
    """Some row's `metrics.json`: scorer, noises, samples and the teacher's figures are the same in all."""
    basis: str
    """What all figures rest on."""

    @property
    def entries(self) -> list[Entry]:
        """All rows in the table's order."""
        return [entry for group in self.groups for entry in group]

    @property
    def warnings(self) -> list[str]:
        """What the evaluation says is amiss with the figures; empty where nothing is."""
        return [f"Beware: {warning}." for warning in self.shared["notes"]]

    def notes(self, columns: tuple[Column, ...]) -> list[str]:
        """What these columns mean, with the figures that they rest on."""
        known = {**self.shared, "blocks": len(self.shared["frechet_blocks"])}
        return [*(column.note.format_map(known) for column in columns if column.note), self.basis]


def make_table(spec: Spec, rows: list[Row]) -> Table:
    """The comparison of one spec, from the rows of all of its runs."""
    return Table(groups=entries_of(spec, rows), shared=rows[0].metrics, basis=_basis(spec))


def _basis(spec: Spec) -> str:
    timesteps, reference = spec.teacher.timesteps, spec.evaluation.reference
    levels = len(spec.levels_of(reference.index_set))
    return f"The teacher has {timesteps} levels, and its {reference.solver} on {levels} of them stands for all."
