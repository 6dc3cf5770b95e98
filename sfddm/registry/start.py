"""The weights that a version's training started from, by which differences of its weights are measured."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from sfddm.networks import storage
from sfddm.networks.denoiser import build, unet_config
from sfddm.networks.student import first_student
from sfddm.spec.experiment import Run, Spec
from sfddm.spec.students import Free, Resampled
from sfddm.spec.teacher import Trained


def start_weights(spec: Spec, run: Run, teacher: Path, student: Path) -> Mapping[str, Tensor] | None:
    """The weights before the first iteration, with the names that the student's have.

    A student that is trained starts from the teacher's weights, or from fresh ones. A free one is the teacher itself,
    whose training started from fresh weights; None where that was not trained here.

    Args:
        spec: the version's.
        run: the version's.
        teacher: the folder of the rebuilt teacher.
        student: the folder of the student, registered or rebuilt.

    Raises:
        UserError: a file of the two is missing or damaged.
    """
    method, source = spec.students[spec.trained(run.student)].method, spec.teacher.source
    assert not isinstance(method, Resampled), "a student that resamples another is never resampled"
    contract = storage.read_contract(student)
    if not isinstance(method, Free):
        start = storage.load(teacher, torch.device("cpu"))
        first = first_student(start, method.start, run.seed, contract.index_levels, contract.two_times)
    elif isinstance(source, Trained):
        first = build(unet_config(source.network, spec.data.shape), contract, source.seed)
    else:
        return None
    return dict(first.network.state_dict())
