"""Small parts of an experiment for tests that need a teacher but no pipeline."""

import json
import os
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attrs import evolve

from sfddm.data.prepare import prepare
from sfddm.data.store import Split
from sfddm.diffusion.sampler import Sampler
from sfddm.methods.job import Job
from sfddm.methods.train import Task, task_of
from sfddm.networks import storage
from sfddm.networks.contract import Contract
from sfddm.networks.denoiser import Denoiser, build, unet_config
from sfddm.networks.generation import draw_from
from sfddm.pipeline.params import sync
from sfddm.randomness import Purpose, normals
from sfddm.spec.evaluation import Classifier, Convolutions
from sfddm.spec.experiment import Spec
from sfddm.spec.index_set import Uniform
from sfddm.spec.parts import (
    DataSource,
    DistributionTerm,
    FeatureTerm,
    FromScratch,
    FromTeacher,
    HiddenTerm,
    OutputTerm,
    RolloutSource,
    TeachersNetwork,
    TeacherSteps,
    TrajectorySource,
)
from sfddm.spec.read import parse_spec
from sfddm.spec.students import SFDDM, TRACT, AnyStep, Consistency, Progressive, Student, Trained
from sfddm.spec.teacher import EDMUNet2D, PatchedUNet2D, UNet2D
from sfddm.training.checkpoints import Checkpoints
from tests import forks

TINY = Path(__file__).with_name("tiny.yaml").read_text()


CPU = torch.device("cpu")
HIDDEN = HiddenTerm(kind="hidden", weight=1.0, distance="mse", weighting="snr+1")
LOOK_AHEAD = FeatureTerm(kind="feature", weight=0.3, state="landing")
DDIM = TeacherSteps(solver="ddim", substeps=1, clip_sample=False)
PUBLISHED = {
    "sources": (DataSource(kind="data", share=1.0, teacher_steps=DDIM),),
    "terms": (
        OutputTerm(kind="output", weight=1.0, distance="l1"),
        FeatureTerm(kind="feature", weight=0.1, state="same"),
    ),
}
"""What the published method changes in the method of tiny's ours-t4."""


PATCHED = PatchedUNet2D(
    kind="patched-unet2d",
    patch=2,
    channels=(8, 16),
    attention=(False, False),
    middle_attention=False,
    head_channels=8,
    layers_per_block=1,
    norm_groups=4,
)
"""tiny's network on patches."""
EDM_PLAIN = EDMUNet2D(
    kind="edm-unet2d",
    architecture="ddpm++",
    base_channels=8,
    channels=(8, 16),
    attention=(False, False),
    layers_per_block=1,
)
"""The smallest of EDM's networks."""
STILL = {"iterations": 1, "warmup": 0, "learning_rate": 1e-30, "batch_size": 5}
"""Changes to a training: one iteration that moves no weight by more than 1e-30."""


def tiny() -> Spec:
    return parse_spec(TINY, "tiny.yaml")


def with_data(section: str) -> str:
    """tiny.yaml with another section `data`, in one line of YAML."""
    digits = "data:\n  kind: digits\n  train: 1500\n  split_seed: 0\n"
    assert digits in TINY
    return TINY.replace(digits, f"data: {section}\n")


def with_scorers(panel: str, text: str = TINY) -> str:
    """tiny.yaml, or what was made of it, with another mapping of scorers, in one line of YAML."""
    start, end = text.index("  scorers:\n"), text.index("  reference:\n    solver")
    return f"{text[:start]}  scorers: {panel}\n{text[end:]}"


def data_stage(folder: Path, section: str, **environment: str) -> tuple[int, str]:
    """Run the data stage in a folder that has nothing but tiny with this section, out of reach of every network."""
    only_spec(folder, with_data(section))
    unreachable = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9", "no_proxy": ""}
    inherited = {name: value for name, value in os.environ.items() if name != "SFDDM_DATA_ROOT"}
    return forks.run(folder, ("python", "-m", "stages.data", "tiny"), {**inherited, **unreachable, **environment})


def only_spec(folder: Path, text: str = TINY) -> None:
    """Make a folder a project whose one spec is `text`, named tiny, and whose stages are this repository's."""
    (folder / "specs").mkdir()
    (folder / "specs/tiny.yaml").write_text(text)
    with chdir(folder):
        sync()


def still_classifier() -> Classifier:
    """tiny's classifier, whose training moves nothing."""
    described = tiny().evaluation.scorers["convolutional"]
    assert isinstance(described, Classifier)
    return evolve(described, training=evolve(described.training, **STILL))


def convolutions(*channels: int) -> Convolutions:
    """The network of a classifier with convolutions of these widths."""
    return Convolutions(kind="convolutions", channels=channels)


def random_split(classes: int = 4) -> Split:
    """Twelve images without a meaning, and their classes."""
    images = np.random.default_rng(0).integers(0, 256, (12, 1, 8, 8), dtype=np.uint8)
    return Split(images, np.arange(12) % classes, flip=False)


def untrained_teacher(prediction: str = "v", seed: int = 0, network: UNet2D | None = None) -> Denoiser:
    """tiny's network, or another, with random weights in every layer, those included that diffusers starts at zero."""
    spec = tiny()
    contract = Contract(timesteps=64, noise_schedule="cosine", prediction=prediction)
    teacher = build(unet_config(network or spec.teacher.source.network, spec.data.shape), contract, seed)
    generator = torch.Generator().manual_seed(seed)
    for parameter in teacher.parameters():
        parameter.data += 0.05 * torch.randn(parameter.shape, generator=generator)
    return teacher.eval().requires_grad_(False)


def job(folder: Path, student: str = "ours-t4", seed: int = 0, **method: object) -> Job:
    """The job of one of tiny's students with changed fields of its method; teacher and data are made in `folder`."""
    spec = tiny()
    described = spec.students[student]
    if method:
        described = evolve(described, method=evolve(described.method, **method))
    for name, make in (("teacher", lambda path: storage.write(path, untrained_teacher())),
                       ("data", lambda path: prepare(spec.data, path))):  # fmt: skip
        if not (folder / name).exists():
            (folder / name).mkdir()
            make(folder / name)
    return Job(
        name="test",
        student=described,
        levels=spec.levels(student),
        seed=seed,
        parent=folder / "teacher",
        data=folder / "data",
        cache=folder / "cache",
        curve=folder / "curve.jsonl",
        checkpoints=Checkpoints(folder / "checkpoints", {"method": repr(described.method), "seed": seed}),
        training_starts=lambda _: None,
    )


def of(folder: Path, method: Any, **changes: Any) -> Job:
    """The job of ours-t4 with another method."""
    made = job(folder, **changes)
    return evolve(made, student=evolve(made.student, method=method))


def task(folder: Path, method: Trained | None = None, **changes: Any) -> Task[Any]:
    """The task of ours-t4, with another method or with changed fields of its own."""
    made = job(folder, **changes) if method is None else of(folder, method)
    return task_of(made, type(made.student.method))  # type: ignore[type-var]


def points(path: Path | None) -> list[dict[str, float]]:
    """The points of a curve."""
    assert path is not None
    return [json.loads(line) for line in path.read_text().splitlines()]


def loss_points(path: Path | None) -> list[float]:
    return [point["loss"] for point in points(path)]


def sfddm_of(student: Student) -> SFDDM:
    assert isinstance(student.method, SFDDM)
    return student.method


OURS = sfddm_of(tiny().students["ours-t4"])
assert isinstance(OURS.sources[0], TrajectorySource)
CACHE = OURS.sources[0].cache
FEW = evolve(OURS.training, iterations=4, warmup=0)
COPY = FromTeacher(kind="teacher", prediction="same")
SCRATCH = FromScratch(kind="scratch", prediction="same", network=TeachersNetwork(kind="teacher"))
DATA = DataSource(kind="data", share=1.0, teacher_steps=evolve(DDIM, substeps=3))


def data_of(**changes: Any) -> DataSource:
    """Noised images, from which the teacher steps otherwise."""
    return evolve(DATA, teacher_steps=evolve(DATA.teacher_steps, **changes))


ROLLOUT = RolloutSource(kind="rollout", share=1.0, cache=CACHE)
SOURCES = {"data": (DATA,), "trajectory": OURS.sources, "mix": (*OURS.sources, ROLLOUT, DATA)}
PLAIN: dict[str, Any] = {"start": COPY, "teacher_steps": DDIM, "distance": "mse", "weighting": "snr+1", "training": FEW}
DISTRIBUTION = DistributionTerm(kind="distribution", weight=1.0, begin=0.25, ramp=0.25, learning_rate=5e-4, average=0.9)
METHODS = {
    "sfddm": evolve(OURS, training=FEW),
    "distribution": evolve(OURS, training=FEW, terms=(HIDDEN, DISTRIBUTION)),
    "progressive": Progressive(kind="progressive", start_steps=16, **PLAIN),
    "consistency": Consistency(
        kind="consistency", grid=Uniform(kind="uniform", steps=8), target_average=FEW.average, **PLAIN
    ),
    "tract": TRACT(kind="tract", substeps=4, target_average=0.5, **PLAIN),
    "any-step": AnyStep(
        kind="any-step", start=COPY, cache=CACHE, unaligned=0.25, terms=(HIDDEN, LOOK_AHEAD), training=FEW
    ),
}
"""One of each method that trains, for four iterations."""


def draw(denoiser: Denoiser, sampler: Sampler, seed: int, indices: range) -> torch.Tensor:
    """The images [len(indices), C, H, W] from these noises of `seed`."""
    noise = normals(seed, Purpose.EVALUATION_NOISE, indices, denoiser.image_shape)
    return draw_from(denoiser, sampler, noise, seed, indices)
