"""The teacher under the two-step integrator in the angle on the student's index set: free.

The step and its source stand in `sfddm.diffusion.solvers.angle_step`. On few levels it is nearer to the teacher's own
images than DDIM and DPM-Solver++(2M): docs/study.md.
"""

from functools import partial

from sfddm.diffusion.sampler import Sampler
from sfddm.methods.costs import NO_COST
from sfddm.methods.job import Distilled, Job
from sfddm.networks.layout import copy_denoiser


def distill(job: Job) -> Distilled:
    """A copy of the teacher."""
    sampler = Sampler(solver="angle-2m", levels=job.levels, clip_sample=job.student.clip_sample)
    return Distilled(write=partial(copy_denoiser, job.parent), sampler=sampler, cost=NO_COST.to_json())
