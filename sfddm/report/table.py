"""The comparison as a table: rows by number of steps, the seeds of a student in one row."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, median_high
from typing import Any

from attrs import evolve, frozen

from sfddm.evaluation.metrics import UNUSABLE, main_scorer, panel, part, usable
from sfddm.evaluation.statistics import (
    Difference,
    Measured,
    Verdict,
    against,
    agreed,
    margin_of,
    measured,
    paired_difference,
    relative,
    with_bias,
)
from sfddm.pipeline.rows import Row
from sfddm.spec.experiment import Spec
from sfddm.spec.students import Free

DISTANCE, TEACHERS = "frechet_distance", "teacher_frechet_distance"
BUDGET = 1.25
"""Rows that cost more than so many times the usual cost of their number of steps don't compete with the others."""

FAR = 3.0
"""A teacher at more than so many times the floor is a poor one, both with the bias of as many images."""
STEADY = 1.5
"""One computation's longest time over its shortest where times of different rows still compare; 1.4 in a quiet demo."""


@frozen(kw_only=True)
class Entry:
    """One student, compared with the others of as many steps."""

    student: str
    rows: list[Row]
    """One per training seed."""
    free: bool
    """Whether it is the teacher itself under another sampler."""
    over_budget: bool
    """Whether it cost more than the others of as many steps, and can't be called the best of them."""
    above_teacher: dict[str, Difference]
    """How much its distance is above the teacher's, to each scorer."""
    above_best: dict[str, Difference]
    """How much its distance is above that of the row that the others are compared with; empty for that row."""
    verdict: Verdict | None
    """What the scorers say of that. For that row itself: better, if it is the best; None if it is alone."""
    margin: float
    """The share of the teacher's distance that a student may be above it and still be as good."""
    like_free: "Entry | None" = None
    """For a student, the free sampler with the fewest steps that the scorers don't call worse."""
    free_is_better: bool = False
    """Whether all scorers call that one better."""

    @property
    def label(self) -> str:
        """The student's name, with its seeds where it has several."""
        return self.student + (f" ({len(self.rows)} seeds)" if len(self.rows) > 1 else "")

    @property
    def best(self) -> bool:
        """Whether no scorer prefers another row of as many steps."""
        return not self.above_best and self.verdict == "better"

    @property
    def steps(self) -> int:
        """Network evaluations per image: T' for solvers of one evaluation per step."""
        return int(self.rows[0].metrics["nfe"])

    @property
    def scorers(self) -> list[str]:
        """Those whose distances can be used."""
        return usable(self.rows[0].metrics)

    @property
    def is_teacher(self) -> bool:
        """Whether its images are the very ones that all are compared with."""
        return not any(row.metrics["mse_to_teacher"] for row in self.rows)

    def distance(self, scorer: str) -> float:
        """The mean Frechet distance of its seeds."""
        return fmean(part(row.metrics, scorer)[DISTANCE] for row in self.rows)

    def ratio(self, scorer: str) -> float | None:
        """The mean distance over the teacher's; None where the scorer doesn't tell the teacher from real images."""
        return relative(self.distance(scorer), _measured(self.rows[0], TEACHERS, scorer))

    def shown_ratio(self, scorer: str) -> str:
        """The ratio with two decimals."""
        ratio = self.ratio(scorer)
        return "–" if ratio is None else f"{ratio:.2f}"

    @property
    def against_teacher(self) -> Verdict:
        """Whether it is as good as the teacher, to all scorers."""
        return agreed(
            [
                against(self.above_teacher[scorer], margin_of(self.margin, _measured(self.rows[0], TEACHERS, scorer)))
                for scorer in self.scorers
            ]
        )


def entries_of(spec: Spec, rows: list[Row]) -> list[list[Entry]]:
    """One list of students for each number of steps, falling; in it the lowest distance to the main scorer first."""
    students: dict[str, list[Row]] = {}
    for row in rows:
        students.setdefault(row.run.student, []).append(row)
    groups: dict[int, dict[str, list[Row]]] = {}
    for name, seeds in students.items():
        groups.setdefault(seeds[0].metrics["nfe"], {})[name] = seeds
    found = [_group(spec, groups[nfe]) for nfe in sorted(groups, reverse=True)]
    free = [entry for group in reversed(found) for entry in group if entry.free]
    return [[entry if entry.free else _beside_free(entry, free) for entry in group] for group in found]


def _beside_free(student: Entry, free: list[Entry]) -> Entry:
    """The student with the first of some free samplers that is as good, as far as can be told."""
    said = ((other, agreed([against(found) for found in _above(other, student)])) for other in free)
    like = next(((other, verdict) for other, verdict in said if verdict not in ("worse", "not comparable")), None)
    return evolve(student, like_free=like[0], free_is_better=like[1] == "better") if like else student


def _above(one: Entry, other: Entry) -> list[Difference]:
    return [paired_difference(_distances(one.rows, name), _distances(other.rows, name)) for name in one.scorers]


def best_trained(group: list[Entry]) -> Entry | None:
    """The student with the lowest distance of those that were trained, at the usual cost if there is one."""
    trained = sorted((entry for entry in group if not entry.free), key=lambda entry: entry.over_budget)
    return trained[0] if trained else None


def first_of(group: list[Entry]) -> Entry:
    """The row that the others are compared with: lowest distance to the first scorer, and not over budget."""
    return next(entry for entry in group if not entry.above_best)


def _group(spec: Spec, students: dict[str, list[Row]]) -> list[Entry]:
    """The students of equal number of steps, each against the one that competes for best."""
    metrics = next(iter(students.values()))[0].metrics
    scorers, deciding, first = panel(metrics), usable(metrics), main_scorer(metrics)
    means = {name: fmean(part(row.metrics, first)[DISTANCE] for row in rows) for name, rows in students.items()}
    ordered = {name: students[name] for name in sorted(students, key=means.__getitem__)}
    over = _over_budget(ordered)
    candidate = next(name for name in ordered if name not in over)  # the one of usual cost never is
    others = len(ordered) - 1
    pairs = len(ordered) * others // 2  # the same figures choose the candidate, so it could have been any pair
    differences = {
        name: {
            scorer: paired_difference(_distances(rows, scorer), _distances(ordered[candidate], scorer), pairs)
            for scorer in scorers
        }
        for name, rows in ordered.items()
        if name != candidate
    }
    said = {name: [against(of[scorer]) for scorer in deciding] for name, of in differences.items()}
    preferred = any("better" in verdicts for name, verdicts in said.items() if name not in over)
    verdicts: dict[str, Verdict | None] = {name: agreed(of) for name, of in said.items()}
    leads: Verdict = "scorers differ" if preferred else "better" if deciding else "not comparable"
    verdicts[candidate] = leads if others else None
    return [
        Entry(
            student=name,
            rows=rows,
            free=isinstance(spec.students[name].method, Free),
            over_budget=name in over,
            above_teacher={scorer: _above_teacher(rows, scorer) for scorer in scorers},
            above_best=differences.get(name, {}),
            verdict=verdicts[name],
            margin=spec.evaluation.margin,
        )
        for name, rows in ordered.items()
    ]


def _over_budget(students: dict[str, list[Row]]) -> set[str]:
    """Those that cost more than what is usual among the trained ones."""
    costs = {name: rows[0].metrics["cost"] for name, rows in students.items()}
    trained = [cost["total"] for cost in costs.values() if cost["training"]]
    usual = median_high(trained) if trained else float("inf")
    return {name for name, cost in costs.items() if cost["total"] > BUDGET * usual}


def _above_teacher(rows: list[Row], scorer: str) -> Difference:
    return paired_difference(_distances(rows, scorer), [_measured(rows[0], TEACHERS, scorer)])


def _distances(rows: Sequence[Row], scorer: str) -> list[Measured]:
    return [_measured(row, DISTANCE, scorer) for row in rows]


def _measured(row: Row, key: str, scorer: str) -> Measured:
    found = measured(row.metrics, key, scorer)
    assert found is not None, "every run is evaluated with its jackknife"
    return found


@frozen(kw_only=True)
class Table:
    """The rows, and what they share."""

    groups: list[list[Entry]]
    """One list of rows for each number of steps, falling; in it the lowest distance first."""
    shared: dict[str, Any]
    """Some row's metrics.json: scorers, noises, samples and the teacher's metrics are the same in all."""
    basis: str
    """What all metrics depend on."""

    @property
    def entries(self) -> list[Entry]:
        """All rows in the table's order."""
        return [entry for group in self.groups for entry in group]

    @property
    def panel(self) -> list[str]:
        """The scorers."""
        return panel(self.shared)

    @property
    def warnings(self) -> list[str]:
        """What is amiss with the metrics, or with the teacher that they are relative to; empty where nothing is."""
        return [*cautions(self.shared), *(f"Beware: {warning}." for warning in self._poor_teacher())]

    def _poor_teacher(self) -> Iterator[str]:
        for scorer in usable(self.shared):
            floor, teachers = part(self.shared, scorer)["floor"], teacher_at_floor(self.shared, scorer)
            if teachers is not None and teachers > FAR * floor:
                yield (
                    f"{scorer}: the teacher's own distance is {teachers / floor:.0f} times that of other real images, "
                    "so rows that are as good as the teacher are as poor"
                )

    @property
    def warnings_of_times(self) -> list[str]:
        """What is amiss with the times, where they are shown: the teacher is timed beside every row, and is one and the
        same computation."""
        rows = (row for entry in self.entries for row in entry.rows)
        times = [float(row.timing["teacher_seconds_per_1000_images"]) for row in rows]
        if max(times) <= STEADY * min(times):
            return []
        return [
            "Beware: times don't compare between rows: the teacher, timed beside each of them, took "
            f"{_plain(min(times))} to {_plain(max(times))} s per thousand images, because the machine was busy, or "
            "they are of several machines."
        ]


def cautions(metrics: Mapping[str, Any]) -> list[str]:
    """What readers of an evaluation must know first: its notes, and what follows for verdicts."""
    deciding, noted = usable(metrics), list(metrics["notes"])
    if not deciding:
        noted.insert(0, f"nothing can be compared: {UNUSABLE}")
    elif left := [scorer for scorer in panel(metrics) if scorer not in deciding]:
        noted.insert(0, f"verdicts, advice and gates are without {' and '.join(left)}")
    return [f"Beware: {note}." for note in noted]


def _plain(seconds: float) -> str:
    return f"{seconds:.0f}" if seconds >= 100 else f"{seconds:.3g}"


def teacher_at_floor(metrics: Mapping[str, Any], scorer: str) -> float | None:
    """The teacher's distance with the bias that it would have of as few images as the floor; None without a floor."""
    found, images = measured(metrics, TEACHERS, scorer), part(metrics, scorer)["floor_images"]
    return with_bias(found, metrics["samples"] / images) if found and images else None


def make_table(spec: Spec, rows: list[Row]) -> Table:
    """The comparison of one spec, from the rows of all of its runs."""
    return Table(groups=entries_of(spec, rows), shared=rows[0].metrics, basis=_basis(spec))


def _basis(spec: Spec) -> str:
    timesteps, reference = spec.teacher.timesteps, spec.evaluation.reference
    levels = len(spec.levels_of(reference.index_set))
    return f"The teacher has {timesteps} levels, and its {reference.solver} on {levels} of them stands for all."
