"""The columns of the comparison: every metric with a heading, and those that follow from the Frechet distance."""

from collections.abc import Callable, Iterable
from statistics import fmean

from attrs import frozen

from sfddm.evaluation.metrics import COST, GROUPS, METRICS, QUALITY, Metric
from sfddm.pipeline.rows import Row
from sfddm.report.table import Entry, Table

BEST, NO_DIFFERENCE = "best", "≈"


@frozen(kw_only=True)
class Column:
    """One column of the table, over the training seeds of every student together."""

    name: str
    group: str
    """The heading above it; columns of one group are next to each other."""
    value: Callable[[Entry], float | None]
    """What rows are sorted by; None where there is nothing to sort by, or no finite value."""
    text: Callable[[Entry], str]
    meaning: str
    """Explains it, with keys of metrics.json in braces; empty if another column's meaning does."""
    terminal: bool
    """Whether it has room on a terminal of 80 characters."""


def _column(metric: Metric) -> Column:
    def values(entry: Entry) -> list[float | None]:
        return [_value(metric, row) for row in entry.rows]

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


def _value(metric: Metric, row: Row) -> float | None:
    """A metric of one run, relative to the teacher's if its column says so."""
    value: float | None = (row.timing if metric.timed else row.metrics)[metric.key]
    if value is None or not metric.relative_to:
        return value
    return value / float(row.metrics[metric.relative_to])


def _above_best(entry: Entry) -> float | None:
    return entry.above_best.estimate if entry.above_best else 0.0 if entry.best else None


def _above_best_text(entry: Entry) -> str:
    found = entry.above_best
    if found is None:
        return BEST if entry.best else ""
    if not found.different:
        return NO_DIFFERENCE
    return f"{found.estimate:+.3f} ± {f'{found.half_width:.3f}'.removeprefix('0')}"


def _ratio(entry: Entry) -> float:
    return entry.distance / float(entry.rows[0].metrics["teacher_frechet_distance"])


def _cost(entry: Entry) -> float:
    return float(entry.rows[0].metrics["cost"]["total"])


VS_BEST = Column(
    name="vs best",
    group=QUALITY,
    value=_above_best,
    text=_above_best_text,
    meaning="vs best: distance above the best row of the same T' with its 95 % interval, from {blocks} blocks of the "
    f"same noises, and from training seeds where there are several; {NO_DIFFERENCE}: the interval holds 0.",
    terminal=True,
)
RATIO = Column(
    name="ratio",
    group=QUALITY,
    value=_ratio,
    text=lambda entry: f"{_ratio(entry):.2f} x",
    meaning="ratio: to the teacher's own distance.",
    terminal=True,
)
COST_COLUMN = Column(
    name="cost",
    group=COST,
    value=_cost,
    text=lambda entry: f"{_cost(entry) / 1000:.0f} k" if _cost(entry) else "free",
    meaning="cost in forward-equivalents: a forward pass of one image is 1, forward and backward 3.",
    terminal=True,
)
AFTER = {"frechet_distance": (VS_BEST, RATIO)}
"""Columns that follow that of a metric."""
COLUMNS = (
    *(
        column
        for metric in sorted(METRICS, key=lambda metric: GROUPS.index(metric.group))
        if metric.heading
        for column in (_column(metric), *AFTER.get(metric.key, ()))
    ),
    COST_COLUMN,
)
TERMINAL = tuple(column for column in COLUMNS if column.terminal)


def explanations(table: Table, columns: Iterable[Column]) -> list[str]:
    """What these columns mean, and what their numbers depend on."""
    known = {**table.shared, "blocks": len(table.shared["frechet_blocks"])}
    return [*(column.meaning.format_map(known) for column in columns if column.meaning), table.basis]
