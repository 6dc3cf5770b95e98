"""From a spec's source to a teacher that was found, checked and tried."""

import sys

import numpy as np
import torch

from sfddm.data.store import require_classes
from sfddm.errors import UserError
from sfddm.networks.denoiser import Denoiser
from sfddm.spec.teacher import FromCheckpoint, FromDiffusers, FromTensors, Teacher
from sfddm.teachers import folder, tensors
from sfddm.teachers import lucidrains as checkpoint
from sfddm.teachers.candidate import Found
from sfddm.teachers.denoising import require_denoising
from sfddm.teachers.hub import given_path


def import_teacher(
    described: Teacher, images: np.ndarray, device: torch.device, labels: np.ndarray | None = None
) -> tuple[Denoiser, dict[str, object]]:
    """The teacher of a spec that is not trained here, and where it comes from in plain data.

    Args:
        described: the spec's section, whose source is not `train`.
        images: real ones, uint8 [N, C, H, W], that the teacher is tried on.
        device: where it is tried.
        labels: their classes, int64 [N], where they have any.

    Raises:
        UserError: it is not there, it is not what the spec describes, or it does not denoise the images.
    """
    if described.classes:
        if labels is None:
            raise UserError(f"the teacher is told {described.classes} classes, and the images have none.")
        require_classes(labels, described.classes)
    shape = (images.shape[1], images.shape[2], images.shape[3])
    found = _find(described, shape)
    if found.dropout:
        print(
            f"{found.origin} was trained with dropout {found.dropout:g}: its copy, and every student that starts from "
            "it, has none.",
            file=sys.stderr,
            flush=True,
        )
    denoiser = found.denoiser(described, shape).to(device)
    errors = require_denoising(denoiser, images, found.origin, labels)
    return denoiser, {"origin": found.origin, "pinned": found.pinned, "denoising": errors}


def find_teacher(described: Teacher, shape: tuple[int, int, int]) -> Denoiser:
    """The same teacher for images of a shape [C, H, W], not tried on any.

    Raises:
        UserError: it is not there, or it is not what the spec describes.
    """
    return _find(described, shape).denoiser(described, shape)


def _find(described: Teacher, shape: tuple[int, int, int]) -> Found:
    source = described.source
    if isinstance(source, FromDiffusers):
        return folder.find(source.model, source.revision)
    if isinstance(source, FromTensors):
        return tensors.read(given_path(source.file), source, described, shape)
    assert isinstance(source, FromCheckpoint)
    return checkpoint.read(given_path(source.file), source.sha256, source.weights, shape[1:])
