"""What each method's training does to a student, on tiny's network."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from attrs import evolve

from sfddm.diffusion.sampler import Sampler
from sfddm.diffusion.solvers import ddim_step
from sfddm.diffusion.targets import hidden_target
from sfddm.methods import sfddm
from sfddm.methods.job import distill
from sfddm.networks import storage
from sfddm.networks.layout import weights_digest
from sfddm.spec.methods import DataSource, FeatureTerm, HiddenTerm, OutputTerm
from sfddm.trajectories import load_or_compute, solver_levels
from tests.parts import PUBLISHED, job, sfddm_of, tiny, untrained_teacher

DATA = DataSource(kind="data", substeps=3)
TERMS = {
    "output": {"output": OutputTerm(weight=1.0, distance="mse"), "hidden": HiddenTerm(weight=0.0)},
    "hidden": {"hidden": HiddenTerm(weight=1.0), "feature": FeatureTerm(weight=0.0, state="same")},
    "same features": {"feature": FeatureTerm(weight=1.0, state="same"), "hidden": HiddenTerm(weight=0.0)},
    "look-ahead": {"feature": FeatureTerm(weight=1.0, state="landing")},
}


@pytest.mark.parametrize("source", ["data", "trajectory"])
@pytest.mark.parametrize("terms", TERMS)
def test_training_lowers_every_term_from_both_sources(tmp_path: Path, source: str, terms: str) -> None:
    method = sfddm_of(tiny().students["ours-t4"])
    training = evolve(method.training, iterations=40, average=0.0, learning_rate=8e-3)
    chosen = {"start": "scratch", "training": training, **TERMS[terms]}
    made = distill(job(tmp_path, **chosen, **({"source": DATA} if source == "data" else {})))
    losses = [float(line.split('"loss": ')[1].split(",")[0]) for line in made.curve.read_text().splitlines()]
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:5])


def test_the_published_loss_of_a_teacher_copy_is_exactly_zero(tmp_path: Path) -> None:
    made = distill(job(tmp_path, **PUBLISHED))
    assert all('"loss": 0.0,' in line for line in made.curve.read_text().splitlines())
    made.write(tmp_path)
    assert weights_digest(tmp_path) == weights_digest(tmp_path / "teacher"), "training must not move the optimum"


def test_one_data_substep_gives_the_teachers_own_output_as_the_target(tmp_path: Path) -> None:
    teacher = untrained_teacher()
    method = evolve(sfddm_of(tiny().students["ours-t4"]), source=DataSource(kind="data", substeps=1))
    draw, _ = sfddm._data_batches(job(tmp_path, source=method.source), method, teacher)
    batch = draw(0)
    target = hidden_target(batch.x, batch.landing, teacher.schedule.angle(batch.level, batch.landing_level, batch.x))
    assert torch.allclose(target, teacher(batch.x, batch.level).output, atol=1e-3)


def test_trajectories_pass_through_the_index_set_and_end_in_the_samplers_images(tmp_path: Path) -> None:
    teacher, levels, source = untrained_teacher(), (16, 32, 48, 64), sfddm_of(tiny().students["ours-t4"]).source
    assert solver_levels(levels, 2) == (8, 16, 24, 32, 40, 48, 56, 64)
    first = load_or_compute(teacher, "key", levels, source, tmp_path)
    again = load_or_compute(untrained_teacher(seed=9), "key", levels, source, tmp_path)
    assert torch.equal(first.states, again.states), "the second student reads what the first has computed"
    # With DDIM, the same trajectory can be walked by hand.
    source = evolve(source, solver="ddim", substeps=1, clip_sample=False)
    walked = load_or_compute(teacher, "key", levels, source, tmp_path)
    assert not torch.equal(first.states, walked.states), "another solver is another cache"
    x, level, lower = walked.states[2], torch.full((128,), 32), torch.full((128,), 16)
    x0, _ = teacher.predict(x, level)
    landed = ddim_step(x, x0, teacher.schedule.at(level, x), teacher.schedule.at(lower, x))
    assert torch.allclose(landed, walked.states[1], atol=1e-5)
    _, features = teacher.predict(walked.states[1], lower)
    assert torch.allclose(walked.features[1].float(), features, atol=2e-3), "look-ahead features are the landing's"


def test_segments_narrower_than_the_substeps_are_walked_without_a_clean_evaluation() -> None:
    paths = sfddm._paths((1, 2, 64), 4)
    assert bool((paths[:, :-1] > 0).all()) and paths[:, -1].tolist() == [0, 1, 2]


@pytest.mark.parametrize("changes", [{}, PUBLISHED], ids=["trajectory", "data"])
def test_the_same_job_gives_the_same_bytes_and_another_seed_does_not(tmp_path: Path, changes: dict[str, Any]) -> None:
    changes = {"training": evolve(sfddm_of(tiny().students["ours-t4"]).training, iterations=10), **changes}
    digests = []
    for attempt, seed in enumerate((0, 0, 1)):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        made = distill(job(folder, seed=seed, start="scratch", **changes))
        made.write(folder)
        digests.append(weights_digest(folder))
    assert digests[0] == digests[1] != digests[2]


def test_a_student_told_its_own_index_is_evaluated_with_it(tmp_path: Path) -> None:
    made = distill(job(tmp_path, start="scratch", time_input="index", **PUBLISHED))
    made.write(tmp_path)
    student = storage.load(tmp_path, torch.device("cpu"))
    assert student.time_input[[16, 32, 48, 64]].tolist() == [0, 1, 2, 3]
    assert made.sampler == Sampler(solver="ddim", levels=(16, 32, 48, 64), clip_sample=True)


def test_cost_counts_caches_and_teachers(tmp_path: Path) -> None:
    few = {"training": evolve(sfddm_of(tiny().students["ours-t4"]).training, iterations=2, warmup=0)}
    ours = distill(job(tmp_path, **few)).cost
    assert (ours.cache, ours.training) == (128 * 8, 2 * 64 * 3)
    published = distill(job(tmp_path, **few, **PUBLISHED)).cost
    assert (published.cache, published.training) == (0, 2 * 64 * 4)
    walked = distill(job(tmp_path, **few, source=DATA)).cost
    assert walked.training == 2 * 64 * (3 + 3 + 1), "three sub-steps, and one look ahead"


@pytest.mark.parametrize("student", ["ddim-t4"])
def test_free_samplers_are_the_teacher_itself(tmp_path: Path, student: str) -> None:
    made = distill(job(tmp_path, student))
    made.write(tmp_path)
    assert weights_digest(tmp_path) == weights_digest(tmp_path / "teacher")
    assert made.cost.to_json() == {"cache": 0, "training": 0, "total": 0}


def test_a_damaged_cache_is_computed_again(tmp_path: Path) -> None:
    source = sfddm_of(tiny().students["ours-t4"]).source
    first = load_or_compute(untrained_teacher(), "key", (32, 64), source, tmp_path)
    (path,) = tmp_path.glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:1000])
    again = load_or_compute(untrained_teacher(), "key", (32, 64), source, tmp_path)
    assert torch.equal(first.states, again.states) and torch.equal(first.features, again.features)
