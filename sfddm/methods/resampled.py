"""Another student of the same spec on an index set of its own, or another average of its weights: no training."""

from functools import partial

from attrs import evolve

from sfddm.methods.job import Distilled, Job
from sfddm.networks.layout import copy_denoiser, read_cost, read_sampler
from sfddm.spec.students import Resampled


def distill(job: Job) -> Distilled:
    """A copy of the parent, sampled on other levels; its cost is the parent's, and that of its levels."""
    method = job.student.method
    assert isinstance(method, Resampled)
    sampler = evolve(read_sampler(job.parent), levels=job.levels, clip_sample=job.student.clip_sample)
    cost, search = read_cost(job.parent), job.student.search
    cost |= {"search": cost["search"] + search, "total": cost["total"] + search}
    return Distilled(write=partial(copy_denoiser, job.parent, average=method.average), sampler=sampler, cost=cost)
