"""The table of metrics: what evaluation says of a student, and where it is shown. A row adds a metric.

Report, terminal, `sfddm compare`, MLflow, model cards, gates and promotions all read this table. The values are
computed in `distances` and `similarity`, which give each one its key. The table imports no torch, so that what reads
it starts fast.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import frozen

QUALITY, TEACHER, COST = "Quality", "Against the teacher", "Time and cost"
GROUPS = ("", QUALITY, TEACHER, COST)
"""Headings over columns, in their order."""
PANEL, SCORERS = "panel", "scorers"
"""The keys of metrics.json with the names of the scorers in the spec's order, and with what each of them says."""


@frozen(kw_only=True)
class Metric:
    """One metric. It is not shown where it has no words."""

    key: str
    """Its key in metrics.json, or in timing.json if it is timed."""
    timed: bool = False
    judged: bool = False
    """Whether each scorer of the panel has its own: then the key is in the scorer's part of metrics.json."""
    group: str
    heading: str = ""
    """The heading of its column in the report, on the terminal and in MLflow's descriptions."""
    form: str = "{}"
    """Python's format of the number in that column, with its unit."""
    scale: float = 1.0
    """What the number in that column is multiplied by."""
    relative_to: str = ""
    """The key of the teacher's value, if the column shows the ratio to it."""
    spread: bool = False
    """Whether the column shows the lowest and the highest training seed as well."""
    terminal: bool = False
    """Whether the column has room on a terminal of 80 characters."""
    meaning: str = ""
    """Explains the column; empty if another row does."""
    compared: str = ""
    """What `sfddm compare` calls it."""
    exact: str = "{}"
    """Python's format of the number there."""
    card: str = ""
    """What a model card calls it."""
    tracked: bool = True
    """Whether MLflow logs it."""

    @property
    def conditional(self) -> bool:
        """Whether it compares only under equal `CONDITIONS`; numbers of steps and times always do."""
        return self.group in (QUALITY, TEACHER)


METRICS = (
    # MLflow's compare page opens with the metric that is logged first.
    Metric(
        key="frechet_distance", judged=True, group=QUALITY, heading="distance", form="{:.3f}",
        spread=True,
        meaning="distance: Frechet distance to the real images in the scorer's features, less what it has because "
        "images are few; mean [lowest, highest] over training seeds.",
        compared="Frechet distance", exact="{:.4f}", card="Frechet distance to real images",
    ),
    Metric(
        key="frechet_distance_at_n", judged=True, group=QUALITY, heading="at this n", form="{:.3f}",
        meaning="at this n: the usual Frechet distance, with the bias that few images give it.",
        compared="Frechet distance of so many images", exact="{:.4f}",
    ),
    Metric(
        key="frechet_distance_at_floor", judged=True, group=QUALITY, heading="at floor", form="{:.3f}",
        meaning="at floor: the same of only as many images as the floor is based on, where a perfect sampler is.",
        tracked=False,
    ),
    Metric(
        key="train_distance", judged=True, group=QUALITY, heading="to training", form="{:.3f}",
        meaning="to training: Frechet distance to the images that the teacher was trained with. A row that is nearer "
        "to these than others are, but no nearer to the held-out images, copies.",
        compared="distance to training images", exact="{:.4f}",
    ),
    Metric(
        key="kernel_distance", judged=True, group=QUALITY, heading="KID", form="{:.4f}",
        meaning="KID: kernel distance in the same features.",
        compared="KID", exact="{:.5f}",
    ),
    Metric(
        key="precision", judged=True, group=QUALITY, heading="precision", form="{:.3f}",
        meaning="precision, recall: share of images that lie among the real ones, and of real ones that lie among the "
        "images.",
        compared="precision", exact="{:.3f}", card="precision",
    ),
    Metric(
        key="recall", judged=True, group=QUALITY, heading="recall", form="{:.3f}",
        compared="recall", exact="{:.3f}", card="recall",
    ),
    Metric(
        key="agreement", judged=True, group=TEACHER, heading="agrees", form="{:.1f} %", scale=100,
        meaning="agrees: share of images in the class of the teacher's image from the same noise.",
        compared="agrees", exact="{:.4f}", card="share of images in the class of the teacher's",
    ),
    Metric(
        key="mse_to_teacher", group=TEACHER, heading="MSE", form="{:.4f}", terminal=True,
        meaning="MSE: mean squared error to the teacher's images from the same noises.",
        compared="MSE to the teacher", exact="{:.5f}", card="mean squared error to the teacher's images",
    ),
    Metric(
        key="psnr", group=TEACHER, heading="PSNR", form="{:.1f}",
        meaning="PSNR, SSIM: likewise; the first in dB.",
        compared="PSNR", exact="{:.2f}",
        tracked=False,  # infinite for the teacher's own images
    ),
    Metric(
        key="ssim", group=TEACHER, heading="SSIM", form="{:.3f}",
        compared="SSIM", exact="{:.4f}",
    ),
    Metric(
        key="feature_cosine", judged=True, group=TEACHER, heading="cosine", form="{:.3f}",
        meaning="cosine: between the features of an image and those of the teacher's from the same noise.",
        compared="feature cosine", exact="{:.4f}",
    ),
    Metric(
        key="path_length", judged=True, group=TEACHER, heading="path", form="{:.2f} x",
        relative_to="teacher_path_length", meaning="path: length in features between noises, over the teacher's.",
        compared="path length", exact="{:.3f}",
    ),
    Metric(
        key="nfe", group="", heading="T'", form="{:.0f}", terminal=True,
        meaning="T': steps, which are network evaluations per image.",
        compared="network evaluations", exact="{:.0f}",
    ),
    Metric(
        key="seconds_per_1000_images", timed=True, group=COST, heading="s/1000", form="{:.2f}",
        meaning="s/1000: seconds per thousand images on this machine.",
        compared="s/1000", exact="{:.3f}",
    ),
    Metric(
        key="latency_ms", timed=True, group=COST, heading="latency", form="{:.1f} ms",
        meaning="latency: of a single image.",
        compared="latency, ms", exact="{:.2f}",
    ),
    Metric(
        key="speed_up", timed=True, group=COST, heading="speed-up", form="{:.0f} x",
        meaning="speed-up: against DDIM on all of the teacher's levels, timed on a few of them.",
    ),
    Metric(key="peak_memory_mb", timed=True, group=COST),
)  # fmt: skip

# Apart from the rows: these decide which numbers are stored, and words of a row must not evaluate a student anew.
JACKKNIFE = {
    key: f"{key}_jackknife"
    for key in (
        "frechet_distance",
        "teacher_frechet_distance",
        "kernel_distance",
        "agreement",
        "mse_to_teacher",
        "ssim",
        "feature_cosine",
    )
}
"""Where a metric's values are without one block of images each, which give the error of a difference."""
CONDITIONS = {"noise_seed": "noises", "samples": "number of images", "reference": "reference"}
"""What the metrics.json of two students must agree on for their metrics to compare, and what users call it."""
JUDGED_CONDITIONS = {"scorer": "scorer", "scorer_version": "version", "real": "real images"}
"""Likewise, for what one scorer says."""
SUMMARY = ("nfe", "mse_to_teacher")
"""The few that `dvc metrics` and `dvc exp show` have room for, beside the distances."""


@frozen(kw_only=True)
class Figure:
    """One number of a student: a metric, in the view of one scorer if it has several."""

    metric: Metric
    scorer: str | None
    value: float | None

    @property
    def name(self) -> str:
        """What MLflow calls it."""
        return f"{self.metric.key}/{self.scorer}" if self.scorer else self.metric.key

    def titled(self, title: str) -> str:
        """Words for the metric, with the scorer's name where there is one."""
        return f"{title} ({self.scorer})" if self.scorer else title


def panel(metrics: Mapping[str, Any]) -> list[str]:
    """The names of the scorers of a metrics.json, in the order of the spec."""
    return list(metrics[PANEL])


WRONG = "Frechet distances are wrong"
"""What a note says of a scorer where images are no more than features."""
UNUSABLE = (
    "no scorer's distances can be used, because images are not more than features: raise evaluation.samples, hold more "
    "images out, or add a scorer with fewer features"
)


def usable(metrics: Mapping[str, Any]) -> list[str]:
    """The scorers whose distances are not wrong by the notes: only these decide verdicts, advice and gates."""
    wrong = [note.partition(": ")[0] for note in metrics["notes"] if WRONG in note]
    return [name for name in panel(metrics) if name not in wrong]


def usable_first(metrics: Mapping[str, Any]) -> list[str]:
    """All scorers, those whose distances are wrong after the others."""
    deciding = usable(metrics)
    return [*deciding, *(name for name in panel(metrics) if name not in deciding)]


def main_scorer(metrics: Mapping[str, Any]) -> str:
    """The scorer that is shown where there is room for one: the first that can be used."""
    return usable_first(metrics)[0]


def part(metrics: Mapping[str, Any], scorer: str | None) -> Mapping[str, Any]:
    """What one scorer says in a metrics.json; all of it for None."""
    found: Mapping[str, Any] = metrics if scorer is None else metrics[SCORERS].get(scorer, {})
    return found


def figures(metrics: Mapping[str, Any], timing: Mapping[str, Any]) -> Iterator[Figure]:
    """All numbers of a student that its files have, scorer by scorer within each metric."""
    for metric in METRICS:
        for scorer in panel(metrics) if metric.judged else [None]:
            values = timing if metric.timed else part(metrics, scorer)
            if metric.key in values:
                yield Figure(metric=metric, scorer=scorer, value=values[metric.key])
