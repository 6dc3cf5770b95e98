"""What the sections of a spec must agree on, beyond being valid each by itself."""

from collections.abc import Iterator
from itertools import combinations

from sfddm.diffusion.levels import alpha_bar
from sfddm.diffusion.spacing import IndexSetError
from sfddm.spec.data import Data, Digits, Folder
from sfddm.spec.evaluation import Classifier, PixelValues, Scorer
from sfddm.spec.experiment import Spec
from sfddm.spec.parse import Fault, SpecPath, nearest
from sfddm.spec.parts import FromTeacher, network_of
from sfddm.spec.students import Free, Student, Trained
from sfddm.spec.teacher import EDMUNet2D, OwnBetas, Teacher

UNEVEN = ("linear", "edm")
"""Schedules whose levels are far from even in angle."""
LEFT = 0.01
"""Share of the image's variance: if more is left at level T, it shows, because samplers begin from pure noise."""
BLOCKS = 10
"""Those of the jackknife (`sfddm.evaluation.moments`)."""
TEN = 10
"""The classes of every set that has any, but folders."""
HELD_OUT = 2 * BLOCKS
"""Held-out images, and images of a student, that distances need at least: two in each block of the jackknife."""


def cross_check(spec: Spec) -> Iterator[Fault]:
    """Yield every disagreement between sections that are each valid alone."""
    context = spec.context
    yield from _check_data(spec.data)
    yield from spec.teacher.source.check(spec.data.shape, ("teacher", "source"))
    yield from spec.teacher.check(("teacher",))
    yield from _check_classes(spec)
    if spec.evaluation.samples < HELD_OUT:
        yield Fault(f"comparisons need at least {HELD_OUT}, better thousands", ("evaluation", "samples"))
    if not spec.evaluation.scorers:
        yield Fault("expected at least one scorer, better several that share nothing", ("evaluation", "scorers"))
    for name, scorer in spec.evaluation.scorers.items():
        yield from _check_scorer(scorer, spec.data, ("evaluation", "scorers", name))
    yield from _check_panel(spec.evaluation.scorers, ("evaluation", "scorers"))
    yield from context.check_index_set(spec.evaluation.reference.index_set, ("evaluation", "reference", "index_set"))
    if not spec.students:
        yield Fault("expected at least one student", ("students",))
    for name, student in spec.students.items():
        yield from student.check(context, ("students", name))
    for position, name in enumerate(spec.registry.students):
        if name not in spec.students:
            yield Fault(f"unknown student {name!r}{nearest(name, spec.students)}", ("registry", "students", position))
    yield from _check_gates(spec)


def remarks(spec: Spec) -> Iterator[str]:
    """Yield what is allowed and seldom meant, such as settings for another teacher than the spec's, or seldom known."""
    teacher = spec.teacher
    methods = {name: student.method for name, student in spec.students.items()}
    copies = [
        name
        for name, method in methods.items()
        if isinstance(method, Trained) and isinstance(method.start, FromTeacher) and method.start.prediction == "same"
    ]
    if teacher.prediction == "epsilon" and copies:
        yield (
            f"the teacher predicts noise, from which {', '.join(copies)} would have to divide the image out: "
            "`prediction: epsilon-sample` gives a student both"
        )
    uniform = [name for name, student in spec.students.items() if student.index_set.kind == "uniform"]
    if uneven(teacher) and uniform:
        yield (
            f"on this schedule ({teacher.noise_schedule}) `kind: uniform-angle` is the better index set of few steps, "
            f"and uniform that of {', '.join(uniform)}"
        )
    left = float(alpha_bar(teacher.noise_schedule, teacher.timesteps)[-1])
    if left > LEFT:
        yield (
            f"at level T {left:.2g} of the image's variance is left, and samplers begin from pure noise, which the "
            "teacher has not seen: more levels or larger betas are usual"
        )
    if spec.evaluation.samples < BLOCKS * teacher.classes:
        yield (
            f"intervals come from {BLOCKS} blocks of noises, which with {teacher.classes} classes and "
            f"{spec.evaluation.samples} samples are of different classes: take more samples"
        )
    if teacher.source.kind != "train":
        yield (
            "the teacher was trained elsewhere, perhaps with images that are held out here: then distances to these "
            "flatter it, and every student of it"
        )


def uneven(teacher: Teacher) -> bool:
    """Whether levels that are evenly spaced in t are far from even in angle."""
    schedule = teacher.noise_schedule
    return (schedule.beta_schedule if isinstance(schedule, OwnBetas) else schedule) in UNEVEN


def _check_classes(spec: Spec) -> Iterator[Fault]:
    """Yield a fault where a teacher is told other classes than the images have, or a prediction that is not its own."""
    teacher, data = spec.teacher, spec.data
    here = ("teacher", "classes")
    if teacher.classes and not data.labelled:
        remedy = _SORTED if isinstance(data, Folder) else "leave classes out"
        yield Fault(f"the network is told classes, and {data.kind} has none here: {remedy}", here)
    elif teacher.classes and not isinstance(data, Folder) and teacher.classes != TEN:
        yield Fault(f"expected {TEN}, the classes of {data.kind}", here)
    if isinstance(own := network_of(teacher), EDMUNet2D):
        yield from own.check_prediction(teacher.prediction, ("teacher", "prediction"))


def _check_gates(spec: Spec) -> Iterator[Fault]:
    """Yield a fault where a student has to beat free samplers, and none has as few steps."""
    if spec.promotion.against_free == "any":
        return
    registered = [spec.students[name] for name in spec.registry.students if name in spec.students]
    free = [student for student in spec.students.values() if isinstance(student.method, Free)]
    steps = [_steps(spec, student) for student in registered if not isinstance(student.method, Free)]
    if steps and min([_steps(spec, student) for student in free], default=max(steps) + 1) > min(steps):
        yield Fault(
            f"no free sampler has at most the {min(steps)} steps of a registered student: add one, `method: {{kind: "
            "free, solver: angle-2m}`, or set this to any",
            ("promotion", "against_free"),
        )


def _steps(spec: Spec, student: Student) -> int:
    try:
        return len(spec.levels_of(student.index_set))
    except IndexSetError:  # said at the index set
        return 1


def _check_data(data: Data) -> Iterator[Fault]:
    needed = f"to measure distances to, which need at least {HELD_OUT}, better hundreds"
    if isinstance(data, Folder) and 0 < data.held_out < HELD_OUT:
        yield Fault(f"this holds {data.held_out} images out {needed}", ("data", "held_out"))
    if not isinstance(data, Digits):
        return
    if not 1 < data.train < data.images:
        yield Fault(f"expected fewer than the {data.images} images of the set", ("data", "train"))
    elif data.images - data.train < HELD_OUT:
        yield Fault(
            f"this leaves {data.images - data.train} images {needed}: use at most {data.images - HELD_OUT}",
            ("data", "train"),
        )


def _check_scorer(scorer: Scorer, data: Data, path: SpecPath) -> Iterator[Fault]:
    if isinstance(scorer, Classifier):
        if not data.labelled:
            yield Fault(_no_labels(data), (*path, "kind"))
        yield from scorer.training.check((*path, "training"))
        if scorer.training.other_averages:
            yield Fault(
                "a scorer keeps one average: remove this or, where its training is merged from a student's, add "
                "`other_averages: {}` to it",
                (*path, "training", "other_averages"),
            )
        yield from scorer.network.check(data.shape, (*path, "network"))
    elif isinstance(scorer, PixelValues):
        yield from scorer.check(data.shape, path)


def _check_panel(scorers: dict[str, Scorer], path: SpecPath) -> Iterator[Fault]:
    """Yield a fault where two classifiers share training images or an architecture: they would err alike."""
    classifiers = {name: scorer for name, scorer in scorers.items() if isinstance(scorer, Classifier)}
    for (first, one), (second, other) in combinations(classifiers.items(), 2):
        if {one.trained_on, other.trained_on} != {"first-half", "second-half"}:
            yield Fault(
                f"{second} and {first} learn from the same images: give one first-half, the other second-half",
                (*path, second, "trained_on"),
            )
        if one.network.kind == other.network.kind:
            yield Fault(f"as in {first}: two scorers of one architecture err alike", (*path, second, "network"))


_SORTED = "put the images into a folder for each class and set data.labels to folders"


def _no_labels(data: Data) -> str:
    sorted_out = f", or {_SORTED}" if isinstance(data, Folder) else ""
    return (
        f"classifier learns from classes, and {data.kind} has none here: use efficientnet, inception or torchvision, "
        f"which are trained already, or pixels{sorted_out}"
    )
