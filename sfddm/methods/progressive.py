"""Progressive distillation (Salimans and Ho 2022, algorithm 2): each fold halves the number of steps.

    L = w(SNR) D(student's jump x_s -> x_r,  two steps of the fold's teacher x_s -> x_m -> x_r)

The first fold's teacher is the teacher itself on `start_steps` levels, each step cut into the solver's sub-steps; the
student of each fold is the teacher of the next. A student knows where to jump from its own levels, which is what DDIM
makes of its prediction, so later folds take two DDIM steps whatever the solver of the first is. On an index set of the
student's own, the finer sets are cut into its segments, evenly in angle. One fold is SFDDM's `data` source with two
sub-steps.

Expected results (8x8 digits, cosine teacher of v, from 16 steps, 300 k forward-equivalents; docs/study.md): 1.05 0.98
1.14, 1.57 1.26 1.62 and 3.42 2.09 4.14 times the teacher's Frechet distance at T' = 4, 2 and 1, to three scorers.
"""

from copy import deepcopy

import torch
from attrs import evolve

from sfddm.diffusion.spacing import finer
from sfddm.methods.job import Distilled, Job
from sfddm.methods.sources import noised
from sfddm.methods.teaching import paths, walk
from sfddm.methods.terms.hidden import jump_loss
from sfddm.methods.train import Loss, Task, distilled
from sfddm.networks.denoiser import Denoiser
from sfddm.networks.student import first_student
from sfddm.randomness import Purpose, generator
from sfddm.spec.parts import TeacherSteps
from sfddm.spec.students import Progressive
from sfddm.training.batches import Draw, Rows
from sfddm.training.loop import Fitted, Losses, train

JUMPS = TeacherSteps(solver="ddim", substeps=1, clip_sample=False)
"""How a student of an earlier fold goes on."""


def distill(job: Job) -> Distilled:
    """Train one student, fold by fold."""
    return distilled(job, make, Progressive)


def make(task: Task[Progressive]) -> Fitted[Denoiser]:
    """The last fold's student."""
    method, teacher = task.method, task.teacher
    draw = task.images(Rows(method.training.batch_size))
    sets = _levels_of_folds(method, task.levels, teacher)
    each = evolve(method.training, iterations=method.training.iterations // len(sets))
    student = first_student(teacher, method.start, task.seed)
    with task.curve(each.iterations * len(sets)) as curve:
        for fold, levels in enumerate(sets):
            steps = JUMPS if fold else method.teacher_steps
            walks = paths(levels, 2 * steps.substeps, teacher.contract).to(teacher.device)
            loss = _loss(task, student, teacher, draw, walks, steps)
            settings = each if levels is sets[-1] else evolve(each, other_averages={})
            before = fold * each.iterations
            fitted = train(student, loss, settings, curve, task.checkpoints, before, seed=task.seed)
            teacher, student = fitted.network, _continued(fitted.network)
    return fitted


def _levels_of_folds(method: Progressive, levels: tuple[int, ...], teacher: Denoiser) -> list[tuple[int, ...]]:
    """The students' index sets, fold by fold: half of `start_steps`, a quarter, ..., T'."""
    contract, sets = teacher.contract, []
    steps = method.start_steps // 2
    while steps >= len(levels):
        sets.append(finer(levels, steps // len(levels), contract.noise_schedule, contract.timesteps))
        steps //= 2
    return sets


def _loss(
    task: Task[Progressive], student: Denoiser, teacher: Denoiser, draw: Draw, walks: torch.Tensor, steps: TeacherSteps
) -> Loss:
    method = task.method
    rows = Rows(method.training.batch_size)
    classes = task.classes(rows)

    def loss(step: int, _: Denoiser) -> Losses:
        random = generator(task.seed, Purpose.TRAINING_BATCH, step)
        x, path = noised(draw(task.seed, step), walks, teacher.schedule, random, rows)
        labels = classes(task.seed, step) if classes else None
        landing, _features = walk(teacher.given(labels), x, path, steps, ahead=False)
        levels = path[:, 0], path[:, -1]
        own = student.given(labels)(x, *levels)
        return {"loss": jump_loss(student, own, x, levels, landing, method.distance, method.weighting)}

    return loss


def _continued(teacher: Denoiser) -> Denoiser:
    """The next fold's student: a copy of the one that was just trained."""
    return deepcopy(teacher).train().requires_grad_(True)
