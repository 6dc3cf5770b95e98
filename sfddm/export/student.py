"""A stored student in plain data, as its exported forms know it."""

from typing import Any

from sfddm.diffusion.sampler import Sampler
from sfddm.diffusion.schedule import NoiseSchedule
from sfddm.networks.denoiser import Contract, time_input


def describe(contract: Contract, sampler: Sampler) -> dict[str, Any]:
    """What `sfddm.export.bare` reads: the sampler and, for its levels alone, the schedule and the times.

    A network that is told its own index keeps being told it.
    """
    levels = [0, *sampler.levels]
    schedule = NoiseSchedule(contract.noise_schedule, contract.timesteps)
    return {
        "solver": sampler.solver,
        "clip_sample": sampler.clip_sample,
        "prediction": contract.prediction,
        "two_times": contract.two_times,
        "levels": levels,
        "alpha": schedule.alpha[levels].tolist(),
        "sigma": schedule.sigma[levels].tolist(),
        "told": time_input(contract)[levels].tolist(),
    }
