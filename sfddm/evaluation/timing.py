"""How long images take; measured, so never the same twice, and stored apart from the metrics that are."""

import time
from collections.abc import Callable
from typing import Any

import torch
from attrs import evolve

from sfddm.diffusion.sampler import Sampler
from sfddm.diffusion.sampling import sample
from sfddm.networks.denoiser import Denoiser, class_of
from sfddm.randomness import Purpose, normals
from sfddm.runtime.memory import peak_memory_mb

BATCH = 250
"""Images per batch that is timed."""
STEPS = 16
"""Samplers of at most so many levels are timed as they are; times of longer ones are scaled up from `FEW` levels."""
FEW = 4
REPEATS = 3
SINGLE_REPEATS = 9
"""Single images scatter more, and cost less."""


def time_sampling(student: Denoiser, sampler: Sampler, teacher: Denoiser) -> dict[str, Any]:
    """Seconds per thousand images for the student, and for its teacher under DDIM on all T levels, measured in turn.

    Medians of a few repeats on one batch of given noises, after a warm-up; `speed_up` is their ratio. `latency_ms` is
    the time from one noise to its image, alone in its batch.
    """
    every = Sampler(solver="ddim", levels=tuple(range(1, teacher.contract.timesteps + 1)), clip_sample=True)
    own, teachers = _medians([_measure(student, sampler, BATCH), _measure(teacher, every, BATCH)], REPEATS)
    (single,) = _medians([_measure(student, sampler, 1)], SINGLE_REPEATS)
    return {
        "nfe": sampler.nfe,
        "seconds_per_1000_images": own * 1000,
        "teacher_seconds_per_1000_images": teachers * 1000,
        "speed_up": teachers / own,
        "latency_ms": single * 1000,
        "peak_memory_mb": peak_memory_mb(student.device.type),
        "device": student.device.type,
    }


def _medians(measures: list[Callable[[], float]], repeats: int) -> list[float]:
    """Medians of several measurements, taken in turn."""
    for measure in measures:
        measure()
    seconds = [[measure() for measure in measures] for _ in range(repeats)]
    return [sorted(column)[repeats // 2] for column in zip(*seconds, strict=True)]


def _measure(denoiser: Denoiser, sampler: Sampler, batch: int) -> Callable[[], float]:
    """A measurement of the seconds per image."""
    timed = sampler if sampler.nfe <= STEPS else evolve(sampler, levels=sampler.levels[-FEW:])
    noise = torch.from_numpy(normals(0, Purpose.EVALUATION_NOISE, range(batch), denoiser.image_shape))
    noise = noise.to(denoiser.device)
    told = denoiser.given(class_of(denoiser.contract, torch.arange(batch, device=denoiser.device)))

    @torch.inference_mode()
    def measure() -> float:
        started = time.perf_counter()
        sample(told, noise, timed, iter(lambda: noise, None))
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return (time.perf_counter() - started) * sampler.nfe / timed.nfe / batch

    return measure
