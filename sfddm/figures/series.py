"""Students that belong together in a figure: NAME-tN are points of the series NAME, as is a student NAME itself."""

import re
from itertools import cycle

from attrs import frozen

from sfddm.figures.style import COLOURS, MARKERS
from sfddm.pipeline.rows import Row
from sfddm.spec.experiment import Spec
from sfddm.spec.students import FREE


@frozen(kw_only=True)
class Series:
    """Students of one name on several index sets, each with the rows of its training seeds."""

    name: str
    students: list[list[Row]]
    """By number of steps, rising."""
    free: bool
    """Whether all of it is the teacher under other samplers."""
    colour: str
    marker: str

    @property
    def label(self) -> str:
        """What a legend calls it."""
        return f"{self.name} (free)" if self.free else self.name


def series_of(spec: Spec, rows: list[Row]) -> list[Series]:
    """The series of a spec, in its order; every figure gives them the same colours.

    The teacher's own rows are left out: free samplers on at least as many levels as the reference. They stand for the
    teacher, and their many steps would push the students together.
    """
    most = len(spec.levels_of(spec.evaluation.reference.index_set))
    found: dict[str, dict[str, list[Row]]] = {}
    for row in rows:
        if not (is_free(spec, row.run.student) and row.metrics["nfe"] >= most):
            found.setdefault(series_name(row.run.student), {}).setdefault(row.run.student, []).append(row)
    return [
        Series(
            name=name,
            students=sorted(students.values(), key=lambda seeds: int(seeds[0].metrics["nfe"])),
            free=all(is_free(spec, student) for student in students),
            colour=colour,
            marker=marker,
        )
        for (name, students), colour, marker in zip(found.items(), cycle(COLOURS), cycle(MARKERS), strict=False)
    ]


def series_name(student: str) -> str:
    """The series that a student belongs to."""
    return re.sub(r"-t\d+$", "", student)


def is_free(spec: Spec, student: str) -> bool:
    """Whether the student is the teacher itself under another sampler."""
    return isinstance(spec.students[student].method, FREE)
