"""The teacher under DPM-Solver++(2M) on the student's index set (Lu et al. 2022): free."""

from functools import partial

from sfddm.diffusion.sampler import Sampler
from sfddm.methods.costs import NO_COST
from sfddm.methods.job import Distilled, Job
from sfddm.networks.layout import copy_denoiser


def distill(job: Job) -> Distilled:
    """A copy of the teacher."""
    sampler = Sampler(solver="dpm-solver", levels=job.levels, clip_sample=job.student.clip_sample)
    return Distilled(write=partial(copy_denoiser, job.parent), sampler=sampler, cost=NO_COST.to_json())
