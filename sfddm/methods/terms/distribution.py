"""The distribution of the student's hidden variables against the teacher's: 1/2 mean (x_r - sg[x_r - g])^2.

Its gradient is g, the direction in which a fake and the teacher disagree (`sfddm.methods.scores`): distribution
matching distillation (DMD: Yin et al. 2024), at images, and its phased form at every other landing level (Fan et al.
2025). Regression blurs what one step can't fit, and this term is meant to restore it, at the price of nearness to the
teacher's own image of each noise.

Expected results (8x8 digits, cosine teacher of v, 600 k forward-equivalents, three seeds; docs/study.md): 0.67 0.86
1.08 and 0.85 0.94 1.14 times the teacher's Frechet distance at T' = 2 and 1, to three scorers, where regression alone
is at 0.78 0.83 1.03 and 1.03 1.00 1.16. At 1.5 M one step is at 0.88 1.01 1.04, and regression at 0.96 0.98 1.04. On
Fashion-MNIST (600 k) one step is at 1.37 1.27 1.31, against 1.56 1.65 1.77; at 32x32 (docs/real-images.md) at 1.46 1.09
1.78 against 2.76 2.56 3.14, and two and four steps (300 k) at 1.47 1.34 2.00 and 1.13 0.92 1.63 against 2.42 2.15 3.49
and 1.65 1.45 2.48.
"""

from torch import Tensor

from sfddm.methods.terms.term import At
from sfddm.spec.parts import DistributionTerm


def loss(term: DistributionTerm, at: At) -> Tensor:
    """Half the mean square of the direction; its gradient moves the landing states along it."""
    assert at.scored is not None
    landed = at.scored.landed
    return (landed - (landed - at.scored.direction).detach()).square().mean() / 2
