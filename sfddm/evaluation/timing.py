"""How long images take. Measured, so never the same twice: kept apart from the figures that are."""

import resource
import time
from collections.abc import Callable

import torch
from attrs import evolve

from sfddm.diffusion.sampler import Sampler
from sfddm.generation import draw
from sfddm.networks.denoiser import Denoiser

BATCH = 250
"""Images that are timed at once."""
STEPS = 4
"""Network evaluations that are timed at most; a longer sampler's time is scaled up from that many."""
REPEATS = 3


def time_sampling(student: Denoiser, sampler: Sampler, teacher: Denoiser) -> dict[str, float]:
    """Seconds a thousand images for the student, and for its teacher with all of its T levels, measured in turn.

    The median of a few repeats on one batch, after a warm-up; `speed_up` is their ratio.
    """
    full = evolve(sampler, levels=tuple(range(1, teacher.contract.timesteps + 1)))
    measures = [_measure(student, sampler), _measure(teacher, full)]
    for measure in measures:
        measure()
    seconds = [[measure() for measure in measures] for _ in range(REPEATS)]
    own, teachers = (sorted(column)[REPEATS // 2] for column in zip(*seconds, strict=True))
    return {
        "seconds_per_1000_images": own,
        "teacher_seconds_per_1000_images": teachers,
        "speed_up": teachers / own,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "timed_images": float(BATCH),
    }


def _measure(denoiser: Denoiser, sampler: Sampler) -> Callable[[], float]:
    timed = evolve(sampler, levels=sampler.levels[-STEPS:])

    def measure() -> float:
        started = time.perf_counter()
        draw(denoiser, timed, 0, range(BATCH))
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return (time.perf_counter() - started) * sampler.nfe / timed.nfe * 1000 / BATCH

    return measure
