"""Gates in closed form, and the file that remembers every decision."""

import json
import subprocess
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from sfddm.cli.registry import history
from sfddm.errors import UserError
from sfddm.pipeline.git import head, uncommitted, worktree
from sfddm.pipeline.paths import Paths
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
from sfddm.registry.gates import gates
from tests.experiment import ERROR, OPEN, PANEL, WRONG, Experiment, figures, promotion, row

FAR = ERROR + 0.02
"""A standard error of which .02 remains in a difference, whose interval then has a half-width of .0555."""
WHO = ("-c", "user.name=Test", "-c", "user.email=test@example.org")


def decided(experiment: Experiment, champion: Promotion | None = None, **wanted: Any) -> dict[str, Gate]:
    """The gates by name, where all are open but those that are given."""
    spec = evolve(experiment.spec, promotion=evolve(OPEN, **wanted))
    found = {gate.name: gate for gate in gates(spec, row(experiment), champion)}
    assert all(gate.passed for name, gate in found.items() if name not in wanted)
    return found


def demotion(of: Promotion) -> Demotion:
    return Demotion(kind="demotion", time="2026-01-02T00:00:00+00:00", model=of.model, alias=of.alias, run=of.run,
                    content_key=of.content_key, commit=of.commit)  # fmt: skip


@pytest.mark.parametrize(
    ("gate", "at", "beyond", "figure"),
    [("samples", 5000, 5001, "5000"), ("agreement", 0.9, 0.91, "0.9000"), ("speed_up", 16.0, 16.1, "16.0")],
)
def test_a_bound_is_still_passed_where_the_figure_is_the_bound(
    experiment: Experiment, gate: str, at: float, beyond: float, figure: str
) -> None:
    experiment.add("ours", 4, experiment.ours, [0.5])
    assert decided(experiment, **{gate: at})[gate].passed
    refused = decided(experiment, **{gate: beyond})[gate]
    assert not refused.passed and refused.figure == figure and refused.bound == f"at least {beyond}"


def test_the_lowest_agreement_counts_of_the_scorers_that_have_classes(experiment: Experiment) -> None:
    experiment.add("ours", 4, experiment.ours, [0.5])
    says = figures(0.5, nfe=4, cost={"total": 0})
    says["scorers"]["more classes"] = {**says["scorers"]["convolutional"], "agreement": 0.8}
    says["panel"].append("more classes")
    experiment.write("ours", 0, says)
    for wanted, passed in ((0.8, True), (0.85, False)):
        gate = decided(experiment, agreement=wanted)["agreement"]
        assert gate.figure == "0.8000" and gate.passed is passed


def test_where_no_scorer_has_classes_only_a_gate_of_0_is_passed(experiment: Experiment) -> None:
    experiment.add("ours", 4, experiment.ours, [0.5])
    says = figures(0.5, nfe=4, cost={"total": 0})
    says["panel"].remove("convolutional")
    experiment.write("ours", 0, says)
    assert decided(experiment, agreement=0.0)["agreement"].passed
    refused = decided(experiment, agreement=0.001)["agreement"]
    assert not refused.passed and refused.figure == "unknown" and refused.bound.endswith("no scorer has classes")


VERDICTS = [
    # Distances to the two scorers less the rival's, in their units, and whether that is better and not worse.
    (-0.2, -0.2, True, True),
    (-0.05, -0.05, False, True),
    (0.05, 0.05, False, True),
    (0.2, 0.2, False, False),
    (-0.2, 0.05, False, True),
    (-0.2, 0.2, False, False),
    (0.2, -0.2, False, False),
]


@pytest.mark.parametrize(("first", "second", "better", "not_worse"), VERDICTS)
def test_the_whole_interval_decides_for_every_scorer(
    experiment: Experiment, first: float, second: float, better: bool, not_worse: bool
) -> None:
    experiment.add("ours", 4, experiment.ours, [0.5 + first], pixels=[10 * (0.5 + second)], error=FAR)
    experiment.add("ddim", 4, experiment.ddim, [0.5])
    rival = promotion(row(experiment, "ddim"))
    for word, passed in (("better", better), ("not-worse", not_worse)):
        free = decided(experiment, against_free=word)["against_free"]
        champion = decided(experiment, rival, against_champion=word)["against_champion"]
        assert free.passed is champion.passed is passed
        assert free.figure == f"convolutional {first:+.3f} ± 0.056, pixels {10 * second:+.3f} ± 0.555"
        assert free.bound == f"{word.replace('-', ' ')} than ddim"


@pytest.mark.parametrize(
    ("first", "second", "as_good", "not_worse"),
    [
        # The margin is .025 and the half-width .0555, in the scorers' units.
        (-0.2, -0.2, True, True),
        (-0.04, -0.04, True, True),
        (-0.02, -0.02, False, True),
        (0.05, 0.05, False, True),
        (0.2, 0.2, False, False),
        (-0.2, -0.02, False, True),
        (-0.2, 0.2, False, False),
    ],
)
def test_the_teacher_is_reached_by_the_whole_interval_for_every_scorer(
    experiment: Experiment, first: float, second: float, as_good: bool, not_worse: bool
) -> None:
    experiment.add("ours", 4, experiment.ours, [0.25 + first], pixels=[10 * (0.25 + second)], error=FAR)
    for word, passed in (("as-good", as_good), ("not-worse", not_worse)):
        gate = decided(experiment, against_teacher=word)["against_teacher"]
        assert gate.passed is passed
        assert gate.figure == f"convolutional {first:+.3f} ± 0.056, pixels {10 * second:+.3f} ± 0.555"
    assert (
        gate.bound
        == "not worse than the teacher's 0.250, 2.500 (with the floor's bias 0.250, 2.500; floor 0.125, 1.250)"
    )
    assert "less than 10% above the teacher's" in decided(experiment, against_teacher="as-good")[
        "against_teacher"
    ].bound  # fmt: skip


AGAINST = {"against_teacher": "as-good", "against_free": "better", "against_champion": "better"}


def test_a_scorer_whose_distances_are_wrong_passes_and_refuses_nobody(experiment: Experiment) -> None:
    for wrong, figure, passed in (("pixels", "convolutional -0.0", True), ("convolutional", "pixels +", False)):
        notes = [f"{wrong}: {WRONG}"]
        experiment.add("ours", 4, experiment.ours, [0.2], pixels=[9.0], notes=notes)
        experiment.add("ddim", 4, experiment.ddim, [0.25], pixels=[3.0], notes=notes)
        found = decided(experiment, promotion(row(experiment, "ddim")), **AGAINST)
        for name in AGAINST:
            assert found[name].figure.startswith(figure) and found[name].passed is passed


def test_where_no_scorer_can_be_used_gates_refuse_with_the_remedy(experiment: Experiment) -> None:
    notes = [f"{name}: {WRONG}" for name in PANEL]
    experiment.add("ours", 4, experiment.ours, [0.2], notes=notes)
    experiment.add("ddim", 4, experiment.ddim, [0.5], notes=notes)
    found = decided(experiment, promotion(row(experiment, "ddim")), **AGAINST)
    for name in AGAINST:
        assert not found[name].passed and "raise evaluation.samples" in found[name].bound
        assert "demote" not in found[name].bound, "that would be no remedy"


def test_the_rival_is_the_best_free_row_of_at_most_as_many_steps(experiment: Experiment) -> None:
    """One of fewer steps is what a user would take instead; one of more steps is not."""
    experiment.add("ours", 4, experiment.ours, [0.5], error=FAR)
    experiment.add("more-steps", 8, experiment.ddim, [0.1])
    experiment.add("trained", 4, experiment.ours, [0.1])
    experiment.add("worse", 4, experiment.ddim, [0.9])
    passed = decided(experiment, against_free="better")["against_free"]
    assert passed.passed and passed.bound == "better than worse"
    experiment.add("fewer-steps", 2, experiment.ddim, [0.4])
    refused = decided(experiment, against_free="better")["against_free"]
    assert not refused.passed and refused.bound == "better than fewer-steps"
    assert refused.figure == "convolutional +0.100 ± 0.056, pixels +1.000 ± 0.555"


def test_every_scorer_has_a_best_free_row_of_its_own(experiment: Experiment) -> None:
    """The student is better than each of the two in one view, and not than the best in both."""
    experiment.add("ours", 4, experiment.ours, [0.5])
    experiment.add("sharp", 4, experiment.ddim, [0.4], pixels=[9.0])
    experiment.add("smooth", 4, experiment.ddim, [0.9], pixels=[4.0])
    refused = decided(experiment, against_free="not-worse")["against_free"]
    assert not refused.passed and refused.bound == "not worse than sharp or smooth"
    assert refused.figure == "convolutional +0.100 ± 0.000, pixels +1.000 ± 0.000"


def test_without_a_free_row_of_so_few_steps_the_gate_refuses_and_says_what_to_add(experiment: Experiment) -> None:
    experiment.add("ours", 4, experiment.ours, [0.5])
    experiment.add("more-steps", 8, experiment.ddim, [0.9])
    refused = decided(experiment, against_free="not-worse")["against_free"]
    assert not refused.passed and "add a free student of at most 4 steps" in refused.bound


def with_figures(rival: Promotion, change: Callable[[dict[str, Any]], object]) -> Promotion:
    """The rival, with other figures that are remembered of it."""
    changed = deepcopy(rival.figures)
    change(changed)
    return evolve(rival, figures=changed)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda found: found.update(samples=50), "other number of images (50 | 5000)"),
        (lambda found: found.update(noise_seed=4), "other noises (4 | 3)"),
        (lambda found: found.update(reference="other"), "other reference (other | 4567cdef)"),
        (lambda found: found["scorers"]["pixels"].update(scorer="other"), "pixels: other scorer (other | "),
        (lambda found: found["scorers"]["pixels"].update(scorer_version="1"), "pixels: other version (1 | 2)"),
        (lambda found: found["scorers"]["pixels"].update(real="other"), "pixels: other real images (other | "),
        (lambda found: found["panel"].remove("pixels"), "other scorers (convolutional | convolutional, pixels)"),
        (
            lambda found: found["panel"].append("inception"),
            "other scorers (convolutional, inception, pixels | convolutional, pixels)",
        ),
        (
            lambda found: found["scorers"]["pixels"].pop("frechet_distance_jackknife"),
            "pixels: unknown errors",
        ),
    ],
)
def test_a_champion_that_was_judged_otherwise_is_not_compared(
    experiment: Experiment, change: Callable[[dict[str, Any]], object], reason: str
) -> None:
    """By another scorer, other images, or a panel that has one more or less: it would be passed by leaving one out."""
    experiment.add("ours", 4, experiment.ours, [0.1], error=FAR)
    experiment.add("ddim", 4, experiment.ddim, [0.5])
    rival = promotion(row(experiment, "ddim"))
    assert decided(experiment, rival, against_champion="better")["against_champion"].passed
    refused = decided(experiment, with_figures(rival, change), against_champion="not-worse")["against_champion"]
    assert not refused.passed and refused.figure == "does not compare" and reason in refused.bound
    assert "sfddm demote models:/sfddm-tiny@champion" in refused.bound


def test_a_student_whose_own_errors_are_unknown_is_not_compared(experiment: Experiment) -> None:
    experiment.add("ours", 4, experiment.ours, [0.1], error=FAR)
    experiment.add("ddim", 4, experiment.ddim, [0.5])
    assert decided(experiment, against_free="better")["against_free"].passed
    path = Paths("tiny").result("ours", 0) / "metrics.json"
    found = json.loads(path.read_text())
    for scorer in found["scorers"].values():
        del scorer["frechet_distance_jackknife"]
    path.write_text(json.dumps(found))
    refused = decided(experiment, against_free="not-worse")["against_free"]
    assert not refused.passed and refused.figure == "does not compare" and "unknown errors" in refused.bound


def test_a_champion_is_not_held_against_itself(experiment: Experiment) -> None:
    experiment.add("ours", 4, experiment.ours, [0.5])
    assert "against_champion" not in decided(experiment, promotion(row(experiment)), against_champion="better")


def test_an_alias_names_who_was_promoted_last_until_a_demotion(experiment: Experiment) -> None:
    for name in ("a", "b"):
        experiment.add(name, 4, experiment.ours, [0.5], weights=name)
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


def test_the_history_is_listed_within_80_columns(experiment: Experiment, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        experiment.add(name, 4, experiment.ours, [0.5], weights=name)
    first, second = (promotion(row(experiment, name)) for name in ("a", "b"))
    staged = evolve(first, alias="staging")
    write_history(History(events=(first, staged, demotion(staged), second)))
    history("sfddm-tiny")
    *lines, _ = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert lines[::2] == [
        "2026-01-01 00:00  sfddm-tiny@champion  promoted: tiny-a-s0",
        "2026-01-01 00:00  sfddm-tiny@staging  promoted: tiny-a-s0",
        "2026-01-02 00:00  sfddm-tiny@staging  demoted: tiny-a-s0",
        "2026-01-01 00:00  sfddm-tiny@champion  promoted, holds: tiny-b-s0",
    ]
    assert lines[1] == f"    distance 0.5000, content {first.content_key}, commit 01234567"
    assert lines[5] == f"    content {first.content_key}, commit 01234567"


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


def test_no_alarm_is_raised_where_nothing_was_promoted(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    history()
    assert capsys.readouterr().out == "Nothing was promoted yet.\n"
    write_history(History())
    git("add", ".")
    git("commit", "--quiet", "--message", "promotions")
    PROMOTIONS.unlink()
    history()
    assert "is gone: `git restore promotions.json`" in capsys.readouterr().out


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
