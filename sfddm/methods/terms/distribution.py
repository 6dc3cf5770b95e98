"""The distribution of the student's hidden variables against the teacher's: 1/2 mean (x_r - sg[x_r - g])^2.

Its gradient is g, the direction in which a fake and the teacher disagree (`sfddm.methods.scores`): distribution
matching distillation (DMD: Yin et al. 2024), at images, and its phased form at every other landing level (Fan et al.
2025). Regression blurs what one step can't fit, and this term is meant to restore it, at the price of nearness to the
teacher's own image of each noise.

Expected results (8x8 digits, cosine teacher of v, T' = 1, 600 k forward-equivalents, one seed; docs/study.md): 0.79
0.92 1.08 times the teacher's Frechet distance to three scorers, where regression alone is at 0.97 1.08 1.17.
"""

from torch import Tensor

from sfddm.methods.terms.term import At
from sfddm.spec.parts import DistributionTerm


def loss(term: DistributionTerm, at: At) -> Tensor:
    """Half the mean square of the direction; its gradient moves the landing states along it."""
    assert at.scored is not None
    landed = at.scored.landed
    return (landed - (landed - at.scored.direction).detach()).square().mean() / 2
