"""The charts with which MLflow's page of an experiment opens.

MLflow stores shared views as tags of the experiment, and an address names one of them. The format of their content is
not documented. It is what the page of MLflow 3.17 writes (tests/test_mlflow_charts.py), and nothing but this module
knows it. Where a server refuses it, or a page can't read it, the page opens with MLflow's own charts.
"""

import base64
import json
import sys
import zlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from sfddm.evaluation.metrics import usable_first
from sfddm.runtime.kinds import kinds_of
from sfddm.spec.experiment import Run, Spec
from sfddm.spec.parts import Term
from sfddm.tracking.server import without_secrets

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment


KEY = "sfddm"
"""The name of the view in addresses: `viewStateShareKey=sfddm`."""
TAG = f"mlflow.sharedViewState.{KEY}"
TERMS = kinds_of(Term)
PARAMS = ["NFE", *(f"Weight.{term}" for term in TERMS)]
BY_STEPS = {"frechet_distance": "log", "agreement": "linear"}
"""Metrics of the runs that show a series, and the scale of their charts."""
LINE = {
    "useGlobalXaxisKey": False,
    "useGlobalLineSmoothing": False,
    "xAxisKey": "step",
    "xAxisScaleType": "log",
    "lineSmoothness": 0,
    "displayPoints": True,
}
"""Settings of charts over T'."""
IMAGES = ("samples", "interpolation")
"""Keys under which `sfddm.tracking.logging` logs images of a run."""
SAMPLES_BY_STEPS = "by_steps/samples"
"""The key of a series' images, whose steps are T': the page has a slider for them."""
SECTIONS = {
    "compared": ("Comparison", 1, 420),
    "against": ("Against T'", 2, 380),
    "quality": ("Runs", 2, 340),
    "images": ("Images", 1, 420),
}
"""Title, number of columns, and height of a chart in pixels."""
MOST_COMPARED = 100
"""Runs per chart; MLflow's page doesn't show more at a time."""


def axes(spec: Spec, run: Run) -> dict[str, Any]:
    """Numeric params that every run has, whatever its method: T' and the loss terms' weights, 0 where there are none.

    In capitals, because MLflow's compare page begins with the first three, by letters, of the params that differ.
    """
    terms = spec.students[run.student].method.terms
    weights = {f"Weight.{kind}": 0.0 for kind in TERMS} | {f"Weight.{term.kind}": term.weight for term in terms}
    return {"NFE": len(spec.levels(run.student)), **weights}


def by_steps(key: str, scorer: str) -> str:
    """What a metric of a series is called; its step is T'."""
    return f"by_steps/{key}/{scorer}"


def share_charts(client: "MlflowClient", experiment: str, metrics: Mapping[str, Any], steps: int) -> None:
    """Store the charts in the experiment, if it doesn't have them yet; a warning says if MLflow refuses them.

    `metrics` are those of some row: all have the same scorers. `steps` is the T' whose images are shown until the
    slider is moved.
    """
    from mlflow.exceptions import MlflowException

    text = _packed(_view(usable_first(metrics), steps))
    try:
        if client.get_experiment(experiment).tags.get(TAG) != text:
            client.set_experiment_tag(experiment, TAG, text)
    except MlflowException as error:
        reason = without_secrets(str(error).splitlines()[0])[:200]
        print(f"warning: MLflow refused the charts of experiment {experiment}, whose page opens with MLflow's own: "
              f"{reason}", file=sys.stderr, flush=True)  # fmt: skip


def opened_with_charts(experiment: "Experiment") -> str:
    """What to add to the address of an experiment's page, so that it opens with the charts if they are stored."""
    return f"&viewStateShareKey={KEY}" if TAG in experiment.tags else ""


def _packed(view: dict[str, Any]) -> str:
    compressed = zlib.compress(json.dumps(view, sort_keys=True).encode(), 9)
    return f"deflate;{base64.b64encode(compressed).decode()}"


def _view(scorers: list[str], steps: int) -> dict[str, Any]:
    # The last metric colours the lines of the parallel coordinates.
    quality = ["speed_up", "mse_to_teacher", *(f"frechet_distance/{name}" for name in reversed(scorers))]
    return {
        "runsHiddenMode": "SHOW_ALL",
        "isAccordionReordered": True,
        "hideEmptyCharts": True,
        "compareRunCharts": list(_charts(scorers, quality, steps)),
        "compareRunSections": [
            {"uuid": uuid, "name": name, "display": True, "isReordered": True, "columns": columns, "cardHeight": height}
            for uuid, (name, columns, height) in SECTIONS.items()
        ],
        "selectedColumns": [*(f"params.`{name}`" for name in PARAMS), *(f"metrics.`{name}`" for name in quality)],
    }


def _charts(scorers: list[str], quality: list[str], steps: int) -> Iterator[dict[str, Any]]:
    title = "T' (NFE), loss weights and what came of them"
    yield _chart("compared", title, type="PARALLEL", selectedParams=PARAMS, selectedMetrics=quality, showAllRuns=True)
    for name in scorers:
        for metric, scale in BY_STEPS.items():
            key = by_steps(metric, name)
            yield _chart("against", key, type="LINE", metricKey=key, selectedMetricKeys=[key], scaleType=scale, **LINE)
    x, y = {"key": "NFE", "type": "PARAM"}, {"key": quality[-1], "type": "METRIC"}
    yield _chart("quality", "Every run's distance against its T'", type="SCATTER", xaxis=x, yaxis=y)
    for name in quality:
        yield _chart("quality", name, type="BAR", metricKey=name)
    for name, step in {**dict.fromkeys(IMAGES, 0), SAMPLES_BY_STEPS: steps}.items():
        yield _chart("images", name, type="IMAGE", imageKeys=[name], step=step, showRunParams=False)


def _chart(section: str, title: str, **settings: Any) -> dict[str, Any]:
    return {
        "uuid": f"{section}-{title}",
        "metricSectionId": section,
        "displayName": title,
        "runsCountToCompare": MOST_COMPARED,
        "deleted": False,
        "isGenerated": False,
        **settings,
    }
