"""Single-fold distillation (SFDDM, arXiv 2405.14961), any T' and any index set in one training run.

    L = w_output D(out'(x_s), out(x_s))  +  w_hidden w(SNR_s) D(x0', x0*)  +  w_feature |h' - h|

The student is at x_s, s = phi_k, and jumps to r = phi_(k-1); `sfddm.methods.terms` has the terms, a module each. x_s
comes from noised images, from the teacher's trajectories, or from the student's own (`sfddm.methods.sources`).

With w_output > 0 and w_hidden = 0 the only optimum is the teacher's own DDIM on the index set, which is free. What
makes distillation pay is the hidden term on the teacher's trajectory.

Expected results (8x8 digits, cosine teacher of v, 300 k forward-equivalents; docs/study.md): 0.71 0.91 0.89, 0.72 0.87
0.90, 0.82 0.84 1.11 and 1.09 0.99 1.32 times the teacher's Frechet distance at T' = 8, 4, 2 and 1, to three scorers,
where the best free samplers are at 0.77 0.89 0.83, 1.02 1.20 1.08, 7.48 7.55 3.89 and 208 109 94.
"""

import torch

from sfddm.methods.job import Distilled, Job
from sfddm.methods.scores import Scoring, fake_of, landing
from sfddm.methods.sources import Batch, batches
from sfddm.methods.terms.term import At, loss_of
from sfddm.methods.train import Task, distilled, require_same_features
from sfddm.networks.denoiser import Denoiser
from sfddm.networks.student import first_student
from sfddm.spec.students import SFDDM
from sfddm.training.loop import Fitted, Losses


def distill(job: Job) -> Distilled:
    """Train one student."""
    return distilled(job, make, SFDDM)


def make(task: Task[SFDDM]) -> Fitted[Denoiser]:
    """The trained student."""
    method, teacher = task.method, task.teacher
    student = first_student(teacher, method.start, task.seed, task.levels if method.time_input == "index" else ())
    if any(term.kind == "feature" for term in method.terms):
        require_same_features(student, teacher)
    draw = batches(task)
    fake = fake_of(task)

    def loss(step: int, _: Denoiser) -> Losses:
        return losses(method, student, teacher, draw(step, student), fake.at(step) if fake else None)

    return task.fit(student, loss, companion=fake.companion if fake else None)


def losses(method: SFDDM, student: Denoiser, teacher: Denoiser, batch: Batch, score: Scoring | None = None) -> Losses:
    """The terms of the loss on one batch; `loss` is their weighted sum."""
    student, teacher = student.given(batch.labels), teacher.given(batch.labels)
    own, teachers = student(batch.x, batch.level), None
    if any(term.asks_teacher for term in method.terms):
        with torch.no_grad():
            teachers = teacher(batch.x, batch.level)
    scored = score(landing(student, own, batch), batch) if score else None
    return loss_of(method.terms)(At(student=student, own=own, teachers=teachers, batch=batch, scored=scored))
