"""The charts that are stored for MLflow's page, whose format is not documented, against the installed MLflow."""

import base64
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sfddm.evaluation.metrics import WRONG
from sfddm.tracking.charts import TAG, opened_with_charts, share_charts

if TYPE_CHECKING:
    from mlflow import MlflowClient

pytestmark = pytest.mark.heavy

SCORERS = ["convolutional", "pixels"]
METRICS = {"panel": [*reversed(SCORERS)], "notes": [f"pixels: {WRONG}"]}
"""Those of a row whose first scorer can't be used: it comes last."""
WORDS = ("type", "scaleType", "xAxisKey", "xAxisScaleType", "runsHiddenMode")
"""Keys of values that MLflow's page knows by name."""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> "MlflowClient":
    import mlflow

    uri = f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"
    return mlflow.MlflowClient(uri, uri)


@pytest.fixture(scope="module")
def view(client: "MlflowClient") -> Any:
    """What is stored, read as MLflow's page reads it."""
    experiment = client.create_experiment("tiny")
    assert opened_with_charts(client.get_experiment(experiment)) == ""
    share_charts(client, experiment, METRICS, 2)
    stored = client.get_experiment(experiment)
    assert opened_with_charts(stored) == "&viewStateShareKey=sfddm"
    head, _, content = stored.tags[TAG].partition(";")
    assert head == "deflate"
    return json.loads(zlib.decompress(base64.b64decode(content)))


def parts(content: Any) -> Iterator[tuple[str, Any]]:
    """Every key of nested content, and its value."""
    if isinstance(content, list):
        for item in content:
            yield from parts(item)
    elif isinstance(content, dict):
        for key, value in content.items():
            yield key, value
            yield from parts(value)


def test_mlflows_page_knows_every_key_and_every_word_of_the_charts(view: Any) -> None:
    import mlflow

    scripts = (Path(mlflow.__file__).parent / "server/js/build/static/js").glob("*.js")
    page = "".join(script.read_text(encoding="utf-8") for script in scripts)
    assert "mlflow.sharedViewState" in page and "viewStateShareKey" in page and "deflate;" in page
    assert {key for key, _ in parts(view) if key not in page} == set()
    assert {value for key, value in parts(view) if key in WORDS and f'"{value}"' not in page} == set()


def test_charts_lie_in_sections_that_there_are(view: Any) -> None:
    sections = {section["uuid"] for section in view["compareRunSections"]}
    assert {chart["metricSectionId"] for chart in view["compareRunCharts"]} == sections


def test_every_scorer_has_charts_and_the_first_ones_distance_colours_the_comparison(view: Any) -> None:
    charts = {chart["displayName"]: chart for chart in view["compareRunCharts"]}
    for scorer in SCORERS:
        assert charts[f"by_steps/frechet_distance/{scorer}"]["scaleType"] == "log"
        assert charts[f"frechet_distance/{scorer}"]["type"] == "BAR"
        assert f"metrics.`frechet_distance/{scorer}`" in view["selectedColumns"]
    assert charts["by_steps/samples"]["step"] == 2 and charts["samples"]["step"] == 0
    (parallel,) = [chart for chart in charts.values() if chart["type"] == "PARALLEL"]
    assert parallel["selectedMetrics"][-1] == "frechet_distance/convolutional"


def test_charts_that_mlflow_refuses_are_a_warning(client: "MlflowClient", capsys: pytest.CaptureFixture[str]) -> None:
    experiment = client.create_experiment("deleted")
    client.delete_experiment(experiment)
    share_charts(client, experiment, METRICS, 2)
    assert f"warning: MLflow refused the charts of experiment {experiment}" in capsys.readouterr().err
    assert TAG not in client.get_experiment(experiment).tags
