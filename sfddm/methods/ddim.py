"""The teacher under DDIM on the student's index set (Song et al. 2021, eta = 0): free.

Also the only optimum of the published SFDDM loss, and so the row that a student has to beat.
"""

from functools import partial

from sfddm.diffusion.sampler import Sampler
from sfddm.methods.costs import NO_COST
from sfddm.methods.job import Distilled, Job
from sfddm.networks.layout import copy_denoiser


def distill(job: Job) -> Distilled:
    """A copy of the teacher."""
    sampler = Sampler(solver="ddim", levels=job.levels, clip_sample=job.student.clip_sample)
    return Distilled(write=partial(copy_denoiser, job.parent), sampler=sampler, cost=NO_COST.to_json())
