"""No state of promotions.json, MLflow and git is a dead end: each way out is the one that the refusal names."""

import re
import shutil
from pathlib import Path

import pytest

from tests.project import CHAMPION, OURS, WHO, Project, commit
from tests.registries import MODEL, REFILLED, champion, client_of, events


def agreed(project: Project) -> None:
    """File and MLflow name the same champion, and no other alias."""
    last = events(project)[-1]
    assert (last["kind"], last["alias"], last["run"]) == ("promotion", "champion", OURS)
    assert champion(project) == last["content_key"]
    assert set(client_of(project).get_registered_model(MODEL).aliases) == {"champion"}


@pytest.mark.parametrize("committed", [False, True])
def test_a_promotion_is_made_again_when_its_file_was_lost(released: Project, committed: bool) -> None:
    if committed:
        released.run("sfddm", "promote", OURS, "--to", "staging")
        released.run("git", "checkout", "--quiet", ".")
    else:
        (released.folder / "promotions.json").unlink()
        assert "`sfddm track` makes" in released.run("sfddm", "demote", CHAMPION, code=2)
    lost = "staging" if committed else "champion"
    assert "`sfddm track` says" in released.run("sfddm", "promote", OURS, "--to", lost, code=2)
    refused = released.run("sfddm", "track", code=2)
    assert "`git pull`" in refused and "`sfddm track --overrule`" in refused
    told = re.findall(rf"\S+ promotion, {lost}, commit [0-9a-f]{{12}} \({OURS}\)", refused)
    assert len(told) == 1 and f"{MODEL}, taken back: {told[0]}" in released.run("sfddm", "track", "--overrule")
    assert f"@{lost} is now version 1" in released.run("sfddm", "promote", OURS, "--to", lost)
    if committed:
        released.run("sfddm", "demote", f"models:/{MODEL}@staging")
        released.run("git", "checkout", "--quiet", ".")
        released.run("sfddm", "track", "--overrule")
    else:
        commit(released, ".")
    agreed(released)
    assert "taken back" not in released.run("sfddm", "track")


def test_an_alias_that_was_deleted_by_hand_is_set_by_the_next_promotion(released: Project) -> None:
    client_of(released).delete_registered_model_alias(MODEL, "champion")
    assert "`sfddm promote RUN`" in released.run("sfddm", "sample", CHAMPION, code=2)
    assert "is champion already" in released.run("sfddm", "promote", OURS)
    agreed(released)


@pytest.mark.parametrize("whole", [False, True])
def test_a_version_or_model_that_was_deleted_in_mlflow_is_tracked_again(released: Project, whole: bool) -> None:
    if whole:
        client_of(released).delete_registered_model(MODEL)
    else:
        client_of(released).delete_model_version(MODEL, "1")
    assert "`sfddm track`" in released.run("sfddm", "sample", CHAMPION, code=2)
    assert "`sfddm track tiny`" in " ".join(released.run("sfddm", "promote", OURS, code=2).split())
    if whole:
        released.run("sfddm", "demote", CHAMPION)
    released.run("sfddm", "track", "tiny")
    released.run("sfddm", "promote", OURS)
    agreed(released)


def test_an_experiment_that_was_deleted_in_mlflow_is_restored_by_the_named_command(released: Project) -> None:
    client_of(released).delete_experiment("1")
    refused = released.run("sfddm", "track", code=2)
    assert released.run("sfddm", "ui", "tiny", code=2) == refused
    released.run("sh", "-c", " ".join(refused.partition("Restore it: ")[2].split()))
    released.run("sfddm", "track")
    agreed(released)


def test_a_damaged_database_is_made_anew(released: Project) -> None:
    (released.folder / "mlflow.db").write_text("no database")
    assert "delete it: `sfddm track` fills" in " ".join(released.run("sfddm", "promote", OURS, code=2).split())
    (released.folder / "mlflow.db").unlink()
    REFILLED.append(released.folder)
    released.run("sfddm", "track")
    agreed(released)


def test_the_database_of_a_clone_that_was_moved_is_made_anew(released: Project, tmp_path: Path) -> None:
    shutil.copytree(released.folder, tmp_path / "moved", symlinks=True)
    moved = Project.at(tmp_path / "moved")
    refused = " ".join(moved.run("sfddm", "track", code=2).split())
    assert "mlflow.db was made in another folder" in refused and "Delete it, then run `sfddm track`" in refused
    (moved.folder / "mlflow.db").unlink()
    moved.run("sfddm", "track")
    agreed(moved)
    assert "4 network evaluations" in moved.run("sfddm", "sample", CHAMPION)


def test_a_version_without_its_files_is_made_anew(released: Project) -> None:
    shutil.rmtree(released.folder / "mlartifacts")
    for command in (("sample", CHAMPION), ("compare", CHAMPION, "tiny-ddim-t4-s0")):
        said = " ".join(released.run("sfddm", *command, code=2).split())
        assert "delete its run and the version" in said
    client = client_of(released)
    version = client.get_model_version_by_alias(MODEL, "champion")
    client.delete_run(version.run_id)
    client.delete_model_version(MODEL, version.version)
    released.run("sfddm", "track")
    agreed(released)
    assert "4 network evaluations" in released.run("sfddm", "sample", CHAMPION)
    released.run("sfddm", "compare", CHAMPION, "tiny-ddim-t4-s0")


def test_a_commit_that_was_amended_is_replaced_by_the_next_promotion(released: Project) -> None:
    before = events(released)
    released.run("git", "add", "--all")
    released.run("git", "reset", "--soft", released.run("git", "rev-list", "--max-parents=0", "HEAD").strip())
    released.run("git", "commit", "--quiet", "--amend", "--no-edit", **WHO)
    released.run("git", "reflog", "expire", "--expire=now", "--all")
    released.run("git", "gc", "--quiet", "--prune=now")
    assert "promote the run again" in " ".join(released.run("sfddm", "reproduce", CHAMPION, "--quick", code=2).split())
    assert "is now version" in released.run("sfddm", "promote", OURS)
    assert [event["commit"] for event in events(released)] == [
        *(event["commit"] for event in before),
        released.run("git", "rev-parse", "HEAD").strip(),
    ]
    agreed(released)


def test_a_champion_that_nothing_can_make_again_is_demoted(released: Project) -> None:
    """Version, results and DVC's objects are gone."""
    moved = [(released.folder / name, released.folder / f"{name}-elsewhere") for name in ("runs", ".dvc/cache")]
    client_of(released).delete_registered_model(MODEL)
    for path, elsewhere in moved:
        shutil.move(path, elsewhere)
    told = released.run("sfddm", "track")
    assert "is not available: DVC has no object" in told and f"`sfddm demote {CHAMPION}`" in told
    assert f"{CHAMPION} is {OURS}" not in told
    released.run("sfddm", "demote", CHAMPION)
    for path, elsewhere in moved:
        shutil.rmtree(path, ignore_errors=True)
        shutil.move(elsewhere, path)
    released.run("sfddm", "track")
    released.run("sfddm", "promote", OURS)
    agreed(released)
