"""Promotion, tracking and reproduction with the real git, DVC and MLflow, on a copy of the pipeline's results."""

import json
import os
import re
import shutil
import signal
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sfddm.runtime.files import digest_file
from tests.processes import wait_for
from tests.project import CHAMPION, OURS, Project, commit
from tests.registries import MODEL, champion, client_of, events, kept, refilled

WEIGHTS = "diffusion_pytorch_model.safetensors"


def content(project: Project) -> dict[str, Any]:
    """All that MLflow shows, without the numbers and the times that it makes up."""
    client = client_of(project)
    experiment = client.get_experiment_by_name("tiny").experiment_id
    runs = {}
    for run in client.search_runs([experiment]):
        folder = Path(run.info.artifact_uri.removeprefix("file://"))
        curve = client.get_metric_history(run.info.run_id, "train/loss")
        tags = {name: text for name, text in run.data.tags.items() if not name.startswith("mlflow.log-model")}
        runs[run.info.run_name] = {
            "params": run.data.params,
            "metrics": run.data.metrics,
            "curve": sorted((point.step, point.value) for point in curve),
            "tags": {name: text for name, text in tags.items() if name != "mlflow.loggedModels"},
            "artifacts": hashes(folder),
            "status": run.info.status,
        }
    versions = [
        {
            "tags": version.tags,
            "files": hashes(project.folder / "mlartifacts/tiny/models" / version.source.rpartition("/")[2]),
        }
        for version in client.search_model_versions(f"name='{MODEL}'")
    ]
    return {"runs": runs, "versions": versions, "champion": champion(project)}


def hashes(folder: Path) -> dict[str, str]:
    """Hashes of all files but those where MLflow notes its own ids and times; it puts them into names of images too."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in ("MLmodel",)]
    return {
        f"{path.relative_to(folder).as_posix().partition('+')[0]}{path.suffix}": digest_file(path) for path in files
    }


def test_a_promotion_is_in_the_file_in_the_tags_and_in_the_history(released: Project) -> None:
    (event,) = events(released)
    assert event["commit"] == released.run("git", "rev-parse", "HEAD~1").strip()
    version = client_of(released).get_model_version_by_alias(MODEL, "champion")
    assert version.tags["sfddm.content_key"] == event["content_key"]
    assert event["commit"][:12] in version.tags["sfddm.promotions"]
    assert "speed_up: " in version.tags["sfddm.gates"] and "at least 2.0" in version.tags["sfddm.gates"]
    distances = {name: text for name, text in version.tags.items() if name.startswith("sfddm.distance.")}
    scorers = event["figures"]["scorers"]
    assert distances == {
        f"sfddm.distance.{name}": f"{scorers[name]['frechet_distance']:.4f}" for name in ("convolutional", "pixels")
    }
    listed = released.run("sfddm", "history", MODEL)
    assert OURS in listed and "promoted, holds" in listed


def test_a_dry_run_changes_nothing(released: Project) -> None:
    before = content(released)
    output = released.run("sfddm", "promote", OURS, "--to", "staging", "--dry-run")
    assert "would become staging" in output and "agreement" in output
    assert content(released) == before and len(events(released)) == 1


def test_a_gate_that_refuses_ends_with_2_and_changes_nothing(released: Project) -> None:
    with released.edit("specs/tiny.yaml", "samples: 256\n  agreement", "samples: 257\n  agreement"):
        output = released.run("sfddm", "promote", OURS, "--to", "staging", code=2)
    assert "FAIL" in output and "at least 257" in output and len(events(released)) == 1


@pytest.mark.parametrize(
    ("name", "added", "words"),
    [
        (f"runs/tiny/students/ours-t4-s0/{WEIGHTS}", "\n", r"students/ours-t4-s0 is \S+, in dvc\.lock \S+"),
        ("runs/tiny/results/ours-t4-s0/metrics.json", "\n", r"results/ours-t4-s0/metrics\.json is \S+, in dvc\.lock"),
        ("sfddm/methods/sfddm.py", "assert True\n", r"the code of distill\.sfddm\S* is not what it was run with"),
    ],
)
def test_what_is_not_as_in_dvc_lock_is_refused_by_name(released: Project, name: str, added: str, words: str) -> None:
    with kept(released, name):
        path = released.folder / name
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content + added.encode())
        output = released.run("sfddm", "promote", OURS, "--to", "staging", code=2)
    assert re.search(words, " ".join(output.split())), output
    assert len(events(released)) == 1


def test_a_changed_spec_or_an_uncommitted_file_is_refused(released: Project) -> None:
    with released.edit("specs/tiny.yaml", "weight: 0.3, state", "weight: 0.4, state"):
        output = released.run("sfddm", "promote", OURS, code=2)
    assert "students.ours-t4.method is not what distill@tiny-ours-t4-s0 was run with" in output
    with released.edit("specs/tiny.yaml", "version: 2", "# a comment\nversion: 2"):
        output = released.run("sfddm", "promote", OURS, "--to", "staging", code=2)
    assert "git add specs/tiny.yaml" in output and len(events(released)) == 1


def test_of_two_at_once_one_wins_and_the_other_says_so(released: Project) -> None:
    holder = released.folder / "scratch/locks/promotions.pid"
    with kept(released, "promotions.json"):
        first = released.start("sfddm", "promote", OURS, "--to", "staging")
        wait_for(holder.exists, "the first to decide")
        os.kill(first.pid, signal.SIGSTOP)
        assert len(events(released)) == 1, "stopped before it decided"
        second = released.run("sfddm", "promote", OURS, "--to", "staging", code=2)
        os.kill(first.pid, signal.SIGCONT)
        output, _ = first.communicate(timeout=120)
        assert first.returncode == 0 and "staging is now version 1" in output
        assert f"process {first.pid} is doing the same" in second
        assert [event["alias"] for event in events(released)] == ["champion", "staging"]
        released.run("sfddm", "demote", f"models:/{MODEL}@staging")
        assert [event["kind"] for event in events(released)] == ["promotion", "promotion", "demotion"]
        assert set(client_of(released).get_registered_model(MODEL).aliases) == {"champion"}
        refilled(released)
    # Its tags told of what the file no longer has: MLflow is made anew.
    refilled(released)


def test_a_lost_mlflow_is_filled_with_the_same_content(released: Project) -> None:
    before = content(released)
    assert len(before["runs"]) == 6 and len(before["versions"]) == 1
    printed = refilled(released)
    assert "Warning" not in printed and "INFO" not in printed
    assert content(released) == before


def test_a_version_that_todays_spec_does_not_make_comes_from_its_commit(released: Project) -> None:
    before = champion(released)
    moved = released.folder / "runs/tiny/results/ours-t4-s0"
    shutil.move(moved, released.folder / "results-elsewhere")
    refilled(released)
    shutil.move(released.folder / "results-elsewhere", moved)
    assert champion(released) == before
    assert len(released.run("git", "worktree", "list").splitlines()) == 1


def test_a_promotion_elsewhere_is_noticed_and_track_follows_the_file(released: Project) -> None:
    client = client_of(released)
    client.set_registered_model_alias(MODEL, "staging", "1")
    output = released.run("sfddm", "promote", OURS, "--to", "staging", code=2)
    assert "somebody promoted elsewhere" in output and len(events(released)) == 1
    assert f"{CHAMPION} is {OURS}" in released.run("sfddm", "track")
    assert set(client.get_registered_model(MODEL).aliases) == {"champion"}
    tags = client.get_model_version_by_alias(MODEL, "champion").tags["sfddm.promotions"]
    client.set_model_version_tag(
        MODEL, "1", "sfddm.promotions", f"{tags}\n9999-01-01T00:00:00+00:00 demotion, champion"
    )
    assert "`git pull` brings the newer one" in released.run("sfddm", "track", code=2)
    client.set_model_version_tag(MODEL, "1", "sfddm.promotions", tags)


def test_where_mlflow_refuses_the_file_stays_as_it_was(released: Project) -> None:
    before = (released.folder / "promotions.json").read_bytes()
    database = released.folder / "mlflow.db"
    with sqlite3.connect(database) as connection:
        connection.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON registered_model_aliases BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
    output = released.run("sfddm", "promote", OURS, "--to", "staging", code=2)
    with sqlite3.connect(database) as connection:
        connection.execute("DROP TRIGGER refuse")
    assert "refused, or does not answer" in output
    assert (released.folder / "promotions.json").read_bytes() == before
    down = released.run("sfddm", "promote", OURS, "--to", "staging", code=2, MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert "does not answer" in down and (released.folder / "promotions.json").read_bytes() == before


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("promote", OURS, "--to", "champoin"), "did you mean 'champion'?"),
        (("demote", "models:/sfddm-tinny@champion"), "did you mean 'sfddm-tiny'?"),
        (("demote", "models:/sfddm-tiny@champoin"), "did you mean 'champion'?"),
        (("demote", "models:/sfddm-tiny@staging"), "names no student now"),
        (("demote", "models:/sfddm-tiny/77"), "models:/sfddm-tiny/77"),
        (("demote", "sfddm-tiny"), "expected models:/NAME@ALIAS"),
        (("history", "sfddm-tinny"), "did you mean 'sfddm-tiny'?"),
        (("track", "tinny"), "did you mean 'tiny'?"),
        (("reproduce", "models:/sfddm-tinny@champion"), "did you mean 'sfddm-tiny'?"),
        (("reproduce", "models:/sfddm-tiny@champoin"), "did you mean 'champion'?"),
        (("reproduce", OURS), "expected models:/NAME@ALIAS"),
    ],
)
def test_what_does_not_exist_is_named_with_the_nearest(released: Project, command: tuple[str, ...], words: str) -> None:
    output = released.run("sfddm", *command, code=2)
    assert words in " ".join(output.split()) and "Traceback" not in output


def provenance(project: Project, name: str) -> str:
    (path,) = (project.folder / "mlartifacts").rglob(f"provenance/{name}")
    return path.relative_to(project.folder).as_posix()


def test_tracking_again_adds_nothing(released: Project) -> None:
    client = client_of(released)

    def ids() -> set[str]:
        return {run.info.run_id for run in client.search_runs(["1"])}

    before = ids()
    released.run("python", "-m", "stages.track", "tiny")
    assert ids() == before
    assert len(client.search_model_versions(f"name='{MODEL}'")) == 1


def test_the_champion_the_student_and_its_folder_draw_the_same(released: Project, tmp_path: Path) -> None:
    drawn = []
    for source in (CHAMPION, OURS, "runs/tiny/students/ours-t4-s0"):
        path = tmp_path / f"{len(drawn)}.npz"
        released.run("sfddm", "sample", source, "--out", str(path), "--num", "5", "--seed", "3")
        drawn.append(np.load(path)["images"])
    assert drawn[0].shape == (5, 1, 8, 8)
    assert drawn[0].dtype == np.uint8
    assert (drawn[0] == drawn[1]).all()
    assert (drawn[0] == drawn[2]).all()
    released.run("sfddm", "sample", OURS, "--out", str(tmp_path / "grid.png"), "--steps", "8")
    assert (tmp_path / "grid.png").read_bytes().startswith(b"\x89PNG")


def test_a_tampered_version_is_refused_by_the_name_of_the_file(released: Project) -> None:
    (weights,) = (released.folder / "mlartifacts").rglob(WEIGHTS)
    name = weights.relative_to(released.folder).as_posix()
    for tampered, words in ((name, f"{WEIGHTS} is "), (provenance(released, "metrics.json"), "metrics.json is ")):
        with kept(released, tampered):
            path = released.folder / tampered
            text = path.read_bytes()
            path.unlink()
            path.write_bytes(text.replace(b"4", b"5", 1) if tampered.endswith("json") else text[:-1] + b"\0")
            output = released.run("sfddm", "reproduce", CHAMPION, "--quick", code=2)
        assert "is not what was registered" in output and words in output


def test_a_version_of_another_schema_or_without_a_commit_is_refused(released: Project) -> None:
    from ruamel.yaml import YAML

    from sfddm.runtime.files import digest

    spec, client = provenance(released, "spec.yaml"), client_of(released)
    key = champion(released)
    with kept(released, spec):
        path = released.folder / spec
        changed = YAML(typ="safe", pure=True).load(path.read_text())
        changed["teacher"]["colour"] = changed["teacher"].pop("timesteps")
        with path.open("w") as file:
            YAML().dump(changed, file)
        metrics = json.loads((released.folder / provenance(released, "metrics.json")).read_text())
        changed_key = digest({"spec": changed, "metrics": metrics})[:16]
        client.set_model_version_tag(MODEL, "1", "sfddm.content_key", changed_key)
        output = released.run("sfddm", "reproduce", CHAMPION, "--quick", code=2)
        client.set_model_version_tag(MODEL, "1", "sfddm.content_key", key)
    assert "another spec schema" in output and "unknown key 'colour'" in output and "missing key 'timesteps'" in output
    with kept(released, "promotions.json"), kept(released, provenance(released, "origin.json")):
        (released.folder / "promotions.json").write_text('{"events": []}')
        origin = released.folder / provenance(released, "origin.json")
        origin.write_text(json.dumps({**json.loads(origin.read_text()), "commit": ""}))
        output = released.run("sfddm", "reproduce", CHAMPION, "--quick", code=2)
    assert "registered from files that no commit had" in output


def test_a_missing_object_of_dvc_is_named(released: Project) -> None:
    cache, tags = released.folder / ".dvc/cache", client_of(released).get_model_version(MODEL, "1").tags
    shutil.move(cache, released.folder / "cache-elsewhere")
    output = released.run("sfddm", "reproduce", CHAMPION, "--quick", code=2)
    shutil.rmtree(cache, ignore_errors=True)
    shutil.move(released.folder / "cache-elsewhere", cache)
    assert "DVC has no object of runs/tiny/scorers/convolutional (" in output and "dvc push" in output
    assert client_of(released).get_model_version(MODEL, "1").tags == tags


def test_a_version_is_rebuilt_bit_for_bit(released: Project) -> None:
    output = released.run("sfddm", "reproduce", CHAMPION)
    for item in ("data", "scorer convolutional", "scorer pixels", "teacher", "reference", "weights"):
        assert re.search(rf"^ *{item} +bit-identical", output, re.M), output
    tags = client_of(released).get_model_version(MODEL, "1").tags
    assert "weights: bit-identical" in tags["sfddm.reproduced"]
    assert "metrics: equal to the last digit" in tags["sfddm.reproduced"]
    assert len(released.run("git", "worktree", "list").splitlines()) == 1


@pytest.mark.prove
def test_code_that_changes_no_byte_leaves_a_version_that_was_made_before_it_whole(released: Project) -> None:
    """What was registered and is promoted from behind such a change is evaluated again from there."""
    images = released.folder / "sfddm" / "images.py"
    images.write_text(f"{images.read_text()}assert True\n")
    released.run("sfddm", "spec", "sync")
    released.run("dvc", "repro", f"evaluate@{OURS}")
    commit(released, ".")
    released.run("sfddm", "demote", CHAMPION)
    released.run("sfddm", "promote", OURS)
    quick = released.run("sfddm", "reproduce", CHAMPION, "--quick")
    assert "evaluated again with the same result" in quick
    assert "code" in quick
    tags = client_of(released).get_model_version_by_alias(MODEL, "champion").tags
    assert "metrics: equal to the last digit" in tags["sfddm.evaluated_again"]
