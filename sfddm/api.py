"""Distillation from a program of one's own, with functions in place of a spec, and without DVC and MLflow.

    import sfddm

    teacher = sfddm.load_teacher("google/ddpm-cifar10-32", out="teacher")
    student = sfddm.distil(teacher, steps=4, out="student")
    images = student.sample(64)                                      # uint8 [64, C, H, W]
    figures = sfddm.evaluate(student, teacher, train=some, held_out=others)

Images are uint8 [N, C, H, W] throughout. What takes long shows its progress on the standard error, and a training that
was ended goes on from its last checkpoint when it is called again; checkpoints and trajectories of teachers are kept in
the folder `scratch` (`SFDDM_SCRATCH`).
"""

import tempfile
from collections.abc import Iterable, Mapping
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from attrs import evolve, frozen

from sfddm.data import store
from sfddm.data.source import root
from sfddm.diffusion.sampler import Sampler
from sfddm.diffusion.spacing import resolve
from sfddm.errors import SpecError, UserError
from sfddm.evaluation.evaluate import evaluate as judge
from sfddm.evaluation.reference import write_reference
from sfddm.evaluation.scorers.extractor import Job as ScorerJob
from sfddm.evaluation.scorers.extractor import check_images
from sfddm.evaluation.scorers.write import write_scorer
from sfddm.methods.job import Job, distill
from sfddm.networks import storage
from sfddm.networks.contract import Contract, on_index_set, read_contract
from sfddm.networks.denoiser import Denoiser
from sfddm.networks.generation import generate
from sfddm.networks.layout import CONTRACT, COST, SAMPLER, denoiser_digest, read_sampler, write_sampler
from sfddm.runtime.files import atomic_folder, digest, write_json
from sfddm.runtime.fingerprint import fingerprint
from sfddm.runtime.kinds import modules_of
from sfddm.runtime.machine import device, scratch
from sfddm.spec.evaluation import Classifier, PixelValues, Scorer
from sfddm.spec.experiment import Spec
from sfddm.spec.index_set import Uniform, UniformAngle
from sfddm.spec.parse import Fault, read_mapping, unstructure
from sfddm.spec.parts import Context, Cost, DataSource
from sfddm.spec.read import parse_spec
from sfddm.spec.starter import TO_COME, folder_of, starter
from sfddm.spec.students import SFDDM, TRACT, Consistency, Progressive, Student
from sfddm.spec.students import Trained as TrainedMethod
from sfddm.spec.teacher import FromDiffusers, Teacher, Trained
from sfddm.spec.training import Training
from sfddm.teachers.inspection import LARGE, look
from sfddm.training.checkpoints import Checkpoints
from sfddm.training.curve import Curve
from sfddm.training.teacher import train_teacher as minimise

BATCH = 250
"""Images at a time."""
SEED = 3
"""The seed of the noises that students are judged by."""


@frozen(slots=False)
class Model:
    """A diffusion model and how it is sampled, in a folder."""

    folder: Path

    def __str__(self) -> str:
        contract, sampler = self.contract, self.sampler
        return (
            f"{self.folder}: predicts {contract.prediction}, {contract.noise_schedule} schedule of "
            f"{contract.timesteps} levels, drawn in {sampler.nfe} steps of {sampler.solver}"
        )

    def sample(self, count: int, seed: int = 0, steps: int | None = None, class_label: int | None = None) -> np.ndarray:
        """Images, uint8 [count, C, H, W]: image i is always the same for a seed.

        Args:
            count: how many.
            seed: of the noises.
            steps: another number of steps than the model's own.
            class_label: the class of all images; None: classes take turns, where there are any.

        Raises:
            UserError: fewer than one image, no such number of steps or class, or the network puts out NaN.
        """
        if count < 1:
            raise UserError(f"{count} images: expected 1 or more.")
        sampler = self.sampler if steps is None else on_index_set(self.sampler, self.contract, steps)
        self.contract.require_class(class_label)
        return generate(storage.load(self.folder, device()), sampler, seed, count, BATCH, "sampling", class_label)

    @cached_property
    def sampler(self) -> Sampler:
        """How it is sampled."""
        return read_sampler(self.folder)

    @cached_property
    def contract(self) -> Contract:
        """What its network's numbers mean."""
        return read_contract(self.folder)


def load(folder: str | Path) -> Model:
    """A model that one of the functions here, or a stage of the pipeline, wrote.

    Raises:
        UserError: a file is missing or damaged.
    """
    folder = Path(folder)
    if not (folder / CONTRACT).exists():
        raise UserError(f"{folder} has no model: expected a folder such as runs/digits/students/ours-t2-s0.")
    if not (folder / SAMPLER).exists():
        raise UserError(
            f"{folder} has a network and no sampler: load a row that draws with it, as runs/digits/students/teacher-s0."
        )
    storage.load_network(folder)
    read_sampler(folder)
    return Model(folder)


def load_teacher(source: str, out: str | Path, revision: str = "main") -> Model:
    """Take over a DDPM that was trained elsewhere, and write it into the folder `out`.

    Args:
        source: a folder of diffusers, a checkpoint of denoising-diffusion-pytorch, a file of `sfddm teacher convert`,
            or OWNER/NAME of the hub.
        out: a new folder.
        revision: a commit, tag or branch of the hub.

    Raises:
        UserError: it is not there, it can't be taken over, or `out` is there already.
    """
    seen = look(source, revision)
    return _written(Path(out), seen.found.denoiser(seen.teacher, seen.found.shape), seen.teacher)


def train_teacher(
    images: np.ndarray, out: str | Path, teacher: Teacher | None = None, labels: np.ndarray | None = None
) -> Model:
    """Train a teacher on images, uint8 [N, C, H, W], and write it into the folder `out`.

    Args:
        images: square ones, of one or three channels.
        out: a new folder.
        teacher: the section of a spec; None for the one that `sfddm new --images` writes, which two cores train in
            minutes at up to 16 pixels.
        labels: the images' classes, integers [N] from 0 on, for a teacher that is told them.

    Raises:
        UserError: images that can't be used, a training that diverges, or `out` is there already.
    """
    _require_new(Path(out))
    described = teacher or _begun(_shape(images), None).teacher
    _refuse(described.check(("teacher",)))
    if described.classes and labels is None:
        raise UserError("this teacher is told classes: give `labels`, integers [N].")
    source, data, name = described.source, _stored(images, labels=labels), _name("teacher", out)
    if not isinstance(source, Trained):
        raise UserError("this teacher is not one to be trained: its source has to be of kind train.")
    _require_one_average(source.training)
    inputs = {"teacher": unstructure(described), "data": data.name, "code": _code()}
    checkpoints = Checkpoints(scratch() / "checkpoints" / name, inputs)
    iterations, batch = source.training.iterations, source.training.batch_size
    with Curve(scratch() / "curves" / f"{name}.jsonl", "teacher", iterations, batch) as curve:
        trained = minimise(described, store.read(data, "train"), device(), curve, checkpoints)
    model = _written(Path(out), trained.network, described)
    checkpoints.remove()
    return model


def recipe(teacher: Model, steps: int) -> Student:
    """How `distil` makes a student unless it is told otherwise: the section that `sfddm new` writes, to be changed with
    `attrs.evolve`.

    Raises:
        SpecError: fewer than one step.
    """
    if steps < 1:
        raise SpecError(f"{steps} steps: expected 1 or more.")
    denoiser = storage.load(teacher.folder, device())
    large = sum(parameter.numel() for parameter in denoiser.parameters()) > LARGE
    ours = _begun(denoiser.image_shape, _described(teacher.contract), large).students["ours-t4"]
    assert isinstance(ours.index_set, Uniform | UniformAngle)
    return evolve(ours, index_set=evolve(ours.index_set, steps=steps))


def distil(
    teacher: Model,
    steps: int,
    out: str | Path,
    images: np.ndarray | None = None,
    student: Student | None = None,
    seed: int = 0,
    labels: np.ndarray | None = None,
) -> Model:
    """Distil a teacher into a student, and write it into the folder `out`.

    Args:
        teacher: the model that it is made from.
        steps: T', the network evaluations per image.
        out: a new folder.
        images: uint8 [N, C, H, W], for a student that learns from real images, as those of large teachers do.
        student: the section of a spec; None for `recipe`.
        seed: for everything that the training draws.
        labels: the images' classes, integers [N], where there are images and the teacher is told classes.

    Raises:
        SpecError: the section doesn't suit the teacher.
        UserError: images are needed and not given, the training diverges, or `out` is there already.
    """
    _require_new(Path(out))
    wanted = student or recipe(teacher, steps)
    levels = _checked(wanted, teacher, steps)
    if images is None and _learns_from_images(wanted):
        raise UserError("this student learns from real images: give `images`, uint8 [N, C, H, W].")
    if images is not None and labels is None and teacher.contract.classes:
        raise UserError("this student is told classes: give the images' `labels`, integers [N].")
    name, data = _name("student", out), scratch() if images is None else _stored(images, labels=labels)
    inputs = {"student": unstructure(wanted), "levels": list(levels), "seed": seed, "data": data.name}
    inputs |= {"parent": denoiser_digest(teacher.folder), "code": _code(*modules_of("distill", wanted.kinds))}
    job = Job(
        name=name,
        student=wanted,
        levels=levels,
        seed=seed,
        parent=teacher.folder,
        data=data,
        cache=scratch() / "trajectories",
        curve=scratch() / "curves" / f"{name}.jsonl",
        checkpoints=Checkpoints(scratch() / "checkpoints" / name, inputs),
        training_starts=lambda _: None,
    )
    made = distill(job)
    with atomic_folder(Path(out)) as folder:
        made.write(folder)
        write_sampler(folder, made.sampler)
        write_json(folder / COST, made.cost)
    job.checkpoints.remove()
    return Model(Path(out))


def evaluate(
    student: Model,
    teacher: Model,
    train: np.ndarray,
    held_out: np.ndarray,
    scorers: Mapping[str, Scorer] | None = None,
    samples: int = 2000,
) -> dict[str, Any]:
    """The metrics of a student, by their names in docs/evaluation.md; what each scorer says is under `scorers`.

    Args:
        student: any model for images of the teacher's shape, which may be the teacher itself in few steps.
        teacher: whose images, in its own number of steps, the student's are compared with.
        train: the images that both were trained with, uint8 [N, C, H, W].
        held_out: others, to which distances are measured.
        scorers: sections of a spec by names; None for the pixels alone.
        samples: images of each.

    Raises:
        UserError: too few images, images of another shape, or the network puts out NaN.
    """
    panel = scorers or {"pixels": PixelValues(kind="pixels")}
    _require_usable(panel, _shape(train))
    data = _stored(train, held_out)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name, settings in panel.items():
            job = ScorerJob(
                data=data,
                shape=_shape(train),
                device=device(),
                curve=folder / "curve.jsonl",
                checkpoints=Checkpoints(folder / "checkpoints" / name, {}),
            )
            write_scorer(folder / name, settings, job, samples, root())
        judge(
            student=student.folder,
            teacher=teacher.folder,
            reference=_reference(teacher, samples),
            scorers={name: folder / name for name in panel},
            seed=SEED,
            batch_size=BATCH,
            device=device(),
            views=scratch() / "views",
            out=folder / "results",
            label="student",
        )
        return dict(read_mapping(folder / "results" / "metrics.json"))


def _require_usable(panel: Mapping[str, Scorer], shape: tuple[int, int, int]) -> None:
    """Raises: UserError: a scorer has to be trained on labels. SpecError: one doesn't suit the images."""
    for name, scorer in panel.items():
        if isinstance(scorer, Classifier):
            raise UserError(f"{name}: classifiers are trained by pipelines alone: take pixels or a published network.")
        if isinstance(scorer, PixelValues):
            _refuse(scorer.check(shape, (name,)))


def _reference(teacher: Model, samples: int) -> Path:
    """The folder with the teacher's images, which every student of it is compared with."""
    drawn = {"teacher": denoiser_digest(teacher.folder), "sampler": unstructure(teacher.sampler), "samples": samples}
    folder = scratch() / "references" / digest({**drawn, "code": _code()})[:16]
    if not folder.exists():
        write_reference(folder, teacher.folder, teacher.sampler, SEED, samples, BATCH, device())
    return folder


def _begun(shape: tuple[int, int, int], teacher: Teacher | None, large: bool = False) -> Spec:
    """The spec that `sfddm new` writes for such images and such a teacher."""
    channels, height, width = shape
    if height != width:
        raise UserError(f"images of {height}x{width} pixels: expected square ones.")
    data = folder_of("own", channels, height, labelled=bool(teacher and teacher.classes), images=TO_COME)
    return parse_spec(starter("own", data, TO_COME, teacher, large), "own.yaml")


def _described(contract: Contract) -> Teacher:
    """The section of a spec that a network's contract belongs to.

    Raises:
        UserError: no teacher predicts what it does.
    """
    if contract.prediction == "epsilon-sample":
        raise UserError("a student that predicts noise and image can't be a teacher: take the model that it is from.")
    return Teacher(
        timesteps=contract.timesteps,
        noise_schedule=contract.noise_schedule,
        prediction=contract.prediction,
        classes=contract.classes,
        source=FromDiffusers(kind="diffusers", model="own", revision="0" * 64),
    )


def _checked(student: Student, teacher: Model, steps: int) -> tuple[int, ...]:
    """The levels of a student that suits the teacher. Raises: SpecError: with every fault."""
    shape = storage.load(teacher.folder, device()).image_shape
    context = Context(teacher=_described(teacher.contract), shape=shape, students={"student": student})
    _refuse(student.check(context, ("student",)))
    if isinstance(student.method, TrainedMethod):
        _require_one_average(student.method.training)
    levels = context.levels(student.index_set)
    if len(levels) != steps:
        raise SpecError(f"the student's index set has {len(levels)} steps, and {steps} are asked for.")
    return levels


def _refuse(faults: Iterable[Fault]) -> None:
    """Raises: SpecError: with every fault, if there is one."""
    if lines := [f"{'.'.join(map(str, fault.path))}: {fault.message}" for fault in faults]:
        raise SpecError("\n".join(lines))


def _require_one_average(training: Training) -> None:
    if training.other_averages:
        raise SpecError(
            "other_averages: a model has one average here; the rows of a spec compare several. Remove them."
        )


def _learns_from_images(student: Student) -> bool:
    if isinstance(student.method, SFDDM):
        return any(isinstance(source, DataSource) for source in student.method.sources)
    return isinstance(student.method, Progressive | Consistency | TRACT)


def _written(out: Path, denoiser: Denoiser, described: Teacher) -> Model:
    """A teacher, which is drawn in as many steps as the spec of `sfddm new` draws its reference in."""
    _require_new(out)
    wanted = _begun(denoiser.image_shape, _described(denoiser.contract)).evaluation.reference
    levels = resolve(wanted.index_set, described.noise_schedule, described.timesteps)
    with atomic_folder(out) as folder:
        storage.write(folder, denoiser)
        write_sampler(folder, Sampler(solver=wanted.solver, levels=levels, clip_sample=wanted.clip_sample))
        write_json(folder / COST, Cost().to_json())
    return Model(out)


def _stored(train: np.ndarray, held_out: np.ndarray | None = None, labels: np.ndarray | None = None) -> Path:
    """The folder with these images as splits, which is named after their content; `labels` are those of `train`."""
    splits = {"train": train} | ({} if held_out is None else {"test": held_out})
    for name, images in splits.items():
        check_images(images, _shape(train), f"the images ({name})")
    classes = None if labels is None else _classes(labels, len(train))
    arrays = {**splits, **({} if classes is None else {"labels": classes})}
    key = {name: sha256(np.ascontiguousarray(array).data).hexdigest() for name, array in arrays.items()}
    folder = scratch() / "data" / digest({**key, "shape": list(_shape(train))})[:16]
    if not folder.exists():
        with atomic_folder(folder) as partial:
            for name, images in splits.items():
                block = store.Block(images, classes if name == "train" else None)
                store.write(partial, name, store.Stream(len(images), [block]), _shape(train))
            write_json(partial / store.DESCRIPTION, {store.FLIP: False})
    return folder


def _classes(labels: np.ndarray, images: int) -> np.ndarray:
    """The classes, int64 [N]. Raises: UserError: other than whole numbers, one of each image."""
    found = np.asarray(labels)
    if found.shape != (images,) or not np.issubdtype(found.dtype, np.integer):
        raise UserError(f"expected {images} labels, whole numbers, found {found.dtype} {list(found.shape)}.")
    return found.astype(np.int64)


def _shape(images: np.ndarray) -> tuple[int, int, int]:
    if not isinstance(images, np.ndarray) or images.ndim != 4:
        found = f"{type(images).__name__} of {np.ndim(images)} dimensions"
        raise UserError(f"expected a NumPy array of images [N, C, H, W], found a {found}.")
    return images.shape[1], images.shape[2], images.shape[3]


def _name(what: str, out: str | Path) -> str:
    """What checkpoints and curves of a training are called: its own, wherever the program is started."""
    return f"{what}-{digest({'out': str(Path(out).absolute())})[:8]}"


def _code(*modules: str) -> str:
    """The fingerprint of this code and of modules that are imported by their kinds."""
    return fingerprint("sfddm.api", *modules)


def _require_new(out: Path) -> None:
    if out.exists():
        raise UserError(f"{out} is there already: give the name of a new folder.")
