"""The real MLflow: what a pipeline's runs look like there, and what happens when it can't be reached."""

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sfddm.runtime.kinds import kinds_of
from sfddm.spec.parts import Term
from tests.processes import wait_for
from tests.project import OURS, Project

if TYPE_CHECKING:
    from mlflow import MlflowClient

SCORERS = ("convolutional", "pixels")
UNREACHABLE = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "SFDDM_LIVE_CURVES": "on"}


@pytest.fixture(scope="module")
def client(original: Project) -> "MlflowClient":
    import mlflow

    uri = f"sqlite:///{original.folder / 'mlflow.db'}"
    return mlflow.MlflowClient(uri, uri)


def runs(client: "MlflowClient") -> dict[str, Any]:
    experiment = client.get_experiment_by_name("tiny")
    found = client.search_runs([experiment.experiment_id], "tags.`sfddm.run` != ''")
    by_name = {run.data.tags["sfddm.run"]: run for run in found}
    assert len(by_name) == len(found), "one run each, the live ones adopted"
    return by_name


def test_every_run_is_there_with_figures_params_tags_and_files(original: Project, client: "MlflowClient") -> None:
    found = runs(client)
    assert set(found) == {"tiny-ddim-t4-s0", OURS, "tiny-teacher-training"}
    run = found[OURS]
    metrics = json.loads((original.folder / "runs/tiny/results/ours-t4-s0/metrics.json").read_text())
    assert run.info.status == "FINISHED"
    for name, says in metrics["scorers"].items():
        logged = run.data.metrics[f"frechet_distance/{name}"]
        assert logged == pytest.approx(says["frechet_distance"])
    assert "agreement/convolutional" in run.data.metrics and "agreement/pixels" not in run.data.metrics
    assert run.data.params["student.method.terms.feature.weight"] == "0.3" and run.data.params["NFE"] == "4"
    assert run.data.tags["sfddm.content_key"] and run.data.tags["sfddm.method"] == "sfddm"
    names = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert {"grid.png", "metrics.json", "spec.yaml", "lineage.yaml"} <= names
    for trained in (run, found["tiny-teacher-training"]):
        curve = client.get_metric_history(trained.info.run_id, "train/loss")
        assert sorted(point.step for point in curve) == list(range(1, 41)), "every point once, live or sent afterwards"


def test_every_run_has_numbers_to_compare_by_its_data_its_images_and_a_note(client: "MlflowClient") -> None:
    weights = {name: {key: value for key, value in run.data.params.items() if key.startswith("Weight.")}
               for name, run in runs(client).items()}  # fmt: skip
    none = dict.fromkeys((f"Weight.{kind}" for kind in kinds_of(Term)), "0.0")
    assert weights["tiny-ddim-t4-s0"] == none
    assert weights[OURS] == {**none, "Weight.hidden": "1.0", "Weight.feature": "0.3"}
    run = runs(client)[OURS]
    data = {found.tags[0].value: found.dataset for found in run.inputs.dataset_inputs}
    lineage = mlflow_yaml(client, run.info.run_id, "lineage.yaml")
    assert data["training"].name == "digits"
    assert data["training"].digest == lineage["data@tiny"]["outs"][0]["md5"]
    assert data["evaluation"].digest == lineage["reference@tiny"]["outs"][0]["md5"]
    images = {file.path.partition("+")[0] for file in client.list_artifacts(run.info.run_id, "images")}
    assert images == {"images/samples", "images/interpolation"}
    assert f"dvc repro evaluate@{OURS}" in run.data.tags["mlflow.note.content"]


def mlflow_yaml(client: "MlflowClient", run_id: str, name: str) -> Any:
    from ruamel.yaml import YAML

    return YAML(typ="safe").load(Path(client.download_artifacts(run_id, name)))


def test_a_series_is_a_line_over_the_number_of_steps(client: "MlflowClient") -> None:
    experiment = client.get_experiment_by_name("tiny")
    lines = {run.data.tags["sfddm.series"]: run
             for run in client.search_runs([experiment.experiment_id], "tags.`sfddm.series` != ''")}  # fmt: skip
    assert set(lines) == {"ours", "ddim", "teacher"}
    for scorer in SCORERS:
        points = client.get_metric_history(lines["ours"].info.run_id, f"by_steps/frechet_distance/{scorer}")
        distance = runs(client)[OURS].data.metrics[f"frechet_distance/{scorer}"]
        assert [(point.step, point.value) for point in points] == [(4, distance)]
    pictures = [file.path for file in client.list_artifacts(lines["ours"].info.run_id, "images")]
    assert [name for name in pictures if "samples+step+4+" in name], pictures
    assert set(lines["teacher"].data.metrics) == {f"by_steps/frechet_distance/{scorer}" for scorer in SCORERS}
    assert "| ours-t4 | 4 |" in experiment.tags["mlflow.note.content"]


def test_a_version_has_a_model_card(client: "MlflowClient") -> None:
    (version,) = client.search_model_versions("name='sfddm-tiny'")
    card, run = version.description, runs(client)[OURS]
    for words in (
        *(f"({scorer}) | {run.data.metrics[f'frechet_distance/{scorer}']:.4g} | ± " for scorer in SCORERS),
        "T' = 4, levels 16, 32, 48, 64",
        "T = 64, cosine",
        "CC BY 4.0",
        "n = 256",
        run.info.run_id,
        "### Limits",
    ):
        assert words in card, words


def test_the_marked_student_is_registered_without_a_pickle(original: Project, client: "MlflowClient") -> None:
    versions = client.search_model_versions("name='sfddm-tiny'")
    assert [version.tags["sfddm.run"] for version in versions] == [OURS]
    files = {path.name for path in (original.folder / "mlartifacts").rglob("*") if path.is_file()}
    stored = {"MLmodel", "diffusion_pytorch_model.safetensors", "spec.yaml", "lineage.json", "origin.json"}
    assert stored <= files
    assert not {name for name in files if name.endswith((".pkl", ".pickle", ".pt", ".bin"))}


def test_an_unreachable_mlflow_fails_no_training_but_tracking(project: Project, tmp_path: Path) -> None:
    project.run("python", "-m", "stages.distill", "tiny", "ours-t4", "0", SFDDM_SCRATCH=str(tmp_path), **UNREACHABLE)
    output = project.run("python", "-m", "stages.track", "tiny", code=2, **UNREACHABLE)
    assert "does not answer" in output
    assert "run the command again" in output
    assert "Traceback" not in output
    project.run("dvc", "checkout", "--force", "distill@tiny-ours-t4-s0")  # the times of this training are others
    assert not project.changed()


@pytest.mark.process
def test_a_new_database_survives_a_kill_and_two_at_once(tmp_path: Path) -> None:
    script = "from sfddm.tracking.server import connect; connect()"

    def start() -> "subprocess.Popen[str]":
        return subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, stderr=subprocess.PIPE, text=True)

    killed, partial = start(), tmp_path / ".mlflow.db.partial"
    wait_for(lambda: partial.exists() and partial.stat().st_size, "a database that is being made")
    killed.kill()
    killed.communicate()
    assert not (tmp_path / "mlflow.db").exists()
    for process in [start(), start()]:
        assert process.wait(timeout=600) == 0, process.communicate()
    assert [path.name for path in tmp_path.iterdir() if "mlflow.db" in path.name] == ["mlflow.db"]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("promote", "tiny-our-t4-s0"), "did you mean 'tiny-ours-t4-s0'?"),
        (("promote", "tiny-ddim-t4-s0"), "add 'ddim-t4' to registry.students"),
        (("sample", "models:/sfddm-tinny@champion"), "did you mean 'sfddm-tiny'?"),
        (("sample", "models:/sfddm-tiny@staging"), "staging"),
        (("sample", OURS, "--steps", "65"), "the teacher has 64"),
        (("sample", OURS, "--levels", "20,65"), "above the teacher's noisiest, 64"),
        (("sample", OURS, "--levels", "64,x"), "expected noise levels as in"),
        (("sample", OURS, "--out", "x.gif"), "ends in .png or .npz"),
        (("spec", "check", "tinny"), "did you mean 'tiny'?"),
        (("report", "digits"), "no such spec"),
    ],
)
def test_what_does_not_exist_ends_with_2_and_the_nearest_name(
    original: Project, command: tuple[str, ...], words: str
) -> None:
    output = original.run("sfddm", *command, code=2)
    assert words in output
    assert "Traceback" not in output
