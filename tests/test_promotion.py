"""Gates in closed form, and the file that remembers every decision."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from sfddm.errors import UserError
from sfddm.evaluation.metrics import CONDITIONS
from sfddm.pipeline.git import head, uncommitted, worktree
from sfddm.pipeline.promotions import (
    PROMOTED,
    PROMOTIONS,
    Demotion,
    Gate,
    History,
    Promotion,
    read_history,
    write_history,
)
from sfddm.pipeline.rows import Row, load_row
from sfddm.registry.gates import REMEMBERED, gates
from sfddm.spec.evaluation import Gates
from tests.experiment import NOISE, Experiment

OPEN = Gates(
    samples=2, distance_ratio=1000.0, agreement=0.0, speed_up=0.001, against_ddim="any", against_champion="any"
)
"""Gates that let everything pass."""
TWICE, OPPOSITE = (tuple(factor * moved for moved in NOISE) for factor in (2, -1))
WHO = ("-c", "user.name=Test", "-c", "user.email=test@example.org")


def row(experiment: Experiment, student: str = "ours") -> Row:
    spec = experiment.spec
    return load_row(spec, spec.run(student, "0"))


def decided(experiment: Experiment, champion: Promotion | None = None, **wanted: Any) -> dict[str, Gate]:
    """The gates by name, where all are open but those that are given."""
    spec = evolve(experiment.spec, promotion=evolve(OPEN, **wanted))
    found = {gate.name: gate for gate in gates(spec, row(experiment), champion)}
    assert all(gate.passed for name, gate in found.items() if name not in wanted)
    return found


def promotion(of: Row, alias: str = "champion", **changed: Any) -> Promotion:
    fields = {
        "kind": "promotion", "time": "2026-01-01T00:00:00+00:00", "model": "sfddm-tiny", "alias": alias, "spec": "tiny",
        "run": of.run.name, "content_key": of.content_key, "commit": "0123456789abcdef", "gates": (),
        "figures": {key: of.metrics[key] for key in REMEMBERED if key in of.metrics},
    }  # fmt: skip
    return Promotion(**{**fields, **changed})


def demotion(of: Promotion) -> Demotion:
    return Demotion(kind="demotion", time="2026-01-02T00:00:00+00:00", model=of.model, alias=of.alias, run=of.run,
                    content_key=of.content_key, commit=of.commit)  # fmt: skip


@pytest.mark.parametrize(
    ("gate", "at", "beyond", "figure"),
    [
        ("samples", 5000, 5001, "5000"),
        ("distance_ratio", 2.0, 1.99, "2.000"),  # .5 over the teacher's .25
        ("agreement", 0.9, 0.91, "0.9000"),
        ("speed_up", 16.0, 16.1, "16.0"),
    ],
)
def test_a_bound_is_still_passed_where_the_figure_is_the_bound(
    experiment: Experiment, gate: str, at: float, beyond: float, figure: str
) -> None:
    experiment.add("ours", 4, experiment.ours, [0.5])
    assert decided(experiment, **{gate: at})[gate].passed
    refused = decided(experiment, **{gate: beyond})[gate]
    assert not refused.passed and refused.figure == figure and str(beyond) in refused.bound


@pytest.mark.parametrize(
    ("distance", "noise", "better", "not_worse"),
    [
        # Against .5: blocks differ by the distances' difference plus noise of half-width .0196 (TWICE) or .0392.
        (0.3, TWICE, True, True),
        (0.49, TWICE, False, True),
        (0.51, TWICE, False, True),
        (0.7, TWICE, False, False),
        (0.47, OPPOSITE, False, True),
        (0.45, OPPOSITE, True, True),
    ],
)
def test_the_paired_interval_decides(
    experiment: Experiment, distance: float, noise: tuple[float, ...], better: bool, not_worse: bool
) -> None:
    experiment.add("ours", 4, experiment.ours, [distance], noise)
    experiment.add("ddim", 4, experiment.ddim, [0.5])
    rival = promotion(row(experiment, "ddim"))
    for word, passed in (("better", better), ("not-worse", not_worse)):
        assert decided(experiment, against_ddim=word)["against_ddim"].passed is passed
        assert decided(experiment, rival, against_champion=word)["against_champion"].passed is passed


def test_of_several_free_rows_the_best_with_as_many_steps_counts(experiment: Experiment) -> None:
    experiment.add("ours", 4, experiment.ours, [0.5], TWICE)
    experiment.add("worse", 4, experiment.ddim, [0.9])
    experiment.add("more-steps", 8, experiment.ddim, [0.1])
    assert decided(experiment, against_ddim="better")["against_ddim"].passed
    experiment.add("best", 4, experiment.ddim, [0.4])
    refused = decided(experiment, against_ddim="better")["against_ddim"]
    assert not refused.passed and refused.bound == "better than best" and refused.figure == "+0.1000 ± 0.0196"


def test_without_a_free_row_the_gate_refuses_and_says_what_to_add(experiment: Experiment) -> None:
    experiment.add("ours", 4, experiment.ours, [0.5])
    refused = decided(experiment, against_ddim="not-worse")["against_ddim"]
    assert not refused.passed and "add a ddim student of 4 steps" in refused.bound


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_champion_under_other_conditions_is_not_compared(experiment: Experiment, condition: str) -> None:
    experiment.add("ours", 4, experiment.ours, [0.1], TWICE)
    experiment.add("ddim", 4, experiment.ddim, [0.5])
    rival = promotion(row(experiment, "ddim"))
    other = evolve(rival, figures={**rival.figures, condition: "other"})
    refused = decided(experiment, other, against_champion="not-worse")["against_champion"]
    assert not refused.passed and refused.figure == "does not compare"
    assert "sfddm demote models:/sfddm-tiny@champion" in refused.bound


def test_a_champion_is_not_held_against_itself(experiment: Experiment) -> None:
    experiment.add("ours", 4, experiment.ours, [0.5])
    assert "against_champion" not in decided(experiment, promotion(row(experiment)), against_champion="better")


def test_an_alias_names_who_was_promoted_last_until_a_demotion(experiment: Experiment) -> None:
    for name in ("a", "b"):
        experiment.add(name, 4, experiment.ours, [0.5], seed=name)
    first, second = (promotion(row(experiment, name)) for name in ("a", "b"))
    staged = evolve(first, alias="staging")
    history = History(events=(first, staged, second))
    assert history.holders() == {("sfddm-tiny", "champion"): second, ("sfddm-tiny", "staging"): staged}
    history = history.and_then(demotion(second))
    assert history.holders() == {("sfddm-tiny", "staging"): staged}
    lines = history.tags("sfddm-tiny", second.content_key)[PROMOTED].splitlines()
    assert [line.split()[1] for line in lines] == ["promotion,", "demotion,"]
    assert history.tags("sfddm-tiny", "unknown") == history.tags("other", first.content_key) == {}


def test_the_history_survives_its_file(experiment: Experiment) -> None:
    experiment.add("ours", 4, experiment.ours, [0.5])
    assert read_history() == History()
    gate = Gate(name="samples", figure="5000", bound="at least 2", passed=True)
    event = promotion(row(experiment), gates=(gate,))
    history = History(events=(event, demotion(event)))
    write_history(history)
    assert read_history() == history


@pytest.mark.parametrize(
    ("old", "new"), [("{", "<<<<<<< HEAD\n{"), ('"champion"', '"boss"'), ('"run"', '"ran"'), ('"promotion"', '"x"')]
)
def test_a_damaged_history_is_refused_with_what_to_do(experiment: Experiment, old: str, new: str) -> None:
    experiment.add("ours", 4, experiment.ours, [0.5])
    write_history(History(events=(promotion(row(experiment)),)))
    PROMOTIONS.write_text(PROMOTIONS.read_text().replace(old, new))
    with pytest.raises(UserError, match="settle the merge conflict"):
        read_history()


def git(*arguments: str) -> str:
    return subprocess.run(["git", *WHO, *arguments], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git repository with one commit of two files."""
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path)
    for name in ("a", "sub/b"):
        (tmp_path / name).write_text("1")
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "first")
    return tmp_path


def test_changed_staged_new_and_deleted_files_are_uncommitted(repository: Path) -> None:
    assert uncommitted(["."]) == []
    (repository / "a").write_text("2")
    (repository / "sub/new name").write_text("1")
    (repository / "sub/b").unlink()
    git("add", "a")
    assert uncommitted(["."]) == ["a", "sub/b", "sub/new name"]
    assert uncommitted(["sub"]) == ["sub/b", "sub/new name"]


def test_a_worktree_has_the_commit_and_is_gone_afterwards(repository: Path) -> None:
    first = head()
    assert first is not None
    (repository / "a").write_text("2")
    git("commit", "--quiet", "--all", "--message", "second")
    with pytest.raises(ZeroDivisionError), worktree(first) as folder:
        assert (folder / "a").read_text() == "1" and (repository / "a").read_text() == "2"
        raise ZeroDivisionError
    assert not folder.exists() and len(git("worktree", "list").splitlines()) == 1
    with pytest.raises(UserError, match="no commit 0123"), worktree("0123456789"):
        pass
