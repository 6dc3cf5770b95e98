"""`sfddm plan`: which stages would run, what is done, and what the rest would take."""

from pathlib import Path

import numpy as np
import pytest
import torch
from attrs import evolve

from sfddm.cli.plan import _costliest_scorer, duration, plan
from sfddm.errors import UserError
from sfddm.evaluation.interpolation import PAIRS, STEPS
from sfddm.methods.trajectories import load_or_compute
from sfddm.networks import storage
from sfddm.networks.layout import COST
from sfddm.pipeline.comparing import Computations, memory
from sfddm.pipeline.params import is_current, sync
from sfddm.pipeline.paths import Paths
from sfddm.pipeline.plan import START, TIMING, Estimate, _scorer, _trajectories, estimates
from sfddm.pipeline.tensor_memory import peak_tensor_bytes
from sfddm.runtime.files import write_json
from sfddm.runtime.machine import device, usage
from sfddm.spec.evaluation import OwnStatistics, Torchvision
from sfddm.spec.experiment import Spec
from sfddm.spec.parts import TRAINED, Cache
from sfddm.spec.teacher import FromDiffusers
from tests.parts import TINY, tiny, untrained_teacher
from tests.project import Project

OURS = "distill@tiny-ours-t4-s0"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def with_a_stored_teacher() -> Spec:
    folder = Paths("tiny").teacher
    folder.mkdir(parents=True)
    storage.write(folder, untrained_teacher())
    return tiny()


def test_the_bytes_of_trajectories_are_those_of_the_arrays(tmp_path: Path) -> None:
    teacher, cache = untrained_teacher(), Cache(noises=50, seed=1, solver="ddim", substeps=2, clip_sample=True)
    kept = load_or_compute(teacher, "digest", (16, 32, 64), cache, tmp_path)
    assert _trajectories(teacher, 3, cache) == kept.states.nbytes + kept.features.nbytes


def test_trajectories_are_paid_for_once() -> None:
    spec = with_a_stored_teacher()
    twin = spec.students["ours-t4"]
    spec = evolve(spec, students={"first": twin, "second": twin})
    first, second = dict(estimates(spec, {"distill@tiny-first-s0", "distill@tiny-second-s0"})).values()
    assert first.scratch > 0
    assert second.scratch == 0
    assert first.seconds > second.seconds
    assert first.memory == second.memory
    assert first.disk == second.disk == 4 * sum(part.numel() for part in untrained_teacher().parameters())


def trained_before(seconds: float, cost: int, processor: str | None = None) -> None:
    """What a training of tiny's ours-t4 leaves."""
    paths = Paths("tiny")
    took = usage(seconds, device().type, 1)
    took["machine"]["processor"] = processor or took["machine"]["processor"]
    paths.student("ours-t4", 0).mkdir(parents=True)
    paid = {"search": 0, "cache": 0, "training": cost, "folds": 1, "total": cost}
    write_json(paths.student("ours-t4", 0) / COST, paid)
    write_json(paths.timing("ours-t4", 0), took)


def test_a_student_takes_as_long_per_forward_equivalent_as_it_took_before() -> None:
    spec = with_a_stored_teacher()
    trained_before(500.0, 1000)
    (estimate,) = dict(estimates(spec, {OURS})).values()
    assert estimate.seconds == pytest.approx(START + (1024 + 7680) * 0.5)


@pytest.mark.parametrize("processor", [None, "another"], ids=["the teacher will be another", "another processor"])
def test_what_another_teacher_or_processor_took_does_not_count(processor: str | None) -> None:
    spec = with_a_stored_teacher()
    trained_before(1e9, 1000, processor)
    wanted = {OURS} if processor else {OURS, "teacher@tiny"}
    assert dict(estimates(spec, wanted))[OURS].seconds < 1000


def test_an_evaluation_takes_as_long_per_image_and_step_as_it_took_before() -> None:
    spec = with_a_stored_teacher()
    folder = Paths("tiny").result("ours-t4", 0)
    took = usage(0.0, device().type, 1)
    write_json(folder / "timing.json", {"evaluation_seconds": 70.0, "machine": took["machine"]})
    write_json(folder / "metrics.json", {"samples": 128, "nfe": 2})
    (estimate,) = dict(estimates(spec, {"evaluate@tiny-ours-t4-s0"})).values()
    assert estimate.seconds == pytest.approx(START + 70 * (256 * 4) / (128 * 2))


def only_passes_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second per image and pass, and nothing for what is computed from images and features."""
    monkeypatch.setattr("sfddm.pipeline.plan._seconds", lambda *_: 1.0)
    monkeypatch.setattr("sfddm.pipeline.comparing.seconds", lambda _: 0.0)


def test_every_scorer_is_paid_for_when_it_is_made_and_with_every_student(monkeypatch: pytest.MonkeyPatch) -> None:
    """The classifier has 40 iterations of 64 images to learn from."""
    only_passes_count(monkeypatch)
    made = {f"scorer@tiny-{name}" for name in ("convolutional", "pixels")}
    found = dict(estimates(with_a_stored_teacher(), {*made, "evaluate@tiny-ddim-t4-s0"}))
    assert found["scorer@tiny-pixels"].seconds == START + 1797
    assert found["scorer@tiny-convolutional"].seconds == START + 1797 + TRAINED * 40 * 64
    strips = PAIRS * STEPS
    seen = 2 * (256 + strips)
    assert found["evaluate@tiny-ddim-t4-s0"].seconds == START + (256 + strips) * 4 + TIMING + 2 * seen


def test_the_teachers_images_are_scored_with_the_first_student(monkeypatch: pytest.MonkeyPatch) -> None:
    only_passes_count(monkeypatch)
    rows = {f"evaluate@tiny-{name}-s0" for name in ("ddim-t4", "ours-t4")}
    first, second = dict(estimates(with_a_stored_teacher(), rows)).values()
    strips = PAIRS * STEPS
    assert first.scoring == dict.fromkeys(("convolutional", "pixels"), 2 * (256 + strips))
    assert second.scoring == dict.fromkeys(("convolutional", "pixels"), 256 + 2 * strips)


def test_the_references_own_row_draws_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    only_passes_count(monkeypatch)
    spec = with_a_stored_teacher()
    same = evolve(spec.students["ddim-t4"], index_set=spec.evaluation.reference.index_set)
    other = evolve(same, method=evolve(same.method, average="other"))
    spec = evolve(spec, students={"same": same, "coarser": spec.students["ddim-t4"], "other": other})
    same, coarser, other = dict(estimates(spec, {f"evaluate@tiny-{name}-s0" for name in spec.students})).values()
    strips = PAIRS * STEPS
    assert same.seconds == START + TIMING + 2 * (256 + 2 * strips)
    assert coarser.seconds == START + TIMING + (256 + strips) * 4 + 2 * (256 + 2 * strips)
    assert other.seconds == START + TIMING + (256 + strips) * 16 + 2 * (256 + 2 * strips), "of another average"


def test_what_is_computed_from_features_counts_as_often_as_an_evaluation_does_it() -> None:
    """With ten blocks: 24 roots, 64 distances; 100 images and 200 real ones in moments, and in pairs of both kinds."""
    once = dict.fromkeys(("root", "distance", "moments", "kernel", "neighbours"), 0.0)
    totals = {key: Computations(**{**once, key: 1.0}).total(100, 200) for key in once}
    assert totals["root"] == 24 and totals["distance"] == 64 and totals["moments"] == 4 * 100 + 3 * 200
    assert totals["kernel"] == pytest.approx(0.55 * (100**2 + 200**2) + 100 * 200)
    assert totals["neighbours"] == 100**2


def test_memory_of_an_evaluation_holds_all_features_and_grows_with_images_and_features() -> None:
    own, real = np.zeros((5000, 1024), np.float32), np.zeros((10_000, 1024 + 128), np.float32)
    assert memory(5000, 10_000, [64, 64, 1024]) > 2 * own.nbytes + real.nbytes
    assert memory(5000, 10_000, [1024]) < memory(10_000, 10_000, [1024]) < memory(10_000, 10_000, [2048])


def test_the_costliest_scorer_is_named_where_evaluations_take_most() -> None:
    scored = {"imagenet": 900.0, "pixels": 60.0}
    found = {f"evaluate@own-{row}": Estimate(seconds=1000.0, scoring=scored) for row in ("a", "b")}
    words = "33.3 min of it are evaluations, 30.0 min in the scorer imagenet, the costliest."
    assert _costliest_scorer({**found, "teacher@own": Estimate(seconds=1900.0)}) == words
    assert not _costliest_scorer({**found, "teacher@own": Estimate(seconds=2100.0)})


def test_a_plan_follows_an_edit_of_the_spec(capsys: pytest.CaptureFixture[str]) -> None:
    Path("specs").mkdir()
    Path("specs/tiny.yaml").write_text(TINY)
    sync()
    before, ours, after = TINY.partition("  ours-t4:")
    Path("specs/tiny.yaml").write_text(before + ours + after.replace("seeds: [0]", "seeds: [0, 1]", 1))
    plan("tiny")
    assert "distill@tiny-ours-t4-s1" in capsys.readouterr().out
    assert is_current()


def test_a_missing_teacher_is_said_before_anything_is_estimated() -> None:
    spec = tiny()
    source = FromDiffusers(kind="diffusers", model="mine", revision="0" * 64)
    spec = evolve(spec, teacher=evolve(spec.teacher, source=source))
    with pytest.raises(UserError, match="teachers/mine is missing"):
        next(estimates(spec, {"data@tiny", "teacher@tiny"}))


def test_a_published_scorer_is_timed_without_its_weights() -> None:
    settings = Torchvision(
        kind="torchvision", model="resnet18", size=32, sha256="0" * 64, statistics=OwnStatistics(kind="data")
    )
    scorer = _scorer(settings, (3, 8, 8))
    assert scorer.features == 512
    assert scorer.extract(np.zeros((2, 3, 8, 8), np.uint8))[0].shape == (2, 512)


def test_the_peak_of_a_computation_is_of_what_it_has_made_and_not_yet_forgotten() -> None:
    there = torch.ones(1000)
    assert peak_tensor_bytes(lambda: there.view(10, 100).T) == 0
    assert peak_tensor_bytes(lambda: there + 1) == 4000
    assert peak_tensor_bytes(lambda: there.clone().add_(1).view(10, 100)) == 4000

    def chain(kept: list[torch.Tensor] | None = None) -> None:
        made = there
        for _ in range(5):
            made = made + 1
            if kept is not None:
                kept.append(made)

    assert peak_tensor_bytes(chain) == 2 * 4000, "one, and what is made of it"
    assert peak_tensor_bytes(lambda: chain([])) == 5 * 4000
    assert peak_tensor_bytes(lambda: chain([]) or chain([])) == 5 * 4000, "the first ones are gone by then"


def test_what_passes_the_networks_counts_in_an_evaluations_memory() -> None:
    spec = with_a_stored_teacher()
    large = evolve(spec, evaluation=evolve(spec.evaluation, batch_size=100_000))
    (small,), (more,) = (dict(estimates(each, {"evaluate@tiny-ddim-t4-s0"})).values() for each in (spec, large))
    assert more.memory - small.memory > 100_000 * 8 * 64 * 4, "eight channels of 8x8 places, at least"


def test_memory_that_is_not_there_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("specs").mkdir()
    Path("specs/tiny.yaml").write_text(TINY)
    sync()
    plan("tiny")
    assert "warning" not in capsys.readouterr().out
    monkeypatch.setattr("sfddm.runtime.memory.free_memory", lambda _: 10**6)
    plan("tiny")
    shown = " ".join(capsys.readouterr().out.split())
    assert "All stages are listed" in shown, "this is no repository of DVC"
    assert "warning: more memory than is free will be needed by scorer@tiny-" in shown
    assert f"{OURS} (" in shown.partition("warning")[2]


def test_times_are_written_in_units_that_fit() -> None:
    seconds = (0.4, 119, 120, 7200, 864_000)
    assert [duration(each) for each in seconds] == ["0 s", "119 s", "2.0 min", "2.0 h", "10.0 d"]


def test_a_plan_names_what_is_done_and_estimates_the_rest(project: Project) -> None:
    assert "all 11 stages are done" in project.run("sfddm", "plan", "tiny")
    with project.edit("specs/tiny.yaml", "weight: 0.3, state", "weight: 0.4, state"):
        output = project.run("sfddm", "plan", "tiny")
    lines = {line.split()[0]: line.split()[1:] for line in output.splitlines() if "@tiny" in line}
    assert [name for name, cells in lines.items() if cells == ["done"]] == [
        "data@tiny", "scorer@tiny-convolutional", "scorer@tiny-pixels", "teacher@tiny", "reference@tiny",
        "distill@tiny-ddim-t4-s0", "evaluate@tiny-ddim-t4-s0",
    ]  # fmt: skip
    assert "4 of 11 stages to run on" in output
    assert "Free here" in output
    assert project.changed() == set(), "planning changes nothing"


def test_a_plan_of_images_that_are_not_there_says_where_they_should_be(project: Project) -> None:
    section = (
        "kind: folder\n  path: mine\n  channels: 1\n  crop: center\n  size: 8\n  flip: false\n  corrupt: refuse\n  "
    )
    labels = "labels: folders\n  held_out: 20\n  split_seed: 0\n"
    with project.edit("specs/tiny.yaml", "kind: digits\n  train: 1500\n  split_seed: 0\n", section + labels):
        project.run("sfddm", "spec", "sync")
        output = project.run("sfddm", "plan", "tiny", code=2)
    project.run("sfddm", "spec", "sync")
    assert "mine is not a folder" in output
    assert "SFDDM_DATA_ROOT" in output
    assert "Traceback" not in output


def test_what_the_first_comparison_of_pixels_imports_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = list[int]()
    only_passes_count(monkeypatch)
    monkeypatch.setattr("sfddm.pipeline.plan.pixel_similarities", lambda own, *_: compared.append(len(own)))
    list(estimates(with_a_stored_teacher(), {"evaluate@tiny-ddim-t4-s0"}))
    assert compared == [1], "one image, before `seconds` is asked to time more"
