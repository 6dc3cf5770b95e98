"""The columns of the comparison: what all scorers say together, and what each of them says."""

from collections.abc import Callable, Iterable, Mapping
from statistics import fmean
from typing import Any

from attrs import frozen

from sfddm.evaluation.metrics import COST, GROUPS, METRICS, QUALITY, Metric, part
from sfddm.evaluation.statistics import Difference, measured, standard_error
from sfddm.pipeline.rows import Row
from sfddm.report.table import BUDGET, TEACHERS, Entry, Table, teacher_at_floor

BEST, NO_DIFFERENCE = "best", "≈"
RATIO = "Distance, times the teacher's"
"""The heading over a column per scorer."""


@frozen(kw_only=True)
class Column:
    """One column of the table, over the training seeds of every student together."""

    name: str
    group: str
    """The heading above it; columns of one group are next to each other."""
    value: Callable[[Entry], float | None]
    """What rows are sorted by; None where there is nothing to sort by, or no finite value."""
    text: Callable[[Entry], str]
    meaning: str = ""
    """Explains it; empty if another column's meaning does."""
    terminal: bool = True
    """Whether it has room on a terminal of 80 characters."""
    words: bool = False
    """Whether it has words in place of numbers."""


def columns_of(table: Table) -> list[Column]:
    """What the main table shows: one ratio per scorer, what they say together, and what has nothing to do with them."""
    common = sorted((metric for metric in METRICS if metric.heading and not metric.judged), key=_place)
    steps, *others = (_column(metric) for metric in common)
    return [
        steps,
        *(_ratio(scorer, table.panel) for scorer in table.panel),
        VS_BEST,
        _vs_teacher(table.entries[0].margin),
        *others,
        FREE_RIVAL,
        COST_COLUMN,
    ]


def terminal_columns(table: Table) -> list[Column]:
    """Those of them that fit on a terminal."""
    return [column for column in columns_of(table) if column.terminal]


def columns_of_scorer(table: Table, scorer: str) -> list[Column]:
    """What one scorer says, with intervals, without what it says of no row or says twice."""
    shared = part(table.shared, scorer)
    twice = {"frechet_distance_at_floor"} if shared["floor_images"] == table.shared["samples"] else set()
    judged = [metric for metric in METRICS if metric.heading and metric.judged and metric.key not in twice]
    distance, *others = (_column(metric, scorer) for metric in sorted(judged, key=_place))
    said = [column for column in others if any(column.value(entry) is not None for entry in table.entries)]
    best = "the row that competes for best, with 95 % intervals that hold for all rows of a T' at once"
    return [
        distance,
        _above(scorer, "above best", lambda entry: entry.above_best, best),
        _above(scorer, "above teacher", lambda entry: entry.above_teacher, "the teacher's, with its 95 % interval"),
        *said,
    ]


def _place(metric: Metric) -> int:
    return GROUPS.index(metric.group)


def _column(metric: Metric, scorer: str | None = None) -> Column:
    def values(entry: Entry) -> list[float | None]:
        return [_value(metric, row, scorer) for row in entry.rows]

    def mean(entry: Entry) -> float | None:
        finite = [value for value in values(entry) if value is not None]
        return fmean(finite) if len(finite) == len(entry.rows) else None

    def text(entry: Entry) -> str:
        found = mean(entry)
        if found is None:
            return "–"
        shown = metric.form.format(metric.scale * found)
        if not metric.spread or len(entry.rows) == 1:
            return shown
        seeds = [metric.scale * value for value in values(entry) if value is not None]
        return f"{shown} [{metric.form.format(min(seeds))}, {metric.form.format(max(seeds))}]"

    return Column(
        name=metric.heading,
        group=metric.group,
        value=mean,
        text=text,
        meaning=metric.meaning,
        terminal=metric.terminal,
    )


def _value(metric: Metric, row: Row, scorer: str | None) -> float | None:
    """A metric of one run, relative to the teacher's if its column says so."""
    values = row.timing if metric.timed else part(row.metrics, scorer)
    value: float | None = values.get(metric.key)
    if value is None or not metric.relative_to:
        return value
    return value / float(values[metric.relative_to])


def _ratio(scorer: str, panel: list[str]) -> Column:
    meaning = (
        f"{', '.join(panel)}: Frechet distance to real images in that scorer's view, times the teacher's, both less "
        "the bias of few images; – where the teacher's is within its standard error of 0."
    )
    return Column(
        name=scorer,
        group=RATIO,
        value=lambda entry: entry.ratio(scorer),
        text=lambda entry: entry.shown_ratio(scorer),
        meaning=meaning if scorer == panel[0] else "",
    )


def _above(scorer: str, name: str, differences: Callable[[Entry], dict[str, Difference]], of: str) -> Column:
    def value(entry: Entry) -> float | None:
        found = differences(entry).get(scorer)
        return found.estimate if found else None

    def text(entry: Entry) -> str:
        found = differences(entry).get(scorer)
        return f"{found.estimate:+.3f} ± {f'{found.half_width:.3f}'.removeprefix('0')}" if found else ""

    return Column(name=name, group=QUALITY, value=value, text=text, meaning=f"{name}: distance above {of}.")


def _vs_best(entry: Entry) -> str:
    if entry.verdict is None:
        return ""
    word = {"better": BEST if entry.best else "better", "open": NO_DIFFERENCE}.get(entry.verdict, entry.verdict)
    return f"{word}, over budget" if entry.over_budget else word


ORDER = {"better": 0.0, "as good": 1.0, "open": 2.0, "scorers differ": 3.0, "worse": 4.0, "not comparable": 5.0}
"""Verdicts as rows are sorted by them."""
VS_BEST = Column(
    name="vs best",
    group="All scorers",
    value=lambda entry: ORDER[entry.verdict] if entry.verdict else None,
    text=_vs_best,
    words=True,
    meaning="vs best: against the row of the same T' with the lowest distance to the first scorer, by 95 % intervals "
    f"that hold for all of them at once. {BEST}: no scorer prefers another; worse: all say so; {NO_DIFFERENCE}: not "
    f"all tell them apart; scorers differ: one prefers what another doesn't. Rows that cost more than {BUDGET} times "
    "what is usual at their T' are over budget and don't compete. Scorers whose distances are wrong have no say.",
)


def _vs_teacher(margin: float) -> Column:
    return Column(
        name="vs teacher",
        group="All scorers",
        value=lambda entry: None if entry.is_teacher else ORDER[entry.against_teacher],
        text=_vs_teacher_text,
        words=True,
        meaning="vs teacher: better, if the whole 95 % interval of the distance above the teacher's is below 0; as "
        f"good, if it is below the margin of {margin:.0%} of the teacher's distance, even where it is above 0; worse, "
        "if it is above 0 otherwise. With one training seed this is said of that network, not of its method.",
    )


def _vs_teacher_text(entry: Entry) -> str:
    if entry.is_teacher:
        return ""
    return NO_DIFFERENCE if entry.against_teacher == "open" else entry.against_teacher


def _free_rival(entry: Entry) -> str:
    if entry.like_free is None:
        return ""
    said = f"{entry.like_free.student}, {entry.like_free.steps / entry.steps:.1f} x the steps"
    return f"better: {said}" if entry.free_is_better else said


FREE_RIVAL = Column(
    name="free rival",
    group=COST,
    value=lambda entry: entry.like_free.steps / entry.steps if entry.like_free else None,
    text=_free_rival,
    meaning="free rival: the free sampler with the fewest steps that the scorers don't call worse than the student, "
    "and how many times its steps that takes: above 1, what training saves. It may be far better; then that is said.",
    terminal=False,
)
COST_COLUMN = Column(
    name="cost",
    group=COST,
    value=lambda entry: float(entry.rows[0].metrics["cost"]["total"]),
    text=lambda entry: f"{cost / 1000:.0f} k" if (cost := entry.rows[0].metrics["cost"]["total"]) else "free",
    meaning="cost in forward-equivalents: a forward pass of one image is 1, forward and backward 3.",
)


def legend(table: Table) -> str:
    """The same in few words, for a terminal."""
    shared, margin = table.shared, table.entries[0].margin
    teachers = (f"{name} {_teachers(shared, name)}" for name in table.panel)
    return (
        f"T': steps. {', '.join(table.panel)}: Frechet distance, times the teacher's, both less the bias of few "
        "images; – where the teacher's is within its error of 0. vs best: against the best row of as many steps; vs "
        f"teacher: as good up to {margin:.0%} above the teacher. Both by 95 % intervals, where the scorers agree; "
        f"{NO_DIFFERENCE}: not told apart. MSE: to the teacher's images of the same noises. cost: of training, in "
        f"forward passes of an image. Rows are of {shared['samples']} images. The teacher's distances: "
        f"{', '.join(teachers)}. {table.basis}"
    )


def _teachers(metrics: Mapping[str, Any], scorer: str) -> str:
    found = measured(metrics, TEACHERS, scorer)
    assert found is not None
    return f"{found.whole:.3f} (standard error {standard_error(found):.3f})"


def explanations(table: Table, columns: Iterable[Column]) -> list[str]:
    """What these columns mean, and what their numbers depend on."""
    return [*(column.meaning for column in columns if column.meaning), table.basis]


def explanations_of_scorers(table: Table) -> list[str]:
    """What the columns of the scorers' own tables mean."""
    columns = (column for scorer in table.panel for column in columns_of_scorer(table, scorer))
    return list(dict.fromkeys(column.meaning for column in columns if column.meaning))


def basis_of_scorer(metrics: Mapping[str, Any], scorer: str) -> str:
    """What a scorer's distances depend on: its name, the real images, the teacher's distance and the floor."""
    shared = part(metrics, scorer)
    held_out = "held-out" if shared["held_out"] else "training"
    floor, few = "", shared["floor_images"]
    if few:
        floor = (
            f". With the bias of {few} images that would be about {teacher_at_floor(metrics, scorer):.3f}, where {few} "
            f"other real images, the floor, are at {shared['floor']:.3f}"
        )
    return (
        f"{shared['scorer']}; distances are to {shared['real_images']} {held_out} images. The teacher's "
        f"{metrics['samples']} images are at {_teachers(metrics, scorer)}{floor}."
    )
