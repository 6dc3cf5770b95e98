"""The specs of published data sets: what they compare, what they take, and one step of each."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from attrs import evolve

from sfddm.data import store
from sfddm.methods.job import Job, distill
from sfddm.networks import storage
from sfddm.pipeline.plan import estimates, stages
from sfddm.spec.experiment import Spec
from sfddm.spec.parts import DataSource
from sfddm.spec.read import load_spec
from sfddm.spec.students import SFDDM, AnyStep, Free, Progressive, Trained
from sfddm.spec.teacher import FromDiffusers
from sfddm.spec.teacher import Trained as TrainedTeacher
from sfddm.spec.training import Training
from sfddm.training.checkpoints import Checkpoints
from sfddm.training.curve import Curve
from sfddm.training.teacher import train_teacher
from tests.project import ROOT

SHAPES = {
    "cifar10": (3, 32, 32),
    "cifar10-short": (3, 32, 32),
    "celeba-hq": (3, 256, 256),
    "lsun-church": (3, 256, 256),
    "lsun-bedroom": (3, 256, 256),
    "fashion-mnist": (1, 14, 14),
}
ON_TWO_CORES = {"fashion-32": (1, 32, 32), "cifar10-32": (3, 32, 32)}
"""Real images at their size, with rivals of ours."""
CACHED = ("ours-t8-s0", "ours-t4-s0", "ours-t2-s0")
"""Ends of the names of students that learn on cached trajectories of CIFAR-10."""
PAPERS = ["cifar10", "celeba-hq", "lsun-church", "lsun-bedroom"]
PUBLIC = [f"{name}-public" for name in PAPERS]
"""The same data sets, with a teacher from the hub."""
SHAPES |= {f"{name}-public": SHAPES[name] for name in PAPERS}
TRAINED_ON = ON_TWO_CORES | {
    name: shape if shape[1] < 256 or name == "celeba-hq" else (3, 64, 64) for name, shape in SHAPES.items()
}
"""Shapes of images that are trained on: networks halve the smaller ones as often, so one at 256 pixels will do."""


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def committed(name: str) -> Spec:
    return load_spec(str(ROOT / "specs/gallery" / f"{name}.yaml"))


def once(training: Training) -> Training:
    return evolve(training, iterations=1, batch_size=2, warmup=0, precision="fp32", compile=False)


def cut_down(name: str) -> Spec:
    """A spec with its own levels, index sets and sources, but one iteration of two images each, and as
    many resolutions of few channels. In place of a teacher from the hub one is trained."""
    spec, source = committed(name), committed(name.removesuffix("-public")).teacher.source
    assert isinstance(source, TrainedTeacher)
    network = evolve(
        source.network, channels=(8,) * len(source.network.channels), layers_per_block=1, head_channels=4, norm_groups=4
    )
    teacher = evolve(spec.teacher, source=evolve(source, network=network, training=once(source.training)))
    students = dict(spec.students)
    for key, student in spec.students.items():
        method = student.method
        if not isinstance(method, Trained):
            continue
        method = evolve(method, training=once(method.training))
        if isinstance(method, SFDDM):
            sources = tuple(
                each if isinstance(each, DataSource) else evolve(each, cache=evolve(each.cache, noises=2))
                for each in method.sources
            )
            method = evolve(method, sources=sources)
        elif isinstance(method, AnyStep):
            method = evolve(method, cache=evolve(method.cache, noises=2))
        elif isinstance(method, Progressive):
            method = evolve(method, training=evolve(method.training, iterations=4))  # one for each fold
        students[key] = evolve(student, method=method)
    evaluation = evolve(spec.evaluation, samples=16, batch_size=2)
    return evolve(spec, teacher=teacher, students=students, evaluation=evaluation)


@pytest.mark.parametrize("name", SHAPES)
def test_every_student_stands_beside_the_free_sampler_of_its_levels(name: str) -> None:
    spec = committed(name)
    assert spec.data.shape == SHAPES[name] and spec.teacher.timesteps == (1000 if name in PUBLIC else 1024)
    free = {
        spec.levels(key) for key, student in spec.students.items() if student.method == Free(kind="free", solver="ddim")
    }
    ours = [key for key, student in spec.students.items() if isinstance(student.method, Trained)]
    assert all(spec.levels(key) in free for key in ours) and list(spec.registry.students) == ours
    planned = {f"distill@{name}-{key}-s0" for key in spec.students}
    assert planned == {stage for stage in stages(spec) if stage.startswith("distill")}
    if name in PAPERS + PUBLIC:
        assert {16, 64, 128} <= {len(spec.levels(key)) for key in ours}


@pytest.mark.parametrize("name", ON_TWO_CORES)
def test_rivals_cost_what_ours_cost(name: str) -> None:
    """To a thousandth; networks that serve one step and more have the budget of the student of one step."""
    spec = committed(name)
    assert spec.data.shape == ON_TWO_CORES[name] and spec.evaluation.samples >= 5_000
    levels = {key: spec.levels(key) for key in spec.students}
    free = {levels[key] for key, student in spec.students.items() if isinstance(student.method, Free)}
    costs = {
        key: student.cost(levels[key], "cosine", 1024, 1.0).total
        for key, student in spec.students.items()
        if isinstance(student.method, Trained)
    }
    assert set(levels.values()) == free and set(spec.registry.students) <= set(costs)
    for key, cost in costs.items():
        ours = "ours-t1" if key.endswith("t1") or key == "any-t4" else "ours-t4"
        assert cost == pytest.approx(costs[ours], rel=1e-3)


def jobs(spec: Spec, folder: Path) -> Iterator[Job]:
    """The trainings of all students."""
    for key, student in spec.students.items():
        if isinstance(student.method, Trained):
            yield Job(
                name=key, student=student, levels=spec.levels(key), seed=0, parent=folder / "teacher",
                data=folder / "data", cache=folder / "cache", curve=folder / f"{key}.jsonl",
                checkpoints=Checkpoints(folder / "checkpoints" / key, {}), training_starts=lambda _: None,
            )  # fmt: skip


LIGHT = ("cifar10", "fashion-mnist", *ON_TWO_CORES)
"""Those whose networks are small enough to be trained at every check."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in LIGHT else pytest.mark.heavy) for name in TRAINED_ON]
)
def test_teacher_and_students_train_for_an_iteration(name: str, tmp_path: Path) -> None:
    spec = cut_down(name)
    images = np.random.default_rng(0).integers(0, 256, (4, *TRAINED_ON[name]), dtype=np.uint8)
    for folder in ("data", "teacher"):
        (tmp_path / folder).mkdir()
    described = store.write(tmp_path / "data", "train", store.Stream(4, [store.Block(images, None)]), TRAINED_ON[name])
    assert described["images"] == 4
    (tmp_path / "data" / "data.json").write_text('{"flip": true}')
    split = store.read(tmp_path / "data", "train")
    with Curve(tmp_path / "curve", "teacher", 1, 2) as curve:
        teacher = train_teacher(
            spec.teacher, split, torch.device("cpu"), curve, Checkpoints(tmp_path / "checkpoints" / "t", {})
        ).network
    storage.write(tmp_path / "teacher", teacher)
    for job in jobs(spec, tmp_path):
        made = distill(job)
        method = spec.students[job.name].method
        paid = method.cost(job.levels, spec.teacher.noise_schedule, spec.teacher.timesteps).to_json()
        assert made.cost == paid and made.sampler.levels == job.levels


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_teacher_is_of_the_hub_and_its_students_are_what_pays_for_it(name: str) -> None:
    spec, trained = committed(name), committed(name.removesuffix("-public"))
    assert isinstance(spec.teacher.source, FromDiffusers) and spec.teacher.source.model.startswith("google/ddpm-")
    assert (spec.teacher.noise_schedule, spec.teacher.prediction) == ("linear", "epsilon")
    assert spec.data == trained.data and list(spec.students) == list(trained.students)
    assert {student.index_set.kind for student in spec.students.values()} == {"uniform-angle"}
    methods = (student.method for student in spec.students.values())
    assert {method.start.prediction for method in methods if isinstance(method, SFDDM)} == {"epsilon-sample"}


@pytest.mark.parametrize("name", ["cifar10", "celeba-hq"])
def test_a_plan_estimates_every_stage_of_networks(name: str) -> None:
    spec = cut_down(name)
    names = [stage for stage in stages(spec) if stage.startswith(("teacher", "reference", "distill"))]
    found = dict(estimates(spec, names))
    assert list(found) == names
    for stage, estimate in found.items():
        trains = stage.startswith("teacher") or "-ours-" in stage
        assert estimate.disk > 0 and (estimate.seconds > 0 if trains else estimate.seconds >= 0)
        assert (estimate.scratch > 0) == (name == "cifar10" and stage.endswith(CACHED))
