"""How long images take. Measured, so never the same twice: kept apart from the figures that are."""

import time
from collections.abc import Callable
from typing import Any

import torch
from attrs import evolve

from sfddm.diffusion.sampler import Sampler
from sfddm.diffusion.sampling import sample
from sfddm.memory import peak_memory_mb
from sfddm.networks.denoiser import Denoiser
from sfddm.randomness import Purpose, normals

BATCH = 250
"""Images that are timed at once."""
STEPS = 16
"""A sampler of at most so many levels is timed as it is; the time of a longer one is scaled up from a few levels."""
FEW = 4
REPEATS = 3


def time_sampling(student: Denoiser, sampler: Sampler, teacher: Denoiser) -> dict[str, Any]:
    """Seconds a thousand images for the student, and for its teacher under DDIM on all T levels, measured in turn.

    Medians of a few repeats on one batch of given noises, after a warm-up; `speed_up` is their ratio.
    """
    every = Sampler(solver="ddim", levels=tuple(range(1, teacher.contract.timesteps + 1)), clip_sample=True)
    measures = [_measure(student, sampler), _measure(teacher, every)]
    for measure in measures:
        measure()
    seconds = [[measure() for measure in measures] for _ in range(REPEATS)]
    own, teachers = (sorted(column)[REPEATS // 2] for column in zip(*seconds, strict=True))
    return {
        "seconds_per_1000_images": own,
        "teacher_seconds_per_1000_images": teachers,
        "speed_up": teachers / own,
        "peak_memory_mb": peak_memory_mb(student.device.type),
        "device": student.device.type,
    }


def _measure(denoiser: Denoiser, sampler: Sampler) -> Callable[[], float]:
    timed = sampler if sampler.nfe <= STEPS else evolve(sampler, levels=sampler.levels[-FEW:])
    noise = torch.from_numpy(normals(0, Purpose.EVALUATION_NOISE, range(BATCH), denoiser.image_shape))
    noise = noise.to(denoiser.device)

    @torch.inference_mode()
    def measure() -> float:
        started = time.perf_counter()
        sample(denoiser, noise, timed, iter(lambda: noise, None))
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return (time.perf_counter() - started) * sampler.nfe / timed.nfe * 1000 / BATCH

    return measure
