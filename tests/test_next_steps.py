"""What `sfddm report` proposes: nothing that is done already, and no promotion that the gates would refuse."""

import os
import subprocess
from pathlib import Path

import pytest
from attrs import evolve

from sfddm.pipeline.promotions import History, write_history
from sfddm.registry.next_steps import next_steps
from tests.experiment import OPEN, Experiment, promotion, row
from tests.project import WHO


@pytest.fixture
def registered(experiment: Experiment) -> Experiment:
    """Students of four and two steps that are registered, and gates that ask them to be as good as the teacher."""
    experiment.add("ours", 4, experiment.ours, [0.25], weights="a")
    experiment.add("few", 2, experiment.ours, [8.5], weights="b")
    registry = evolve(experiment.spec.registry, students=("ours", "few"))
    gates = evolve(OPEN, against_teacher="as-good", against_champion="not-worse")
    experiment.spec = evolve(experiment.spec, registry=registry, promotion=gates)
    return experiment


def proposed(experiment: Experiment) -> dict[str, str]:
    return dict(next_steps(experiment.spec, experiment.table()))


def test_a_promotion_is_proposed_of_the_fewest_steps_that_pass_the_gates(registered: Experiment) -> None:
    assert "sfddm promote tiny-ours-s0" in proposed(registered)
    registered.add("few", 2, registered.ours, [0.25], weights="b")
    assert "sfddm promote tiny-few-s0" in proposed(registered)


def test_where_no_student_passes_that_is_said(registered: Experiment) -> None:
    registered.add("ours", 4, registered.ours, [0.5], weights="a")
    found = proposed(registered)
    assert not any(command.startswith("sfddm promote") and "--dry-run" not in command for command in found)
    assert found["sfddm promote tiny-few-s0 --dry-run"] == (
        "no student passes the gates; this one fails against_teacher"
    )


def test_the_champion_is_to_be_used_and_not_promoted_again(registered: Experiment) -> None:
    write_history(History(events=(promotion(row(registered, "ours")),)))
    *_, last = proposed(registered)
    assert last == "sfddm export tiny-ours-s0 out --format onnx"


def test_what_is_committed_is_not_to_be_committed(registered: Experiment) -> None:
    assert "git add code.yaml dvc.lock params.yaml specs && git commit -m Results" in proposed(registered), (
        "no git here"
    )
    Path("specs").mkdir()
    for name in ("dvc.lock", "specs/tiny.yaml", "note.txt"):
        Path(name).touch()
    subprocess.run(["git", "init", "--quiet"], check=True)
    subprocess.run(["git", "add", "specs", "dvc.lock"], check=True)
    subprocess.run(["git", "commit", "--quiet", "--message", "first"], check=True, env={**os.environ, **WHO})
    assert not any("git" in command for command in proposed(registered))
    Path("dvc.lock").write_text("changed")
    assert "git add dvc.lock && git commit -m Results" in proposed(registered)


def test_nothing_is_proposed_where_nothing_is_registered(registered: Experiment) -> None:
    registered.spec = evolve(registered.spec, registry=evolve(registered.spec.registry, students=()))
    assert proposed(registered) == {}
