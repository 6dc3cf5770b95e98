"""Students that learn to reach the end of a stretch of levels from anywhere inside it, targets from their own average.

From x_t on the stretch: the teacher's step to the next level t' (`sfddm.methods.teaching`), and from there the averaged
student's own jump to the stretch's end r; the student's jump from x_t should land there too.
"""

from itertools import pairwise

import torch
from torch import Tensor

from sfddm.methods.sources import jump, noised
from sfddm.methods.teaching import descent, walk
from sfddm.methods.terms.hidden import jump_loss
from sfddm.methods.train import Task
from sfddm.networks.contract import Contract
from sfddm.networks.denoiser import Denoiser
from sfddm.networks.student import first_student
from sfddm.randomness import Purpose, generator
from sfddm.spec.parts import TeacherSteps
from sfddm.spec.students import TRACT, Consistency
from sfddm.training.batches import Rows
from sfddm.training.loop import Fitted, Losses


def train_to_the_ends(task: Task[Consistency] | Task[TRACT], stretches: Tensor) -> Fitted[Denoiser]:
    """Train on stretches of levels, int64 [K, M + 1], each falling from its start to its end."""
    method, teacher = task.method, task.teacher
    student = first_student(teacher, method.start, task.seed)
    rows = Rows(method.training.batch_size)
    draw, classes = task.images(rows), task.classes(rows)
    steps = _steps(stretches, method.teacher_steps.substeps, teacher.contract).to(teacher.device)

    def loss(step: int, average: Denoiser) -> Losses:
        random = generator(task.seed, Purpose.TRAINING_BATCH, step)
        x, row = noised(draw(task.seed, step), steps, teacher.schedule, random, rows)
        labels = classes(task.seed, step) if classes else None
        landing = target(teacher.given(labels), average.given(labels), x, row, method.teacher_steps)
        levels = row[:, 0], row[:, -1]
        own = student.given(labels)(x, *levels)
        return {"loss": jump_loss(student, own, x, levels, landing, method.distance, method.weighting)}

    return task.fit(student, loss, method.target_average)


def target(teacher: Denoiser, average: Denoiser, x: Tensor, row: Tensor, steps: TeacherSteps) -> Tensor:
    """Where the jump from x [B, C, H, W] should land; row: the levels t >= ... >= t' >= r, int64 [B, substeps + 2]."""
    level, next_level, end = row[:, 0], row[:, -2], row[:, -1]
    near, _features = walk(teacher, x, row[:, :-1], steps, ahead=False)
    there = next_level == end
    # Where the teacher's step is the last one the average has nothing to add; it is asked at a level that it knows.
    asked = torch.where(there, level, next_level)
    return torch.where(there.view(-1, 1, 1, 1), near, jump(average, near, asked, end))


def _steps(stretches: Tensor, substeps: int, contract: Contract) -> Tensor:
    """Every step of every stretch with the stretch's end: rows (t, ..., t', r), int64 [N, substeps + 2].

    Empty steps are left out.
    """
    rows = [
        [*descent(level, lower, substeps, contract), stretch[-1]]
        for stretch in stretches.tolist()
        for level, lower in pairwise(stretch)
        if level > lower
    ]
    return torch.tensor(rows)
