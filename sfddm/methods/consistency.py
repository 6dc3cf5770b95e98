"""Consistency distillation (Song et al. 2023, algorithm 2): from any level of a grid straight to the image.

    L = D(f(x_t, t), f_average(x_t', t')),   x_t' one DDIM step of the teacher below x_t, f(x_0, 0) = x_0

f is the student's predicted image; a network that predicts v or noise fulfils the boundary condition by itself. Several
steps add fresh noise in between, so equal noises no longer give the teacher's image.

Expected results (8x8 digits, cosine teacher of v, 300 k forward-equivalents; docs/study.md): 2.3, 2.0, 1.85
and 2.7 times the teacher's Frechet distance at T' = 8, 4, 2 and 1.
"""

import torch

from sfddm.diffusion.spacing import resolve
from sfddm.methods.closure import train_to_the_ends
from sfddm.methods.job import Distilled, Job
from sfddm.methods.train import distilled, load_teacher
from sfddm.spec.students import Consistency


def distill(job: Job) -> Distilled:
    """Train one student."""
    method = job.student.method
    assert isinstance(method, Consistency)
    teacher = load_teacher(job, method.training)
    grid = resolve(method.grid, teacher.contract.noise_schedule, teacher.contract.timesteps)
    stretch = torch.tensor([(*reversed(grid), 0)])
    return distilled(job, train_to_the_ends(job, method, teacher, stretch), solver="consistency")
