"""Single-fold distillation (SFDDM, arXiv 2405.14961), any T' and any index set in one training run.

    L = w_output D(out'(x_s), out(x_s))  +  w_hidden (SNR_s + 1) (x0' - x0*)^2  +  w_feature |h' - h|

The student stands at the teacher's state x_s, s = phi_k, and jumps to r = phi_(k-1). The output term compares its
output with the teacher's there. The hidden term wants the jump to land on the hidden variable x_r that the teacher's
own sub-steps reach: (SNR + 1) (x0' - x0*)^2 is the squared error of v, with v* from `sfddm.diffusion.targets`. The
feature term compares activations, with the teacher's at the same state (as the authors' published code does) or where
the jump lands (look-ahead).

With w_output > 0 and w_hidden = 0 the only optimum is the teacher's own DDIM on the index set, which is free. What
makes distillation pay is the hidden term on the teacher's trajectory with look-ahead features.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from attrs import frozen
from torch import Tensor

from sfddm.data import store
from sfddm.diffusion.process import diffuse
from sfddm.diffusion.sampler import Sampler
from sfddm.diffusion.solvers import ddim_step
from sfddm.diffusion.targets import hidden_target
from sfddm.environment import device
from sfddm.images import from_bytes
from sfddm.methods.job import Cost, Distilled, Job
from sfddm.networks import storage
from sfddm.networks.denoiser import Contract, Denoiser, Evaluated, build
from sfddm.networks.layout import denoiser_digest
from sfddm.randomness import Purpose, epoch_indices, generator
from sfddm.spec.methods import SFDDM, DataSource
from sfddm.training.curve import Curve
from sfddm.training.loop import Losses, train
from sfddm.trajectories import evaluations, load_or_compute


@frozen(kw_only=True)
class Batch:
    """Where B students stand and where they should go; what no term needs is None."""

    x: Tensor
    """x_s, [B, C, H, W]."""
    level: Tensor
    """s, int64 [B]."""
    landing_level: Tensor
    """r, int64 [B]."""
    landing: Tensor
    """x_r, [B, C, H, W]."""
    landing_features: Tensor | None
    """The teacher's features at the landing state, [B, channels, H, W]."""


Draw = Callable[[int], Batch]
"""The batch of one iteration."""


def distill(job: Job) -> Distilled:
    """Train one student."""
    method = job.student.method
    assert isinstance(method, SFDDM)
    target = device()
    teacher = storage.load(job.teacher, target)
    student = _first_student(job, method, teacher).to(target)
    draw, cost = (
        _data_batches(job, method, teacher)
        if isinstance(method.source, DataSource)
        else _trajectory_batches(job, method, teacher)
    )
    training = method.training
    job.training_starts(training.iterations)
    with Curve(job.curve, job.name, training.iterations, training.batch_size) as curve:
        trained = train(student, lambda step: losses(method, student, teacher, draw(step)), training, curve)
    sampler = Sampler(solver="ddim", levels=job.levels, clip_sample=job.student.clip_sample)
    return Distilled(write=partial(storage.write, denoiser=trained), sampler=sampler, cost=cost, curve=job.curve)


def losses(method: SFDDM, student: Denoiser, teacher: Denoiser, batch: Batch) -> Losses:
    """The terms of the loss on one batch; `loss` is their weighted sum."""
    x, level = batch.x, batch.level
    own: Evaluated = student(x, level)
    terms: dict[str, tuple[float, Tensor]] = {}
    here: Evaluated | None = None
    if _needs_teacher_here(method):
        with torch.no_grad():
            here = teacher(x, level)
    if method.output.weight and here is not None:
        error = own.output.float() - here.output.float()
        distance = error.abs() if method.output.distance == "l1" else error.square()
        terms["output"] = method.output.weight, distance.mean()
    if method.hidden.weight:
        delta = student.schedule.angle(level, batch.landing_level, x)
        error = student.v(own, x, level) - hidden_target(x, batch.landing, delta)
        terms["hidden"] = method.hidden.weight, error.square().mean()
    if method.feature.weight:
        wanted = here.features if here is not None and method.feature.state == "same" else batch.landing_features
        assert wanted is not None
        terms["feature"] = method.feature.weight, (own.features.float() - wanted.float()).abs().mean()
    total = torch.stack([weight * term for weight, term in terms.values()]).sum()
    return {"loss": total, **{name: term for name, (_, term) in terms.items()}}


def _needs_teacher_here(method: SFDDM) -> bool:
    same_features = method.feature.weight > 0 and method.feature.state == "same"
    return method.output.weight > 0 or same_features


def _first_student(job: Job, method: SFDDM, teacher: Denoiser) -> Denoiser:
    own = teacher.contract
    contract = Contract(
        timesteps=own.timesteps,
        noise_schedule=own.noise_schedule,
        prediction=own.prediction,
        index_levels=job.levels if method.time_input == "index" else (),
    )
    student = build(teacher.config, contract, job.seed)
    if method.start == "teacher":
        student.network.load_state_dict(teacher.network.state_dict())
    return student


def _per_image(method: SFDDM) -> int:
    """Forward-equivalents of one image in one iteration, without what its source costs."""
    return 3 + _needs_teacher_here(method)


def _trajectory_batches(job: Job, method: SFDDM, teacher: Denoiser) -> tuple[Draw, Cost]:
    """Segments of the teacher's trajectories: the noises in turn, the segment at random."""
    source, size = method.source, method.training.batch_size
    assert not isinstance(source, DataSource)
    cached = load_or_compute(teacher, denoiser_digest(job.teacher), job.levels, source, job.cache)
    levels = torch.tensor((0, *job.levels), device=cached.states.device)
    ahead = method.feature.weight > 0 and method.feature.state == "landing"

    def draw(step: int) -> Batch:
        chosen = torch.from_numpy(epoch_indices(job.seed, step, size, source.noises)).to(levels.device)
        segments = generator(job.seed, Purpose.TRAINING_BATCH, step).integers(1, len(levels), size)
        k = torch.from_numpy(segments).to(levels.device)
        return Batch(
            x=cached.states[k, chosen],
            level=levels[k],
            landing_level=levels[k - 1],
            landing=cached.states[k - 1, chosen],
            landing_features=cached.features[k - 1, chosen] if ahead else None,
        )

    images = method.training.iterations * size
    return draw, Cost(cache=evaluations(job.levels, source), training=images * _per_image(method))


def _data_batches(job: Job, method: SFDDM, teacher: Denoiser) -> tuple[Draw, Cost]:
    """Noised real images; the teacher's DDIM sub-steps give the landing state."""
    source, size = method.source, method.training.batch_size
    assert isinstance(source, DataSource)
    target = teacher.device
    clean = from_bytes(np.array(store.read(job.data, "train").images)).to(target)
    path = _paths(job.levels, source.substeps).to(target)
    ahead = method.feature.weight > 0 and method.feature.state == "landing"

    def draw(step: int) -> Batch:
        random = generator(job.seed, Purpose.TRAINING_BATCH, step)
        x0 = clean[torch.from_numpy(epoch_indices(job.seed, step, size, len(clean))).to(target)]
        segment = path[torch.from_numpy(random.integers(0, len(path), size)).to(target)]
        noise = torch.from_numpy(random.standard_normal(x0.shape, dtype=np.float32)).to(target)
        x = diffuse(x0, noise, *teacher.schedule.at(segment[:, 0], x0))
        landing, features = _walk(teacher, x, segment, bool(method.hidden.weight), ahead)
        return Batch(
            x=x,
            level=segment[:, 0],
            landing_level=segment[:, -1],
            landing=landing,
            landing_features=features,
        )

    walked = (source.substeps if method.hidden.weight or ahead else 0) + ahead
    images = method.training.iterations * size
    return draw, Cost(cache=0, training=images * (_per_image(method) + walked))


def _paths(levels: tuple[int, ...], substeps: int) -> Tensor:
    """The levels that the teacher passes in each segment, from its start down to its end, int64 [T', substeps + 1].

    A segment of fewer levels than sub-steps repeats levels; a step from a level to itself changes nothing.
    """
    rows = []
    for lower, higher in zip((0, *levels), levels, strict=False):
        rows.append([higher - (higher - lower) * part // substeps for part in range(substeps + 1)])
    return torch.tensor(rows)


@torch.no_grad()
def _walk(teacher: Denoiser, x: Tensor, path: Tensor, move: bool, ahead: bool) -> tuple[Tensor, Tensor | None]:
    """Where the teacher's DDIM arrives along `path` (int64 [B, substeps + 1]), and its features there."""
    if not (move or ahead):
        return x, None
    before = x
    for level, lower in zip(path.unbind(1), path.unbind(1)[1:], strict=False):
        before = x
        x0, _ = teacher.predict(x, level)
        x = ddim_step(x, x0, teacher.schedule.at(level, x), teacher.schedule.at(lower, x))
    if not ahead:
        return x, None
    clean = path[:, -1] == 0
    # The teacher is never evaluated on clean images: the features of the level before stand for them.
    state = torch.where(clean.view(-1, 1, 1, 1), before, x)
    return x, teacher(state, torch.where(clean, path[:, -2], path[:, -1])).features
