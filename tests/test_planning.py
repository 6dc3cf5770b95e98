"""`sfddm plan`: which stages will run, and what is known of them without running any."""

from pathlib import Path

import pytest
from attrs import evolve

from sfddm.cli.plan import duration, size
from sfddm.methods.trajectories import load_or_compute
from sfddm.planning import estimate
from sfddm.planning.scoring import measure
from sfddm.planning.stages import stages, to_run
from sfddm.spec.evaluation import OwnStatistics, Torchvision
from sfddm.spec.experiment import Spec
from sfddm.spec.parts import Cache
from sfddm.spec.students import Resampled
from tests.parts import tiny, untrained_teacher
from tests.project import Project


def test_what_reads_the_output_of_a_stage_runs_after_it() -> None:
    needs = stages(tiny())
    assert to_run(needs, set()) == set()
    assert to_run(needs, {"data@tiny"}) == set(needs)
    assert to_run(needs, {"evaluate@tiny-ddim-t4-s0"}) == {"evaluate@tiny-ddim-t4-s0", "track@tiny", "report@tiny"}
    assert to_run(needs, {"scorer@tiny"}) == {"scorer@tiny", "evaluate@tiny-ddim-t4-s0", "evaluate@tiny-ours-t4-s0",
                                              "track@tiny", "report@tiny"}  # fmt: skip


def with_a_resampled_student() -> Spec:
    """tiny with a student that is listed before the one that it samples."""
    spec = tiny()
    other = evolve(spec.students["ddim-t4"], method=Resampled(kind="resampled", student="ours-t4"))
    return evolve(spec, students={"other": other, **spec.students})


def test_a_resampled_student_runs_after_the_one_that_it_samples() -> None:
    found = to_run(stages(with_a_resampled_student()), {"distill@tiny-ours-t4-s0"})
    assert {"distill@tiny-other-s0", "evaluate@tiny-other-s0"} <= found and "distill@tiny-ddim-t4-s0" not in found


def test_the_bytes_of_trajectories_are_those_of_their_file(tmp_path: Path) -> None:
    teacher, cache = untrained_teacher(), Cache(noises=50, seed=1, solver="ddim", substeps=2, clip_sample=True)
    kept = load_or_compute(teacher, "digest", (16, 32, 64), cache, tmp_path)
    held = sum(tensor.numel() * tensor.element_size() for tensor in (kept.states, kept.features))
    assert estimate._trajectories(teacher, 3, cache) == held
    (path,) = tmp_path.glob("*.safetensors")
    assert held < path.stat().st_size < held + 1000


def test_what_is_too_much_for_the_memory_is_not_counted_as_held_there(monkeypatch: pytest.MonkeyPatch) -> None:
    for free, held in ((100, 75), (99, 25), (0, 0)):
        monkeypatch.setattr(estimate, "free_memory", lambda _, free=free: free)
        assert estimate._resident(50, 25) == held


def test_equal_networks_are_measured_once_and_trajectories_are_paid_for_once() -> None:
    spec = tiny()
    twin = spec.students["ours-t4"]
    spec = evolve(spec, students={"first": twin, "second": twin})
    found = dict(estimate.estimates(spec, {"distill@tiny-first-s0", "distill@tiny-second-s0"}))
    first, second = found.values()
    assert first.scratch > 0 and second.scratch == 0 and first.seconds > second.seconds
    assert (first.disk, first.memory) == (second.disk, second.memory) and first.disk == second.disk == 40489 * 4


def test_a_published_scorer_is_measured_without_its_weights() -> None:
    settings = Torchvision(
        kind="torchvision", model="resnet18", size=32, sha256="0" * 64, statistics=OwnStatistics(kind="data")
    )
    found = measure(settings, (3, 8, 8), 10)
    assert found.features == 512 and found.train == 0 and found.real > 0 and found.image > 0
    assert found.of(20_000) > found.of(10_000) > 0


def test_amounts_are_written_in_units_that_fit() -> None:
    assert [duration(seconds) for seconds in (0.4, 119, 120, 7200, 864_000)] == [
        "0 s",
        "119 s",
        "2.0 min",
        "2.0 h",
        "10.0 d",
    ]
    assert [size(count) for count in (900, 2.5e6, 3e9, 596e9, 2e12)] == [
        "1 kB",
        "2.5 MB",
        "3.0 GB",
        "596.0 GB",
        "2.0 TB",
    ]


@pytest.mark.pipeline
def test_a_plan_names_what_is_done_and_estimates_the_rest(project: Project) -> None:
    assert "all 10 stages are done" in project.run("sfddm", "plan", "tiny")
    with project.edit("specs/tiny.yaml", "weight: 0.3, state", "weight: 0.4, state"):
        output = project.run("sfddm", "plan", "tiny")
    lines = {line.split()[0]: line.split()[1:] for line in output.splitlines() if "@tiny" in line}
    assert [name for name, cells in lines.items() if cells == ["done"]] == [
        "data@tiny", "scorer@tiny", "teacher@tiny", "reference@tiny", "distill@tiny-ddim-t4-s0",
        "evaluate@tiny-ddim-t4-s0",
    ]  # fmt: skip
    assert "4 of 10 stages to run on" in output and "Free here" in output
    assert project.changed() == set(), "planning changes nothing"


@pytest.mark.pipeline
def test_a_plan_of_images_that_are_not_there_says_where_they_should_be(project: Project) -> None:
    section = (
        "kind: folder\n  path: mine\n  channels: 1\n  crop: center\n  size: 8\n  flip: false\n  corrupt: refuse\n  "
    )
    labels = "labels: {kind: folders, held_out: 1, split_seed: 0}\n"
    with project.edit("specs/tiny.yaml", "kind: digits\n  train: 1500\n  split_seed: 0\n", section + labels):
        project.run("sfddm", "spec", "sync")
        output = project.run("sfddm", "plan", "tiny", code=2)
    project.run("sfddm", "spec", "sync")
    assert "mine is not a folder" in output and "SFDDM_DATA_ROOT" in output and "Traceback" not in output
