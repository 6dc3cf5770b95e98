"""Small parts of an experiment for tests that need a teacher but no pipeline."""

from contextlib import chdir
from pathlib import Path

import numpy as np
import torch
from attrs import evolve

from sfddm.data.prepare import prepare
from sfddm.data.store import Split
from sfddm.methods.job import Job
from sfddm.networks import storage
from sfddm.networks.denoiser import Contract, Denoiser, build, unet_config
from sfddm.pipeline.params import sync
from sfddm.spec.evaluation import Classifier
from sfddm.spec.experiment import Spec
from sfddm.spec.parts import DataSource, FeatureTerm, HiddenTerm, OutputTerm
from sfddm.spec.read import parse_spec
from sfddm.spec.students import SFDDM, Student
from sfddm.training.checkpoints import Checkpoints

TINY = Path(__file__).with_name("tiny.yaml").read_text()


HIDDEN = HiddenTerm(kind="hidden", weight=1.0, distance="mse", weighting="snr+1")
LOOK_AHEAD = FeatureTerm(kind="feature", weight=0.3, state="landing")
PUBLISHED = {
    "sources": (DataSource(kind="data", share=1.0, substeps=1),),
    "terms": (
        OutputTerm(kind="output", weight=1.0, distance="l1"),
        FeatureTerm(kind="feature", weight=0.1, state="same"),
    ),
}
"""What the published method changes in the method of tiny's ours-t4."""


STILL = {"iterations": 1, "warmup": 0, "learning_rate": 1e-30, "batch_size": 5}
"""Changes to a training: one iteration that moves no weight by more than 1e-30."""


def tiny() -> Spec:
    return parse_spec(TINY, "tiny.yaml")


def only_spec(folder: Path, text: str = TINY) -> None:
    """Make a folder a project whose one spec is `text`, named tiny, and whose stages are this repository's."""
    (folder / "specs").mkdir()
    (folder / "specs/tiny.yaml").write_text(text)
    with chdir(folder):
        sync()


def still_classifier() -> Classifier:
    """tiny's scorer, whose training moves nothing."""
    described = tiny().evaluation.scorer
    assert isinstance(described, Classifier)
    return evolve(described, training=evolve(described.training, **STILL))


def random_split(classes: int = 4) -> Split:
    """Twelve images without a meaning, and their classes."""
    images = np.random.default_rng(0).integers(0, 256, (12, 1, 8, 8), dtype=np.uint8)
    return Split(images, np.arange(12) % classes, flip=False)


def untrained_teacher(prediction: str = "v", seed: int = 0) -> Denoiser:
    """tiny's network with random weights in every layer, those included that diffusers starts at zero."""
    spec = tiny()
    contract = Contract(timesteps=64, noise_schedule="cosine", prediction=prediction)
    teacher = build(unet_config(spec.teacher.source.network, spec.data.shape), contract, seed)
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


def sfddm_of(student: Student) -> SFDDM:
    assert isinstance(student.method, SFDDM)
    return student.method
