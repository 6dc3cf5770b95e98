"""TRACT, transitive closure time-distillation (Berthelot et al. 2023), in one training for any index set.

    L = D(student's jump from x_t to phi_(k-1),  average's jump to phi_(k-1) from the teacher's step x_t -> x_t')

for any level t of a segment (phi_(k-1), phi_k] that is cut into `substeps` parts, each one step of the teacher. The
average is that of the student's weights: errors pass from the segment's end upwards, one step of the teacher at a time.

Expected results (8x8 digits, cosine teacher of v, 300 k forward-equivalents; docs/study.md): 1.20 1.02 1.23, 1.38 1.05
1.52 and 1.66 1.23 2.22 times the teacher's Frechet distance at T' = 4, 2 and 1, to three scorers.
"""

from sfddm.methods.intervals import train_to_the_ends
from sfddm.methods.job import Distilled, Job
from sfddm.methods.teaching import paths
from sfddm.methods.train import Task, distilled
from sfddm.networks.denoiser import Denoiser
from sfddm.spec.students import TRACT
from sfddm.training.loop import Fitted


def distill(job: Job) -> Distilled:
    """Train one student."""
    return distilled(job, make, TRACT)


def make(task: Task[TRACT]) -> Fitted[Denoiser]:
    """The trained student: each segment is a stretch."""
    return train_to_the_ends(task, paths(task.levels, task.method.substeps, task.teacher.contract))
