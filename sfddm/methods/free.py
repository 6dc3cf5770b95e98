"""The teacher itself under a solver on the student's index set: free. `sfddm.diffusion.steps` has the solvers.

DDIM is the only optimum of the published SFDDM loss, and so the row that a student has to beat. On few levels angle-2m
is nearer to the teacher's own images than DDIM and DPM-Solver++(2M): docs/study.md.
"""

from functools import partial

from sfddm.diffusion.sampler import Sampler
from sfddm.methods.job import Distilled, Job
from sfddm.networks.layout import copy_denoiser
from sfddm.spec.parts import Cost
from sfddm.spec.students import Free


def distill(job: Job) -> Distilled:
    """A copy of the teacher."""
    method = job.student.method
    assert isinstance(method, Free)
    sampler = Sampler(solver=method.solver, levels=job.levels, clip_sample=job.student.clip_sample)
    return Distilled(
        write=partial(copy_denoiser, job.parent, average=method.average),
        sampler=sampler,
        cost=Cost(search=job.student.search).to_json(),
    )
