"""The table of metrics: what evaluation says of a student, and where it is shown. A row adds a metric.

Report, terminal, `sfddm compare`, MLflow, model cards, gates and promotions all read this table. The values are
computed in `distances` and `similarity`, which give each one its key. The table imports no torch, so that what reads
it starts fast.
"""

from typing import Literal

from attrs import frozen

QUALITY, TEACHER, COST = "Quality", "Against the teacher", "Time and cost"
GROUPS = ("", QUALITY, TEACHER, COST)
"""Headings over columns, in their order."""


@frozen(kw_only=True)
class Metric:
    """One metric. It is not shown where it has no words."""

    key: str
    """Its key in metrics.json, or in timing.json if it is timed."""
    timed: bool = False
    group: str
    better: Literal["lower", "higher"] | None
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
    """Explains the column, with keys of metrics.json in braces; empty if another row does."""
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
        key="frechet_distance", group=QUALITY, better="lower",
        heading="distance", form="{:.3f}", spread=True, terminal=True,
        meaning="distance: Frechet distance to {real_images} real images in the features of {scorer}, "
        "n = {samples} images from the same noises (seed {noise_seed}) a row; mean [lowest, highest] over "
        "training seeds.",
        compared="Frechet distance", exact="{:.4f}", card="Frechet distance to real images",
    ),
    Metric(
        key="frechet_distance_at_floor", group=QUALITY, better="lower", heading="at floor", form="{:.3f}",
        meaning="at floor: distance of only {real_distance_samples} images. As many real ones are at "
        "{real_distance:.3f} from other real ones: that is the floor.",
        tracked=False,
    ),
    Metric(
        key="kernel_distance", group=QUALITY, better="lower", heading="KID", form="{:.4f}",
        meaning="KID: kernel distance in the same features.",
        compared="KID", exact="{:.5f}",
    ),
    Metric(
        key="precision", group=QUALITY, better="higher", heading="precision", form="{:.3f}",
        meaning="precision, recall: share of images that lie among the real ones, and of real ones that lie among the "
        "images.",
        compared="precision", exact="{:.3f}", card="precision",
    ),
    Metric(
        key="recall", group=QUALITY, better="higher", heading="recall", form="{:.3f}",
        compared="recall", exact="{:.3f}", card="recall",
    ),
    Metric(
        key="pixel_distance", group=QUALITY, better="lower", heading="pixel", form="{:.3f}",
        meaning="pixel: Frechet distance of the pixels themselves.",
        compared="pixel distance", exact="{:.4f}",
    ),
    Metric(
        key="agreement", group=TEACHER, better="higher", heading="agrees", form="{:.1f} %", scale=100,
        meaning="agrees: share of images in the class of the teacher's image from the same noise.",
        compared="agrees", exact="{:.4f}", card="share of images in the class of the teacher's",
    ),
    Metric(
        key="mse_to_teacher", group=TEACHER, better="lower", heading="MSE", form="{:.4f}", terminal=True,
        meaning="MSE: mean squared error to the teacher's images from the same noises.",
        compared="MSE to the teacher", exact="{:.5f}", card="mean squared error to the teacher's images",
    ),
    Metric(
        key="psnr", group=TEACHER, better="higher", heading="PSNR", form="{:.1f}",
        meaning="PSNR (dB), SSIM and cosine (of features): likewise.",
        compared="PSNR", exact="{:.2f}",
        tracked=False,  # infinite for the teacher's own images
    ),
    Metric(
        key="ssim", group=TEACHER, better="higher", heading="SSIM", form="{:.3f}",
        compared="SSIM", exact="{:.4f}",
    ),
    Metric(
        key="feature_cosine", group=TEACHER, better="higher", heading="cosine", form="{:.3f}",
        compared="feature cosine", exact="{:.4f}",
    ),
    Metric(
        key="path_length", group=TEACHER, better=None, heading="path", form="{:.2f} x",
        relative_to="teacher_path_length", meaning="path: length in features between noises, over the teacher's.",
        compared="path length", exact="{:.3f}",
    ),
    Metric(
        key="nfe", group="", better="lower", heading="T'", form="{:.0f}", terminal=True,
        meaning="T': steps, which are network evaluations an image.",
        compared="network evaluations", exact="{:.0f}",
    ),
    Metric(
        key="seconds_per_1000_images", timed=True, group=COST, better="lower", heading="s/1000", form="{:.2f}",
        meaning="s/1000: seconds a thousand images on this machine.",
        compared="s/1000", exact="{:.3f}",
    ),
    Metric(
        key="latency_ms", timed=True, group=COST, better="lower", heading="latency", form="{:.1f} ms",
        meaning="latency: of a single image.",
        compared="latency, ms", exact="{:.2f}",
    ),
    Metric(
        key="speed_up", timed=True, group=COST, better="higher", heading="speed-up", form="{:.0f} x",
        meaning="speed-up: against DDIM on all of the teacher's levels, timed on a few of them.",
    ),
    Metric(key="peak_memory_mb", timed=True, group=COST, better="lower"),
)  # fmt: skip
METRIC = {metric.key: metric for metric in METRICS}

# Apart from the rows: these decide which numbers are stored, and words of a row must not evaluate a student anew.
BLOCKS = {
    "frechet_distance": "frechet_blocks",
    "kernel_distance": "kernel_blocks",
    "agreement": "agreement_blocks",
    "mse_to_teacher": "mse_blocks",
    "ssim": "ssim_blocks",
    "feature_cosine": "cosine_blocks",
}
"""Where metrics.json has a metric for each block of the common noises, which gives the spread of a difference."""
CONDITIONS = {
    "noise_seed": "noises",
    "samples": "number of images",
    "scorer": "scorer",
    "scorer_version": "scorer's version",
    "real": "real images",
    "reference": "reference",
}
"""What the metrics.json of two students must agree on for their metrics to compare, and what users call it."""
SUMMARY = ("nfe", "frechet_distance", "agreement", "mse_to_teacher")
"""The few that `dvc metrics` and `dvc exp show` have room for, and that promotions.json keeps of promoted students."""
