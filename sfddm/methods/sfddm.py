"""Single-fold distillation (SFDDM, arXiv 2405.14961), any T' and any index set in one training run.

    L = w_output D(out'(x_s), out(x_s))  +  w_hidden w(SNR_s) D(x0', x0*)  +  w_feature |h' - h|

The student stands at x_s, s = phi_k, and jumps to r = phi_(k-1). The output term compares its output with the teacher's
there. The hidden term wants the jump to land on the hidden variable x_r that the teacher's own sub-steps reach; with
the weighting SNR + 1 and squared errors it is the squared error of v, with v* from `sfddm.diffusion.process`. The
feature term compares activations, with the teacher's at the same state (as the authors' published code does) or where
the jump lands (look-ahead). x_s comes from noised images, from the teacher's trajectories, or from the student's own.

With w_output > 0 and w_hidden = 0 the only optimum is the teacher's own DDIM on the index set, which is free. What
makes distillation pay is the hidden term on the teacher's trajectory with look-ahead features.

Expected results (8x8 digits, cosine teacher of v, 300 k forward-equivalents; docs/study.md): .88, .87, .93
and 1.54 times the teacher's Frechet distance at T' = 8, 4, 2 and 1, where DDIM is at 3.6, 9.7, 50 and 446.
"""

import torch
from torch import Tensor

from sfddm.methods.costs import asks_teacher
from sfddm.methods.job import Distilled, Job
from sfddm.methods.sources import Batch, Needs, batches
from sfddm.methods.terms import jump_loss
from sfddm.methods.train import distilled, load_teacher, require_same_features, train_student
from sfddm.networks.denoiser import Denoiser, Evaluated
from sfddm.networks.student import first_student
from sfddm.spec.students import SFDDM
from sfddm.training.loop import Losses


def distill(job: Job) -> Distilled:
    """Train one student."""
    method = job.student.method
    assert isinstance(method, SFDDM)
    teacher = load_teacher(job, method.training)
    student = first_student(teacher, method.start, job.seed, job.levels if method.time_input == "index" else ())
    if method.feature.weight:
        require_same_features(student, teacher)
    ahead = method.feature.weight > 0 and method.feature.state == "landing"
    needs = Needs(landing=method.hidden.weight > 0, features=ahead)
    draw = batches(job, method.sources, method.training.batch_size, teacher, needs)

    def loss(step: int, _: Denoiser) -> Losses:
        return losses(method, student, teacher, draw(step, student))

    return distilled(job, train_student(job, student, loss, method.training))


def losses(method: SFDDM, student: Denoiser, teacher: Denoiser, batch: Batch) -> Losses:
    """The terms of the loss on one batch; `loss` is their weighted sum."""
    x, level = batch.x, batch.level
    own: Evaluated = student(x, level)
    terms: dict[str, tuple[float, Tensor]] = {}
    here: Evaluated | None = None
    if asks_teacher(method):
        with torch.no_grad():
            here = teacher(x, level)
    if method.output.weight and here is not None:
        error = own.output.float() - here.output.float()
        distance = error.abs() if method.output.distance == "l1" else error.square()
        terms["output"] = method.output.weight, distance.mean()
    if hidden := method.hidden.weight:
        levels, term = (level, batch.landing_level), method.hidden
        terms["hidden"] = hidden, jump_loss(student, own, x, levels, batch.landing, term.distance, term.weighting)
    if method.feature.weight:
        wanted = here.features if here is not None and method.feature.state == "same" else batch.landing_features
        assert wanted is not None
        terms["feature"] = method.feature.weight, (own.features.float() - wanted.float()).abs().mean()
    total = torch.stack([weight * term for weight, term in terms.values()]).sum()
    return {"loss": total, **{name: term for name, (_, term) in terms.items()}}
