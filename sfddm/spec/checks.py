"""What the sections of a spec must agree on, beyond being valid each by itself."""

from collections.abc import Iterator

from sfddm.spec.data import Data, Digits, Folder
from sfddm.spec.evaluation import Classifier, Scorer
from sfddm.spec.experiment import Spec
from sfddm.spec.parse import Fault, SpecPath, nearest


def cross_check(spec: Spec) -> Iterator[Fault]:
    """Yield every disagreement between sections that are each valid alone."""
    context = spec.context
    yield from _check_data(spec.data)
    yield from spec.teacher.source.check(spec.data.shape, ("teacher", "source"))
    yield from _check_scorer(spec.evaluation.scorer, spec.data, ("evaluation", "scorer"))
    yield from context.check_index_set(spec.evaluation.reference.index_set, ("evaluation", "reference", "index_set"))
    if not spec.students:
        yield Fault("expected at least one student", ("students",))
    for name, student in spec.students.items():
        yield from student.check(context, ("students", name))
    for position, name in enumerate(spec.registry.students):
        if name not in spec.students:
            yield Fault(f"unknown student {name!r}{nearest(name, spec.students)}", ("registry", "students", position))


def _check_data(data: Data) -> Iterator[Fault]:
    if isinstance(data, Digits) and not 1 < data.train < data.images:
        yield Fault(f"expected fewer than the {data.images} images of the set", ("data", "train"))


def _check_scorer(scorer: Scorer, data: Data, path: SpecPath) -> Iterator[Fault]:
    if isinstance(scorer, Classifier):
        if not data.labelled:
            yield Fault(_no_labels(data), (*path, "kind"))
        yield from scorer.training.check((*path, "training"))
        yield from scorer.network.check(data.shape, (*path, "network"))


def _no_labels(data: Data) -> str:
    sorted_out = ", or put the images into a folder for each class and set data.labels to {kind: folders, ...}"
    return (
        f"classifier learns from classes, and {data.kind} has none here: use inception or torchvision, which are "
        f"trained already, or pixels{sorted_out if isinstance(data, Folder) else ''}"
    )
