"""Where a student's jump goes against where it should go: w(SNR_s) D(x0', x0*), a distance in v.

With squared errors and the weighting SNR + 1 this is the squared error of v, with v* from
`sfddm.diffusion.process.hidden_target`: matching the hidden variable x_r that the teacher's own sub-steps reach, as we
read SFDDM (arXiv 2405.14961). The other methods use the same distance for their own landing states.
"""

import torch
from torch import Tensor

from sfddm.diffusion.process import hidden_target
from sfddm.methods.terms.term import At
from sfddm.networks.denoiser import Denoiser, Evaluated
from sfddm.spec.parts import Distance, HiddenTerm, Weighting

HUBER = 0.03
"""c of the pseudo-Huber distance, in units of a pixel's v."""
MIN_SNR = 5.0
"""Cap of min-SNR weighting (Hang et al. 2023, section 3.4)."""


def loss(term: HiddenTerm, at: At) -> Tensor:
    """How far the student's jumps end from the batch's landing states."""
    levels = at.batch.level, at.batch.landing_level
    return jump_loss(at.student, at.own, at.batch.x, levels, at.batch.landing, term.distance, term.weighting)


def jump_loss(
    student: Denoiser,
    own: Evaluated,
    x: Tensor,
    levels: tuple[Tensor, Tensor],
    landing: Tensor,
    distance: Distance,
    weighting: Weighting,
) -> Tensor:
    """How far the jump of the evaluation `own` ends from `landing`, as a scalar: a distance in v, weighted by level.

    Args:
        student: whose evaluation `own` is, at x [B, C, H, W] and levels[0].
        own: the evaluation.
        x: the state it was made at.
        levels: s, where the student stands, and r < s, where it should land; int64 [B].
        landing: the state at r, [B, C, H, W].
        distance: of the error of v.
        weighting: of the squared error of the image, SNR + 1 being the plain squared error of v.
    """
    level, landing_level = levels
    delta = student.schedule.angle(level, landing_level, x)
    error = student.v(own, x, level) - hidden_target(x, landing, delta)
    alpha, sigma = student.schedule.at(level, level)  # [B], as the distances are
    return (v_weight(weighting, alpha, sigma) * _per_image(distance, error)).mean()


def v_weight(weighting: Weighting, alpha: Tensor, sigma: Tensor) -> Tensor:
    """What a weighting of the image's squared error means for that of v, which is 1 / sigma^2 times as large."""
    snr = (alpha / sigma).square()
    match weighting:
        case "snr+1":
            return torch.ones_like(sigma)
        case "truncated-snr":
            return snr.clamp(min=1) * sigma.square()
        case "min-snr":
            return snr.clamp(max=MIN_SNR) * sigma.square()
        case "uniform":
            return sigma.square()


def _per_image(distance: Distance, error: Tensor) -> Tensor:
    """The distance of each image, [B], of errors [B, ...]."""
    flat = error.flatten(1)
    match distance:
        case "mse":
            return flat.square().mean(1)
        case "l1":
            return flat.abs().mean(1)
        case "pseudo-huber":
            return (flat.square().mean(1) + HUBER**2).sqrt() - HUBER
