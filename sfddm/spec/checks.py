"""What the sections of a spec must agree on, beyond being valid each by itself."""

from collections.abc import Iterator

from sfddm.diffusion.spacing import IndexSetError, finer, resolve
from sfddm.methods.costs import split
from sfddm.spec.data import Data, Digits, Folder
from sfddm.spec.evaluation import MOST_CONVOLUTIONS, Classifier, Scorer
from sfddm.spec.experiment import Spec, Student
from sfddm.spec.fields import SHA256_PATTERN
from sfddm.spec.index_set import IndexSet
from sfddm.spec.parse import Fault, SpecPath, nearest
from sfddm.spec.students import (
    FREE,
    SFDDM,
    TRACT,
    AnyStep,
    Cache,
    Consistency,
    DataSource,
    FromScratch,
    Method,
    Progressive,
    Resampled,
    Start,
    Trained,
    any_steps,
)
from sfddm.spec.teacher import FromDiffusers, UNet2D
from sfddm.spec.teacher import Trained as TrainedTeacher
from sfddm.spec.training import Training

LISTED = 6
"""Numbers that an error names."""


def cross_check(spec: Spec) -> Iterator[Fault]:
    """Yield every disagreement between sections that are each valid alone."""
    yield from _check_data(spec)
    yield from _check_teacher(spec, ("teacher", "source"))
    yield from _check_scorer(spec.evaluation.scorer, spec.data, ("evaluation", "scorer"))
    yield from _check_index_set(spec.evaluation.reference.index_set, spec, ("evaluation", "reference", "index_set"))
    if not spec.students:
        yield Fault("expected at least one student", ("students",))
    for name, student in spec.students.items():
        yield from _check_student(student, spec, ("students", name))
    for position, name in enumerate(spec.registry.students):
        if name not in spec.students:
            yield Fault(f"unknown student {name!r}{nearest(name, spec.students)}", ("registry", "students", position))


def _check_student(student: Student, spec: Spec, path: SpecPath) -> Iterator[Fault]:
    if not student.seeds or len(set(student.seeds)) < len(student.seeds):
        yield Fault("expected one seed or several different ones", (*path, "seeds"))
    if isinstance(student.method, FREE) and len(student.seeds) > 1:
        yield Fault("a free sampler trains nothing: give it one seed", (*path, "seeds"))
    broken = list(_check_index_set(student.index_set, spec, (*path, "index_set")))
    yield from broken
    if broken:
        return
    yield from _check_method(student, spec, (*path, "method"))
    method = student.method
    if isinstance(method, Trained):
        yield from _check_start(method.start, spec, (*path, "method", "start"))
        yield from _check_training(method.training, (*path, "method", "training"))


def _check_method(student: Student, spec: Spec, here: SpecPath) -> Iterator[Fault]:
    levels, method = spec.levels_of(student.index_set), student.method
    match method:
        case SFDDM():
            yield from _check_sfddm(method, levels, spec, here)
            yield from _check_features(method, spec, here)
        case AnyStep():
            yield from _check_cache(method.cache, method.training, levels, spec, (*here, "cache"))
            yield from _check_features(method, spec, here)
            if method.hidden.weight == 0:
                yield Fault(
                    "any-step learns where to land from this term: give it a positive weight", (*here, "hidden")
                )
        case Progressive():
            yield from _check_progressive(method, levels, spec, here)
        case Consistency():
            yield from _check_grid(method, levels, spec, here)
        case TRACT():
            yield from _check_room(levels, method.substeps, spec, (*here, "substeps"))
        case Resampled():
            yield from _check_resampled(method, student, spec, here)


def _check_data(spec: Spec) -> Iterator[Fault]:
    data = spec.data
    if isinstance(data, Digits) and not 1 < data.train < data.images:
        yield Fault(f"expected fewer than the {data.images} images of the set", ("data", "train"))


def _check_scorer(scorer: Scorer, data: Data, path: SpecPath) -> Iterator[Fault]:
    if isinstance(scorer, Classifier):
        if not data.labelled:
            yield Fault(_no_labels(data), (*path, "kind"))
        yield from _check_training(scorer.training, (*path, "training"))
        if len(scorer.channels) > MOST_CONVOLUTIONS:
            yield Fault(f"expected at most {MOST_CONVOLUTIONS} convolutions", (*path, "channels"))


def _check_teacher(spec: Spec, path: SpecPath) -> Iterator[Fault]:
    match spec.teacher.source:
        case TrainedTeacher(training=training, network=network):
            yield from _check_training(training, (*path, "training"))
            yield from _check_network(network, spec.data.shape, (*path, "network"))
        case FromDiffusers(model=model, revision=revision) if "/" not in model and SHA256_PATTERN.fault(revision):
            yield Fault(
                f"{model} has no slash, so it is a folder, whose revision is its weights' SHA-256: "
                "`sfddm teacher inspect FOLDER` prints it",
                (*path, "revision"),
            )


def _no_labels(data: Data) -> str:
    sorted_out = ", or put the images into a folder for each class and set data.labels to {kind: folders, ...}"
    return (
        f"classifier learns from classes, and {data.kind} has none here: use inception or torchvision, which are "
        f"trained already{sorted_out if isinstance(data, Folder) else ''}"
    )


def _check_network(network: UNet2D, shape: tuple[int, int, int], path: SpecPath) -> Iterator[Fault]:
    if len(network.attention) != len(network.channels):
        yield Fault(f"expected {len(network.channels)} entries, as many as channels", (*path, "attention"))
    for position, channels in enumerate(network.channels):
        if channels % network.norm_groups:
            message = f"expected a multiple of norm_groups ({network.norm_groups}), found {channels}"
            yield Fault(message, (*path, "channels", position))
    halvings = 2 ** max(len(network.channels) - 1, 0)
    if not network.channels or shape[1] % halvings or shape[2] % halvings:
        yield Fault(f"{shape[1]}x{shape[2]} images can't be halved that often", (*path, "channels"))


def _check_index_set(index_set: IndexSet, spec: Spec, path: SpecPath) -> Iterator[Fault]:
    try:
        resolve(index_set, spec.teacher.noise_schedule, spec.teacher.timesteps)
    except IndexSetError as error:
        yield Fault(str(error), (*path, error.field))


def _check_start(start: Start, spec: Spec, path: SpecPath) -> Iterator[Fault]:
    if isinstance(start, FromScratch):
        if isinstance(start.network, UNet2D):
            yield from _check_network(start.network, spec.data.shape, (*path, "network"))
        return
    teachers = spec.teacher.prediction
    if start.prediction == "epsilon-sample" and teachers != "epsilon":
        yield Fault(
            f"the teacher predicts {teachers}, so there is no noise output to copy: use same, or start from scratch",
            (*path, "prediction"),
        )
    if start.prediction == "v" and teachers == "sample":
        yield Fault("an image can't be read as v: use same, or start from scratch", (*path, "prediction"))


def _check_sfddm(method: SFDDM, levels: tuple[int, ...], spec: Spec, path: SpecPath) -> Iterator[Fault]:
    if method.output.weight == method.hidden.weight == method.feature.weight == 0:
        yield Fault("the weights of output, hidden and feature are all 0: give one of them a positive weight", path)
    if not method.sources:
        yield Fault("expected at least one source", (*path, "sources"))
    else:
        yield from _check_shares(method, (*path, "sources"))
    walks = method.hidden.weight > 0 or (method.feature.weight > 0 and method.feature.state == "landing")
    for position, source in enumerate(method.sources):
        here = (*path, "sources", position)
        if not isinstance(source, DataSource):
            yield from _check_cache(source.cache, method.training, levels, spec, (*here, "cache"))
        elif source.substeps > 1 and not walks:
            yield Fault("no term needs the landing state that sub-steps lead to: set substeps to 1", here)


def _check_features(method: SFDDM | AnyStep, spec: Spec, path: SpecPath) -> Iterator[Fault]:
    """The term compares activations one by one, so there must be equally many."""
    own = method.start.network if isinstance(method.start, FromScratch) else None
    source = spec.teacher.source
    if not isinstance(source, TrainedTeacher):
        return  # known once the teacher is there: `sfddm.methods.train` looks again
    teachers = source.network.channels
    if method.feature.weight and isinstance(own, UNet2D) and own.channels[:1] != teachers[:1]:
        yield Fault(
            f"the student's network has {own.channels[0]} features and the teacher's {teachers[0]}: give both the same "
            "first entry of channels, or set this weight to 0",
            (*path, "feature", "weight"),
        )


def _check_shares(method: SFDDM, path: SpecPath) -> Iterator[Fault]:
    size = method.training.batch_size
    for position, count in enumerate(split(method.sources, size)):
        if count < 1:
            yield Fault(
                f"this source gets none of a batch of {size} images: give it a larger share, or a larger batch_size",
                (*path, position, "share"),
            )


def _check_cache(
    cache: Cache, training: Training, levels: tuple[int, ...], spec: Spec, path: SpecPath
) -> Iterator[Fault]:
    if cache.noises < training.batch_size:
        yield Fault(f"expected at least one batch of noises ({training.batch_size})", (*path, "noises"))
    if len(levels) * cache.substeps > spec.teacher.timesteps:
        yield _too_fine(levels, cache.substeps, spec.teacher.timesteps, (*path, "substeps"))


def _check_progressive(method: Progressive, levels: tuple[int, ...], spec: Spec, path: SpecPath) -> Iterator[Fault]:
    ratio, left = divmod(method.start_steps, len(levels))
    if left or ratio < 2 or ratio & (ratio - 1):
        near = ", ".join(str(len(levels) * 2**fold) for fold in range(1, 5))
        yield Fault(f"expected the {len(levels)} steps times a power of two: {near}, ...", (*path, "start_steps"))
        return
    yield from _check_room(levels, ratio, spec, (*path, "start_steps"))
    folds = ratio.bit_length() - 1
    if method.training.iterations // folds <= method.training.warmup:
        yield Fault(
            f"{folds} folds leave {method.training.iterations // folds} iterations each, no more than the warm-up: "
            "give more iterations, a shorter warm-up, or fewer start_steps",
            (*path, "training", "iterations"),
        )


def _check_room(levels: tuple[int, ...], substeps: int, spec: Spec, path: SpecPath) -> Iterator[Fault]:
    timesteps = spec.teacher.timesteps
    if len(levels) * substeps > timesteps:
        yield _too_fine(levels, substeps, timesteps, path)
        return
    room = len(finer(levels, substeps, spec.teacher.noise_schedule, timesteps))
    if room < len(levels) * substeps:
        yield _too_fine(levels, substeps, room, path)


def _too_fine(levels: tuple[int, ...], substeps: int, room: int, path: SpecPath) -> Fault:
    return Fault(
        f"{len(levels)} segments of {substeps} steps need {len(levels) * substeps} different levels, "
        f"and there is room for {room}: use fewer",
        path,
    )


def _check_grid(method: Consistency, levels: tuple[int, ...], spec: Spec, path: SpecPath) -> Iterator[Fault]:
    broken = list(_check_index_set(method.grid, spec, (*path, "grid")))
    yield from broken
    if not broken:
        yield from _check_on_grid(method, levels, spec, path[:-1])


def _check_on_grid(method: Consistency, levels: tuple[int, ...], spec: Spec, path: SpecPath) -> Iterator[Fault]:
    grid = spec.levels_of(method.grid)
    known = set(grid)
    outside = [level for level in levels if level not in known]
    if outside:
        near = sorted({min(grid, key=lambda known: abs(known - level)) for level in outside[:LISTED]})
        yield Fault(
            f"consistency distillation learns the levels of its grid alone, and {_listed(outside)} "
            f"{'is' if len(outside) == 1 else 'are'} not among them: use {_listed(near)}, or another grid",
            (*path, "index_set"),
        )


def _check_resampled(method: Resampled, student: Student, spec: Spec, path: SpecPath) -> Iterator[Fault]:
    source = spec.students.get(method.student)
    here = (*path, "student")
    if source is None:
        yield Fault(f"unknown student {method.student!r}{nearest(method.student, spec.students)}", here)
        return
    if isinstance(source.method, FREE):
        yield Fault(f"{method.student} is the teacher itself: use `kind: {source.method.kind}` here", here)
    elif not any_steps(source.method):
        yield Fault(f"{method.student} ({_name(source.method)}) can be sampled on its own index set alone", here)
    missing = [seed for seed in student.seeds if seed not in source.seeds]
    if missing:
        yield Fault(f"{method.student} has no seed {_listed(missing)}", (*path[:-1], "seeds"))
    if isinstance(source.method, Consistency):
        yield from _check_on_grid(source.method, spec.levels_of(student.index_set), spec, path[:-1])


def _name(method: Method) -> str:
    return "sfddm with `time_input: index`" if isinstance(method, SFDDM) else method.kind


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:LISTED])) + (", ..." if len(numbers) > LISTED else "")


def _check_training(training: Training, path: SpecPath) -> Iterator[Fault]:
    if training.warmup + training.decay * training.iterations > training.iterations:
        yield Fault("warm-up and decay together are longer than the training", (*path, "warmup"))
