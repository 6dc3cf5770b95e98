"""The charts with which MLflow's page of an experiment opens.

MLflow keeps views to be shared as tags of the experiment, and an address names one of them. The layout of their content
is not documented: it is what MLflow 3.17's own page writes (a tag that it can't read gives its usual page).
"""

import base64
import json
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sfddm.spec.experiment import Run, Spec

if TYPE_CHECKING:
    from mlflow import MlflowClient


KEY = "sfddm"
"""Names the view in addresses: `viewStateShareKey=sfddm`."""
TAG = f"mlflow.sharedViewState.{KEY}"
TERMS = ("output", "hidden", "feature")
PARAMS = ["NFE", *(f"Weight.{term}" for term in TERMS)]
QUALITY = ["speed_up", "agreement", "frechet_distance"]
"""The last one gives the lines of the parallel coordinates their colours."""
DISTANCE, AGREEMENT = "by_steps/frechet_distance", "by_steps/agreement"
"""Metrics of the runs that stand for a series; their step is T'."""
LINE = {
    "useGlobalXaxisKey": False,
    "useGlobalLineSmoothing": False,
    "xAxisKey": "step",
    "xAxisScaleType": "log",
    "lineSmoothness": 0,
    "displayPoints": True,
}
"""Of charts over T'."""
IMAGES = ("samples", "interpolation")
"""As `sfddm.tracking.logging` logs them."""
SECTIONS = {
    "compared": ("Comparison", 1, 420),
    "against": ("Against T'", 2, 380),
    "quality": ("Runs", 2, 340),
    "images": ("Images", 1, 420),
}
"""Title, columns, and height in pixels of a chart."""
MOST_COMPARED = 100
"""Runs of one chart; MLflow's page doesn't show more at a time."""


def axes(spec: Spec, run: Run) -> dict[str, Any]:
    """Numeric params that every run has, whatever its method: T' and the loss terms' weights, 0 where there are none.

    In capitals, because MLflow's compare page begins with the first three, by letters, of the params that differ.
    """
    terms = getattr(spec.students[run.student].method, "terms", ())
    weights = {f"Weight.{kind}": 0.0 for kind in TERMS} | {f"Weight.{term.kind}": term.weight for term in terms}
    return {"NFE": len(spec.levels(run.student)), **weights}


def write_view(client: "MlflowClient", experiment: str) -> None:
    """Store the view in the experiment, if it has no such one yet."""
    text = _packed(_state())
    if client.get_experiment(experiment).tags.get(TAG) != text:
        client.set_experiment_tag(experiment, TAG, text)


def _packed(state: dict[str, Any]) -> str:
    compressed = zlib.compress(json.dumps(state, sort_keys=True).encode(), 9)
    return f"deflate;{base64.b64encode(compressed).decode()}"


def _state() -> dict[str, Any]:
    return {
        "runsHiddenMode": "SHOW_ALL",
        "isAccordionReordered": True,
        "hideEmptyCharts": True,
        "compareRunCharts": list(_charts()),
        "compareRunSections": [
            {"uuid": uuid, "name": name, "display": True, "isReordered": True, "columns": columns, "cardHeight": height}
            for uuid, (name, columns, height) in SECTIONS.items()
        ],
        "selectedColumns": [*(f"params.`{name}`" for name in PARAMS), *(f"metrics.`{name}`" for name in QUALITY)],
    }


def _charts() -> Iterator[dict[str, Any]]:
    title = "T' (NFE), loss weights and what came of them"
    yield _chart("compared", title, type="PARALLEL", selectedParams=PARAMS, selectedMetrics=QUALITY, showAllRuns=True)
    for key, scale in ((DISTANCE, "log"), (AGREEMENT, "linear")):
        yield _chart("against", key, type="LINE", metricKey=key, selectedMetricKeys=[key], scaleType=scale, **LINE)
    x, y = {"key": "NFE", "type": "PARAM"}, {"key": "frechet_distance", "type": "METRIC"}
    yield _chart("quality", "Every run's distance against its T'", type="SCATTER", xaxis=x, yaxis=y)
    for name in QUALITY:
        yield _chart("quality", name, type="BAR", metricKey=name)
    for name in IMAGES:
        yield _chart("images", name, type="IMAGE", imageKeys=[name], step=0, showRunParams=False)


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
