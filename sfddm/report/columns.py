"""What the comparison says of each student: a column a figure, with what it means."""

from collections.abc import Callable
from statistics import fmean
from typing import Literal

from attrs import frozen

from sfddm.report.table import Entry

BEST, NO_DIFFERENCE = "best", "≈"
QUALITY, TEACHER, COST = "Quality", "Against the teacher", "Time and cost"


@frozen(kw_only=True)
class Column:
    """One figure of every student, of its training seeds together."""

    name: str
    group: str
    """What it is about; columns of one group stand together."""
    value: Callable[[Entry], float | None]
    """What rows are sorted by; None where there is nothing to sort by, or no finite value."""
    text: Callable[[Entry], str]
    """The figure as people read it."""
    note: str
    """What it means, with keys of `metrics.json` in braces; empty if another column's note says it."""
    terminal: bool
    """Whether it has room on a terminal of 80 columns."""


def _column(
    name: str, group: str, value: Callable[[Entry], float | None], form: str, note: str, terminal: bool = False
) -> Column:
    """A column whose text is its value in a `form` of Python's format strings."""

    def text(entry: Entry) -> str:
        found = value(entry)
        return "–" if found is None else form.format(found)

    return Column(name=name, group=group, value=value, text=text, note=note, terminal=terminal)


def _mean(key: str, part: Literal["metrics", "timing"] = "metrics") -> Callable[[Entry], float | None]:
    """The mean over training seeds of one key of `metrics.json` or `timing.json`; None where it is null."""

    def mean(entry: Entry) -> float | None:
        values = [getattr(row, part)[key] for row in entry.rows]
        return None if None in values else fmean(values)

    return mean


def _ratio(entry: Entry) -> float:
    return entry.distance / float(entry.rows[0].metrics["teacher_frechet_distance"])


def _path_ratio(entry: Entry) -> float:
    return fmean(row.metrics["path_length"] / row.metrics["teacher_path_length"] for row in entry.rows)


def _spread(entry: Entry) -> str:
    """The mean, and the lowest and highest of several seeds."""
    seeds = [row.metrics["frechet_distance"] for row in entry.rows]
    return f"{entry.distance:.3f}" + (f" [{min(seeds):.3f}, {max(seeds):.3f}]" if len(seeds) > 1 else "")


def _above_best(entry: Entry) -> float | None:
    return entry.above_best.estimate if entry.above_best else 0.0 if entry.best else None


def _compared(entry: Entry) -> str:
    found = entry.above_best
    if found is None:
        return BEST if entry.best else ""
    if not found.different:
        return NO_DIFFERENCE
    return f"{found.estimate:+.3f} ± {f'{found.half_width:.3f}'.removeprefix('0')}"


def _agreement(entry: Entry) -> str:
    return f"{100 * fmean(row.metrics['agreement'] for row in entry.rows):.1f} %"


def _cost(entry: Entry) -> float:
    return float(entry.rows[0].metrics["cost"]["total"])


def _cost_text(entry: Entry) -> str:
    return f"{_cost(entry) / 1000:.0f} k" if _cost(entry) else "free"


COLUMNS = (
    _column("T'", "", _mean("nfe"), "{:.0f}", "T': steps, which are network evaluations an image.", True),
    Column(
        name="distance",
        group=QUALITY,
        value=lambda entry: entry.distance,
        text=_spread,
        note="distance: Frechet distance to {real_images} real images in the features of {scorer}, "
        "n = {samples} images from the same noises (seed {noise_seed}) a row; mean [lowest, highest] over "
        "training seeds.",
        terminal=True,
    ),
    Column(
        name="vs best",
        group=QUALITY,
        value=_above_best,
        text=_compared,
        note="vs best: distance above the best row of the same T' with its 95 % interval, from {blocks} blocks of the "
        f"same noises, and from training seeds where there are several; {NO_DIFFERENCE}: the interval holds 0.",
        terminal=True,
    ),
    _column("ratio", QUALITY, _ratio, "{:.2f} x", "ratio: to the teacher's own distance.", True),
    _column(
        "at floor",
        QUALITY,
        _mean("frechet_distance_at_floor"),
        "{:.3f}",
        "at floor: distance of only {real_distance_samples} images. As many real ones are at {real_distance:.3f} from "
        "other real ones: that is the floor.",
    ),
    _column("KID", QUALITY, _mean("kernel_distance"), "{:.4f}", "KID: kernel distance in the same features."),
    _column(
        "precision",
        QUALITY,
        _mean("precision"),
        "{:.3f}",
        "precision, recall: share of images that lie among the real ones, and of real ones that lie among the images.",
    ),
    _column("recall", QUALITY, _mean("recall"), "{:.3f}", ""),
    _column("pixel", QUALITY, _mean("pixel_distance"), "{:.3f}", "pixel: Frechet distance of the pixels themselves."),
    Column(
        name="agrees",
        group=TEACHER,
        value=_mean("agreement"),
        text=_agreement,
        note="agrees: share of images in the class of the teacher's image from the same noise.",
        terminal=False,
    ),
    _column(
        "MSE",
        TEACHER,
        _mean("mse_to_teacher"),
        "{:.4f}",
        "MSE: mean squared error to the teacher's images from the same noises.",
        True,
    ),
    _column("PSNR", TEACHER, _mean("psnr"), "{:.1f}", "PSNR (dB), SSIM and cosine (of features): likewise."),
    _column("SSIM", TEACHER, _mean("ssim"), "{:.3f}", ""),
    _column("cosine", TEACHER, _mean("feature_cosine"), "{:.3f}", ""),
    _column("path", TEACHER, _path_ratio, "{:.2f} x", "path: length in features between noises, over the teacher's."),
    _column(
        "s/1000",
        COST,
        _mean("seconds_per_1000_images", "timing"),
        "{:.2f}",
        "s/1000: seconds a thousand images on this machine.",
    ),
    _column("latency", COST, _mean("latency_ms", "timing"), "{:.1f} ms", "latency: of a single image."),
    _column(
        "speed-up",
        COST,
        _mean("speed_up", "timing"),
        "{:.0f} x",
        "speed-up: against DDIM on all of the teacher's levels, timed on a few of them.",
    ),
    Column(
        name="cost",
        group=COST,
        value=_cost,
        text=_cost_text,
        note="cost in forward-equivalents: a forward pass of one image is 1, forward and backward 3.",
        terminal=True,
    ),
)
TERMINAL = tuple(column for column in COLUMNS if column.terminal)
