"""What each method's training does to a student, on tiny's network."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from attrs import evolve

from sfddm.diffusion.process import hidden_target
from sfddm.diffusion.sampler import Sampler
from sfddm.diffusion.steps import ddim_step
from sfddm.errors import UserError
from sfddm.methods import any_step, closure, progressive
from sfddm.methods.costs import cost, split
from sfddm.methods.job import Job, distill
from sfddm.methods.sources import Needs, batches, jump, paths
from sfddm.methods.terms import jump_loss
from sfddm.methods.trajectories import load_or_compute
from sfddm.networks import storage
from sfddm.networks.denoiser import Denoiser, Evaluated
from sfddm.networks.generation import draw
from sfddm.networks.layout import weights_digest, write_sampler
from sfddm.networks.student import first_student
from sfddm.randomness import Purpose, generator
from sfddm.spec.index_set import Uniform
from sfddm.spec.students import (
    DDIM,
    SFDDM,
    TRACT,
    Ancestral,
    AngleMultistep,
    AnyStep,
    Consistency,
    DataSource,
    DPMSolver,
    FeatureTerm,
    FromScratch,
    FromTeacher,
    HiddenTerm,
    OutputTerm,
    Progressive,
    Resampled,
    RolloutSource,
    TeachersNetwork,
    TrajectorySource,
)  # fmt: skip
from sfddm.spec.teacher import UNet2D
from tests.parts import PUBLISHED, job, tiny, untrained_teacher

CPU = torch.device("cpu")
OURS = tiny().students["ours-t4"].method
assert isinstance(OURS, SFDDM) and isinstance(OURS.sources[0], TrajectorySource)
CACHE = OURS.sources[0].cache
FEW = evolve(OURS.training, iterations=4, warmup=0)
COPY = FromTeacher(kind="teacher", prediction="same")
SCRATCH = FromScratch(kind="scratch", prediction="same", network=TeachersNetwork(kind="teacher"))
DATA = DataSource(kind="data", share=1.0, substeps=3)
ROLLOUT = RolloutSource(kind="rollout", share=1.0, cache=CACHE)
HIDDEN = HiddenTerm(weight=1.0, distance="mse", weighting="snr+1")
PLAIN: dict[str, Any] = {"start": COPY, "distance": "mse", "weighting": "snr+1", "training": FEW}
METHODS = {
    "sfddm": evolve(OURS, training=FEW),
    "progressive": Progressive(kind="progressive", start_steps=16, **PLAIN),
    "consistency": Consistency(kind="consistency", grid=Uniform(kind="uniform", steps=8), **PLAIN),
    "tract": TRACT(kind="tract", substeps=4, **PLAIN),
    "any-step": AnyStep(
        kind="any-step",
        start=COPY,
        cache=CACHE,
        unaligned=0.25,
        hidden=HIDDEN,
        feature=FeatureTerm(weight=0.3, state="landing"),
        training=FEW,
    ),
}
TERMS: dict[str, dict[str, Any]] = {
    "output": {"output": OutputTerm(weight=1.0, distance="mse"), "hidden": evolve(HIDDEN, weight=0.0)},
    "hidden": {"hidden": HIDDEN, "feature": FeatureTerm(weight=0.0, state="same")},
    "huber": {"hidden": evolve(HIDDEN, distance="pseudo-huber", weighting="min-snr")},
    "same features": {"feature": FeatureTerm(weight=1.0, state="same"), "hidden": evolve(HIDDEN, weight=0.0)},
    "look-ahead": {"feature": FeatureTerm(weight=1.0, state="landing")},
}
SOURCES = {"data": (DATA,), "trajectory": OURS.sources, "mix": (*OURS.sources, ROLLOUT, DATA)}


def loss_points(path: Path | None) -> list[float]:
    assert path is not None
    return [json.loads(line)["loss"] for line in path.read_text().splitlines()]


def of(folder: Path, method: Any, **changes: Any) -> Job:
    """The job of ours-t4 with another method."""
    made = job(folder, **changes)
    return evolve(made, student=evolve(made.student, method=method))


@pytest.mark.parametrize("name", METHODS)
def test_every_method_trains_a_student_that_samples_its_index_set(tmp_path: Path, name: str) -> None:
    made = distill(of(tmp_path, METHODS[name]))
    (tmp_path / "student").mkdir()
    made.write(tmp_path / "student")
    student = storage.load(tmp_path / "student", CPU)
    assert made.sampler.levels == (16, 32, 48, 64)
    images = draw(student, made.sampler, 0, range(3))
    assert images.shape == (3, 1, 8, 8) and bool(images.isfinite().all())
    assert weights_digest(tmp_path / "student") != weights_digest(tmp_path / "teacher")
    assert all(np.isfinite(loss_points(made.curve)))
    assert made.cost == cost(METHODS[name], made.sampler.levels, "cosine", 64).to_json()


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("terms", TERMS)
def test_training_lowers_every_term_from_every_source(tmp_path: Path, source: str, terms: str) -> None:
    training = evolve(OURS.training, iterations=40, average=0.0, learning_rate=8e-3)
    chosen = {"start": SCRATCH, "training": training, "sources": SOURCES[source], **TERMS[terms]}
    points = loss_points(distill(job(tmp_path, **chosen)).curve)
    assert np.mean(points[-10:]) < 0.8 * np.mean(points[:5])


@pytest.mark.parametrize("name", ["progressive", "consistency", "tract", "any-step"])
def test_training_lowers_the_loss_of_every_other_method(tmp_path: Path, name: str) -> None:
    training = evolve(OURS.training, iterations=80, average=0.9, learning_rate=8e-3)
    changes = {"start_steps": 8} if name == "progressive" else {}
    points = loss_points(
        distill(of(tmp_path, evolve(METHODS[name], start=SCRATCH, training=training, **changes))).curve
    )
    assert np.mean(points[-20:]) < 0.8 * np.mean(points[:10])


def test_the_published_loss_of_a_teacher_copy_is_exactly_zero(tmp_path: Path) -> None:
    made = distill(job(tmp_path, **PUBLISHED))
    assert set(loss_points(made.curve)) == {0.0}
    made.write(tmp_path)
    assert weights_digest(tmp_path) == weights_digest(tmp_path / "teacher"), "training must not move the optimum"


def test_one_data_substep_gives_the_teachers_own_output_as_the_target(tmp_path: Path) -> None:
    teacher = untrained_teacher()
    draws = batches(job(tmp_path), (evolve(DATA, substeps=1),), 64, teacher, Needs(landing=True, features=False))
    batch = draws(0, teacher)
    target = hidden_target(batch.x, batch.landing, teacher.schedule.angle(batch.level, batch.landing_level, batch.x))
    assert torch.allclose(target, teacher(batch.x, batch.level).output, atol=1e-3)


def test_one_fold_of_progressive_is_two_data_substeps(tmp_path: Path) -> None:
    """The same loss at every iteration, and the same weights at the end."""
    fold = distill(of(tmp_path, evolve(METHODS["progressive"], start_steps=8)))
    first = loss_points(fold.curve)
    fold.write(tmp_path)
    digest = weights_digest(tmp_path)
    off = FeatureTerm(weight=0.0, state="same")
    single = distill(job(tmp_path, sources=(evolve(DATA, substeps=2),), feature=off, training=FEW))
    single.write(tmp_path)
    assert loss_points(single.curve) == first and weights_digest(tmp_path) == digest


def test_folds_halve_the_steps_down_to_the_students_own_set() -> None:
    sets = progressive._levels_of_folds(METHODS["progressive"], (16, 32, 48, 64), untrained_teacher())
    assert [len(levels) for levels in sets] == [8, 4] and sets[-1] == (16, 32, 48, 64)
    assert set(sets[1]) < set(sets[0])


def test_a_batch_is_shared_out_among_its_sources(tmp_path: Path) -> None:
    sources = (evolve(OURS.sources[0], share=1.0), evolve(ROLLOUT, share=2.0), evolve(DATA, share=0.01))
    assert split(sources, 64) == [21, 43, 0]
    assert sum(split(SOURCES["mix"], 64)) == 64
    batch = batches(job(tmp_path), sources, 64, untrained_teacher(), Needs(True, True))(0, untrained_teacher(seed=1))
    assert len(batch.x) == len(batch.level) == 64 and batch.landing_features is not None


def test_rollouts_stand_where_the_student_itself_arrives(tmp_path: Path) -> None:
    teacher, student = untrained_teacher(), untrained_teacher(seed=1)
    cached = load_or_compute(teacher, "key", (16, 32, 48, 64), CACHE, tmp_path)
    batch = batches(job(tmp_path), (ROLLOUT,), 64, teacher, Needs(True, False))(3, student)
    two_down = batch.level == 32
    found, wanted = batch.x[two_down][0], batch.landing[two_down][0]
    # Which noise it was is known from where it should land.
    number = int((cached.states[1] - wanted).flatten(1).abs().sum(1).argmin())
    x = cached.states[-1, number : number + 1]
    for level, lower in ((64, 48), (48, 32)):
        x = jump(student, x, torch.tensor([level]), torch.tensor([lower]))
    assert torch.allclose(found, x[0], atol=1e-5)


def test_a_rollout_of_the_teacher_itself_is_its_trajectory(tmp_path: Path) -> None:
    cache = evolve(CACHE, solver="ddim", substeps=1, clip_sample=False)
    sources = (evolve(ROLLOUT, cache=cache), evolve(OURS.sources[0], cache=cache))
    for step in range(3):
        rolled, cached = (
            batches(job(tmp_path), (source,), 64, untrained_teacher(), Needs(True, False))(step, untrained_teacher())
            for source in sources
        )
        assert torch.allclose(rolled.x, cached.x, atol=1e-4) and torch.equal(rolled.landing, cached.landing)


@pytest.mark.parametrize("row", [(64, 56, 0), (16, 8, 0), (8, 0, 0), (64, 56, 48), (56, 48, 48)])
def test_the_target_of_a_closure_is_the_teachers_step_and_the_averages_jump(row: tuple[int, int, int]) -> None:
    teacher, average = untrained_teacher(), untrained_teacher(seed=1)
    x = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    rows = torch.tensor([row, row])
    near = jump(teacher, x, rows[:, 0], rows[:, 1])
    wanted = near if row[1] == row[2] else jump(average, near, rows[:, 1], rows[:, 2])
    assert torch.equal(closure.target(teacher, average, x, rows), wanted)


def test_closures_step_through_every_stretch_to_its_own_end() -> None:
    stretches = torch.tensor([[4, 2, 0], [8, 6, 4]])
    assert closure._steps(stretches).tolist() == [[4, 2, 0], [2, 0, 0], [8, 6, 4], [6, 4, 4]]
    assert closure._steps(torch.tensor([[2, 1, 1, 0]])).tolist() == [[2, 1, 0], [1, 0, 0]], "empty steps are left out"


def test_the_jump_loss_is_zero_where_the_jump_lands_and_the_v_error_elsewhere() -> None:
    student = untrained_teacher()
    x = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    level, lower = torch.tensor([64, 40, 9]), torch.tensor([32, 0, 3])
    own = student(x, level)
    landing = jump(student, x, level, lower)
    exact = jump_loss(student, own, x, (level, lower), landing, "mse", "snr+1")
    assert float(exact) < 1e-8
    moved = Evaluated(own.output + 0.5, own.features)
    found = {
        weighting: float(jump_loss(student, moved, x, (level, lower), landing, "mse", weighting))
        for weighting in ("snr+1", "truncated-snr", "min-snr")
    }
    alpha, sigma = (part.flatten() for part in student.schedule.at(level, level))
    snr = (alpha / sigma) ** 2
    assert found["snr+1"] == pytest.approx(0.25, rel=1e-3)
    assert found["truncated-snr"] == pytest.approx(float((0.25 * snr.clamp(min=1) * sigma**2).mean()), rel=1e-3)
    assert found["min-snr"] == pytest.approx(float((0.25 * snr.clamp(max=5) * sigma**2).mean()), rel=1e-3)
    assert float(jump_loss(student, moved, x, (level, lower), landing, "l1", "snr+1")) == pytest.approx(0.5, rel=1e-3)
    huber = float(jump_loss(student, moved, x, (level, lower), landing, "pseudo-huber", "snr+1"))
    assert huber == pytest.approx((0.25 + 0.03**2) ** 0.5 - 0.03, rel=1e-3)


def test_any_step_jumps_are_aligned_or_anywhere() -> None:
    random = generator(0, Purpose.TRAINING_BATCH, 0)
    grid = tuple(range(0, 65, 4))
    aligned = any_step.draw_jumps(random, grid, 5000, unaligned=0.0)
    assert {tuple(row) for row in aligned} == {
        (4 * start, 4 * (start - length)) for length in (1, 2, 4, 8, 16) for start in range(length, 17, length)
    }
    odd = any_step.draw_jumps(random, (0, 10, 20, 30, 40, 50), 2000, unaligned=0.0)
    lengths = {10: [10, 20, 30, 40, 50], 20: [50, 30], 40: [50]}
    assert {tuple(row) for row in odd} == {
        (start, max(start - length, 0)) for length, starts in lengths.items() for start in starts
    } | {(10, 0)}
    free = any_step.draw_jumps(random, grid, 20_000, unaligned=1.0)
    assert bool((free[:, 0] > free[:, 1]).all()) and free.min() == 0 and free.max() == 64
    assert len(np.unique(free[:, 0])) > 60 and 0.25 < (free[:, 0] == 64).mean() < 0.35


def test_states_between_grid_levels_are_those_of_one_ddim_step(tmp_path: Path) -> None:
    teacher, cache = untrained_teacher(), evolve(CACHE, solver="ddim", substeps=1, clip_sample=False)
    cached = load_or_compute(teacher, "key", (16, 32, 64), cache, tmp_path)
    grid, chosen = torch.tensor((0, 16, 32, 64)), torch.arange(5)

    def at(level: int) -> tuple[torch.Tensor, torch.Tensor]:
        return any_step.between(cached, grid, teacher.schedule, chosen, torch.full((5,), level))

    for k, level in enumerate(grid.tolist()):
        assert torch.allclose(at(level)[0], cached.states[k, :5], atol=1e-6)
    passed = jump(teacher, cached.states[3, :5], torch.full((5,), 64), torch.full((5,), 41))
    assert torch.allclose(at(41)[0], passed, atol=1e-5)
    assert torch.allclose(at(32)[1], cached.features[2, :5].float(), atol=1e-6), "features of the landing level"
    assert torch.allclose(at(24)[1], cached.features[1:3, :5].float().mean(0), atol=1e-6)


def test_an_any_step_copy_starts_as_its_teacher_and_learns_to_heed_the_second_time(tmp_path: Path) -> None:
    teacher = untrained_teacher()
    student = first_student(teacher, COPY, 0, two_times=True)
    x, level = torch.randn(2, 1, 8, 8), torch.tensor([64, 20])
    before = [student(x, level, torch.tensor(landing)).output for landing in ([0, 0], [32, 19])]
    assert torch.equal(before[0], teacher(x, level).output) and torch.equal(before[0], before[1])
    training = evolve(FEW, iterations=20, learning_rate=5e-3)
    made = distill(of(tmp_path, evolve(METHODS["any-step"], training=training)))
    made.write(tmp_path)
    trained = storage.load(tmp_path, CPU)
    after = [trained(x, level, torch.tensor(landing)).output for landing in ([0, 0], [32, 19])]
    assert not torch.allclose(after[0], after[1], atol=1e-4)


def test_two_outputs_start_at_the_teachers_noise_and_no_image() -> None:
    teacher = untrained_teacher("epsilon")
    student = first_student(teacher, FromTeacher(kind="teacher", prediction="epsilon-sample"), 0)
    x, level, lower = torch.randn(3, 1, 8, 8), torch.tensor([1, 30, 60]), torch.zeros(3, dtype=torch.long)
    own = student(x, level)
    assert torch.equal(own.output[:, :1], teacher(x, level).output) and not own.output[:, 1:].any()
    alpha, _ = teacher.schedule.at(level, x)
    # x_0 = alpha x - sigma v with v = alpha noise is alpha^2 times the teacher's image.
    teachers = teacher.predict(x, level, lower)[0]
    assert torch.allclose(student.sample(own, x, level), alpha**2 * teachers, atol=1e-4)


def test_an_output_read_as_v_keeps_the_teachers_weights() -> None:
    teacher = untrained_teacher("epsilon")
    student = first_student(teacher, FromTeacher(kind="teacher", prediction="v"), 0)
    x, level = torch.randn(3, 1, 8, 8), torch.tensor([1, 30, 60])
    assert torch.equal(student.v(student(x, level), x, level), teacher(x, level).output)


def test_a_student_may_be_smaller_than_its_teacher(tmp_path: Path) -> None:
    network = UNet2D(
        kind="unet2d", channels=(4, 4), attention=(False, False), middle_attention=False, layers_per_block=1,
        norm_groups=4,
    )  # fmt: skip
    start = FromScratch(kind="scratch", prediction="v", network=network)
    off = FeatureTerm(weight=0.0, state="landing")
    distill(job(tmp_path, start=start, feature=off, training=FEW)).write(tmp_path)
    student = storage.load(tmp_path, CPU)
    assert sum(p.numel() for p in student.parameters()) < sum(p.numel() for p in untrained_teacher().parameters())


def test_a_resampled_student_is_its_parent_on_other_levels(tmp_path: Path) -> None:
    parent = tmp_path / "parent"
    parent.mkdir()
    made = distill(of(tmp_path, METHODS["consistency"]))
    made.write(parent)
    write_sampler(parent, made.sampler)
    (parent / "cost.json").write_text(json.dumps(made.cost))
    again = of(tmp_path, Resampled(kind="resampled", student="parent"))
    resampled = distill(evolve(again, parent=parent, levels=(32, 64)))
    resampled.write(tmp_path)
    assert weights_digest(tmp_path) == weights_digest(parent) and resampled.cost == made.cost
    assert resampled.sampler == Sampler(solver="consistency", levels=(32, 64), clip_sample=True)


def test_trajectories_pass_through_the_index_set_and_end_in_the_samplers_images(tmp_path: Path) -> None:
    teacher, levels = untrained_teacher(), (16, 32, 48, 64)
    first = load_or_compute(teacher, "key", levels, CACHE, tmp_path)
    again = load_or_compute(untrained_teacher(seed=9), "key", levels, CACHE, tmp_path)
    assert torch.equal(first.states, again.states), "the second student reads what the first has computed"
    # With DDIM, the same trajectory can be walked by hand.
    source = evolve(CACHE, solver="ddim", substeps=1, clip_sample=False)
    walked = load_or_compute(teacher, "key", levels, source, tmp_path)
    assert not torch.equal(first.states, walked.states), "another solver is another cache"
    x, level, lower = walked.states[2], torch.full((128,), 32), torch.full((128,), 16)
    x0, _ = teacher.predict(x, level, lower)
    landed = ddim_step(x, x0, teacher.schedule.at(level, x), teacher.schedule.at(lower, x))
    assert torch.allclose(landed, walked.states[1], atol=1e-5)
    _, features = teacher.predict(walked.states[1], lower, torch.zeros_like(lower))
    assert torch.allclose(walked.features[1].float(), features, atol=2e-3), "look-ahead features are the landing's"


def test_segments_narrower_than_the_substeps_are_walked_without_a_clean_evaluation() -> None:
    walked = paths((1, 2, 64), 4, untrained_teacher().contract)
    assert bool((walked[:, :-1] > 0).all()) and walked[:, -1].tolist() == [0, 1, 2]


@pytest.mark.parametrize("name", [*METHODS, "published"])
def test_the_same_job_gives_the_same_bytes_and_another_seed_does_not(tmp_path: Path, name: str) -> None:
    method = METHODS[name] if name in METHODS else evolve(OURS, **PUBLISHED)
    digests = []
    for attempt, seed in enumerate((0, 0, 1)):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        made = distill(of(folder, evolve(method, start=SCRATCH, training=FEW), seed=seed))
        made.write(folder)
        digests.append(weights_digest(folder))
    assert digests[0] == digests[1] != digests[2]


def test_a_student_told_its_own_index_is_evaluated_with_it(tmp_path: Path) -> None:
    made = distill(job(tmp_path, **{**PUBLISHED, "start": SCRATCH, "time_input": "index"}))
    made.write(tmp_path)
    student = storage.load(tmp_path, CPU)
    assert student.time_input[[16, 32, 48, 64]].tolist() == [0, 1, 2, 3]
    assert made.sampler == Sampler(solver="ddim", levels=(16, 32, 48, 64), clip_sample=True)


class Counting(Denoiser):
    """A network that counts the images it is evaluated on."""

    images = 0

    def forward(self, x: Any, level: Any, landing: Any = None) -> Evaluated:
        Counting.images += len(x)
        return super().forward(x, level, landing)


@pytest.mark.parametrize("name", [*METHODS, "published", "rollout", "data"])
def test_costs_are_the_evaluations_that_are_really_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Every image that passes a network once, plus two more for each that is trained on."""
    others = {"published": evolve(OURS, **{**PUBLISHED, "training": FEW})}
    others |= {kind: evolve(OURS, sources=(source,), training=FEW) for kind, source in
               (("rollout", ROLLOUT), ("data", DATA))}  # fmt: skip
    method = METHODS.get(name) or others[name]
    monkeypatch.setattr("sfddm.networks.storage.Denoiser", Counting)
    monkeypatch.setattr("sfddm.networks.denoiser.Denoiser", Counting)
    Counting.images = 0
    made = distill(of(tmp_path, method))
    training = method.training
    trained = 2 * training.iterations * training.batch_size
    slack = (
        0.1 if name in ("rollout", "tract", "consistency") else 0
    )  # random depth; steps that end at the stretch's end
    assert Counting.images + trained == pytest.approx(made.cost["total"], rel=slack)


@pytest.mark.parametrize(
    "method",
    [
        DDIM(kind="ddim"),
        DPMSolver(kind="dpm-solver"),
        AngleMultistep(kind="angle-2m"),
        Ancestral(kind="ancestral"),
    ],
)
def test_free_samplers_are_the_teacher_itself(tmp_path: Path, method: Any) -> None:
    made = distill(of(tmp_path, method))
    assert made.sampler.solver == method.kind
    made.write(tmp_path)
    assert weights_digest(tmp_path) == weights_digest(tmp_path / "teacher")
    assert made.cost == {"cache": 0, "training": 0, "folds": 0, "total": 0}


def test_a_damaged_cache_is_computed_again(tmp_path: Path) -> None:
    first = load_or_compute(untrained_teacher(), "key", (32, 64), CACHE, tmp_path)
    (path,) = tmp_path.glob("*/features.npy")
    path.write_bytes(path.read_bytes()[:1000])
    again = load_or_compute(untrained_teacher(), "key", (32, 64), CACHE, tmp_path)
    assert torch.equal(first.states, again.states)
    assert torch.equal(first.features, again.features)


def test_a_teacher_whose_trajectories_are_no_numbers_is_named_and_nothing_is_kept(tmp_path: Path) -> None:
    teacher = untrained_teacher()
    teacher.network.conv_out.bias.data.fill_(torch.nan)
    with pytest.raises(UserError, match="NaN or infinite"):
        load_or_compute(teacher, "key", (32, 64), CACHE, tmp_path)
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]
