"""Images from a stored denoiser: the same image for the same seed and number, whatever the batch size."""

from collections.abc import Iterator, Sequence
from math import prod
from tempfile import TemporaryFile

import numpy as np
import torch
from torch import Tensor

from sfddm.diffusion.sampler import Sampler
from sfddm.diffusion.sampling import sample
from sfddm.errors import UserError
from sfddm.images import to_bytes
from sfddm.networks.denoiser import Denoiser, class_of
from sfddm.randomness import Purpose, generator, normals
from sfddm.runtime.files import could_not_write
from sfddm.runtime.machine import scratch
from sfddm.runtime.memory import RESIDENT, free_memory
from sfddm.runtime.processes import distributed_map, drawn_ahead, is_main
from sfddm.runtime.progress import Status

CHUNK = 2**24
"""Bytes that are written at a time."""


def generate(
    denoiser: Denoiser,
    sampler: Sampler,
    seed: int,
    count: int,
    batch_size: int,
    label: str,
    class_label: int | None = None,
) -> np.ndarray:
    """`count` images, uint8 [count, C, H, W], from the noises 0..count-1 of `seed`.

    They are in memory, or, if they would take more than half of what is free, in an unnamed file. Of several processes
    each draws some of the batches, and process 0 has all images; the others have none. `label` is for the progress,
    `class_label` the class of all images; None: each noise has its own.

    Raises:
        UserError: the network put out NaN, or the disk is full.
    """
    images = _room((count if is_main() else 0, *denoiser.image_shape))
    batches = [range(start, min(start + batch_size, count)) for start in range(0, count, batch_size)]
    noises = drawn_ahead(batches, lambda batch: normals(seed, Purpose.EVALUATION_NOISE, batch, denoiser.image_shape))
    with Status(label, count, "img") as status:
        drawn = distributed_map(
            batches, lambda batch: to_bytes(draw_from(denoiser, sampler, next(noises), seed, batch, class_label))
        )
        for batch, part in zip(batches, drawn, strict=is_main()):
            images[batch.start : batch.stop] = part
            status.update(batch.stop)
    return images


def _room(shape: tuple[int, ...]) -> np.ndarray:
    if (size := prod(shape)) <= RESIDENT * free_memory("cpu"):
        return np.empty(shape, dtype=np.uint8)
    try:
        scratch().mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=scratch()) as file:
            for start in range(0, size, CHUNK):  # a file with holes would kill the process where the disk is full
                file.write(bytes(min(CHUNK, size - start)))
            file.flush()
            return np.memmap(file, np.uint8, "r+", shape=shape)
    except OSError as error:
        raise could_not_write(scratch(), error) from error


@torch.inference_mode()
def draw_from(
    denoiser: Denoiser,
    sampler: Sampler,
    noise: np.ndarray,
    seed: int,
    streams: Sequence[int],
    class_label: int | None = None,
) -> Tensor:
    """The images [N, C, H, W] from given noises, float32 [N, C, H, W].

    A stochastic sampler adds noise from stream `streams[i]` of `seed` to image i: equal streams, equal step noise.
    Where there are classes, image i has that of noise `streams[i]`, or the class `class_label`.

    Raises:
        UserError: the network put out NaN.
    """
    device = denoiser.device
    step_noise = _step_noise(seed, streams, noise.shape[1:], device)
    numbers = torch.tensor(list(streams), device=device)
    labels = class_of(denoiser.contract, numbers if class_label is None else torch.full_like(numbers, class_label))
    images = sample(denoiser.given(labels), torch.from_numpy(noise).to(device), sampler, step_noise)
    if not bool(images.isfinite().all()):
        raise UserError("the network produced NaN or infinite pixels: its weights are probably corrupt.")
    return images


def _step_noise(seed: int, streams: Sequence[int], shape: tuple[int, ...], device: torch.device) -> Iterator[Tensor]:
    """What a stochastic sampler adds after each step: every image has its own stream."""
    generators = [generator(seed, Purpose.STEP_NOISE, stream) for stream in streams]
    while True:
        drawn = np.stack([each.standard_normal(shape, dtype=np.float32) for each in generators])
        yield torch.from_numpy(drawn).to(device)
