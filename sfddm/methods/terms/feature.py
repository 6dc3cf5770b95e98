"""Activations before the last normalisation: mean |h' - h|.

The teacher's h is taken at the student's own state, as the authors' published code does, or where the student's jump
lands (look-ahead). Look-ahead features of weight .3 beside the hidden term are not shown to help at T' = 4 (8x8 digits;
docs/study.md): no scorer tells them from none. Same-state features contradict the hidden term, and do harm.
"""

from torch import Tensor

from sfddm.methods.terms.term import At
from sfddm.spec.parts import FeatureTerm


def loss(term: FeatureTerm, at: At) -> Tensor:
    """The mean absolute difference; jumps that the batch leaves out count as zero."""
    wanted = at.teachers.features if at.teachers is not None and term.state == "same" else at.batch.landing_features
    assert wanted is not None
    apart = (at.own.features.float() - wanted.float()).abs()
    if at.batch.compared is None:
        return apart.mean()
    return (apart.flatten(1).mean(1) * at.batch.compared).mean()
