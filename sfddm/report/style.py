"""How every figure looks, and how it becomes bytes: the same for the same data, readable on a light and a dark page."""

import io
import re
from collections.abc import Callable
from itertools import cycle

from attrs import frozen
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.axis import XAxis, YAxis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from sfddm.pipeline.rows import Row
from sfddm.spec.experiment import Spec
from sfddm.spec.students import Free

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Colours of Okabe and Ito (2008), which colour-blind people tell apart; yellow and black are hard to see on pages."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
"""One more than colours, so that 42 series look different."""
INK = "#1c1b22"
"""The colour of text and axes. In an SVG it becomes `currentColor`, so that the figure follows its page."""
THEME = (
    f"<style>:root{{color:{INK}}}@media (prefers-color-scheme:dark){{:root{{color:#e6e4df}}}}</style>"
)  # fmt: skip
"""Where an SVG outside a page takes its ink from."""
STYLE = {
    "svg.fonttype": "none",
    "font.family": ["DejaVu Sans", "sans-serif"],
    "font.size": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10.0,
    "axes.facecolor": "none",
    "legend.frameon": False,
    **{f"{name}color": INK for name in ("text.", "axes.edge", "axes.label", "axes.title", "xtick.", "ytick.")},
}


def draw(paint: Callable[[Figure], None], size: tuple[float, float], salt: str) -> bytes:
    """A figure as SVG, transparent and in the page's ink, without dates.

    Args:
        paint: puts the axes into an empty figure.
        size: width and height in inches.
        salt: makes ids differ between the figures of one page.
    """
    with style.context(["default", {**STYLE, "svg.hashsalt": salt}], after_reset=True):
        figure = Figure(figsize=size, layout="constrained", facecolor="none")
        paint(figure)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return _themed(buffer.getvalue().decode()).encode()


def _themed(svg: str) -> str:
    """The SVG in the page's ink, without the ids of groups, which nothing refers to."""
    svg = re.sub(r'<g id="[^"]*">', "<g>", svg).replace(INK, "currentColor")
    head, tag, rest = svg.partition("<svg ")
    attributes, close, content = rest.partition(">")
    return f"{head}{tag}{attributes}{close}\n {THEME}{content}"


def inline(svg: bytes) -> str:
    """The SVG as part of a page: without the head of a file and its ink, which the page decides."""
    text = svg.decode()
    return text[text.index("<svg ") :].replace(THEME, "", 1)


def log_scale(axis: XAxis | YAxis, ticks: list[int] | None = None) -> None:
    """A logarithmic axis with plain numbers, at `ticks` or else at 1, 2, 5 of each decade."""
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    axis.set_major_locator(FixedLocator(ticks) if ticks else LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def rule_lines(axes: Axes) -> None:
    """Faint lines across, behind everything."""
    axes.grid(axis="y", color=INK, alpha=0.12, linewidth=0.8)
    axes.set_axisbelow(True)


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

    The teacher's own rows are left out: free samplers on at least as many levels as the reference. Their many
    steps would push the students together.
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
    return isinstance(spec.students[student].method, Free)
