"""The student's output against the teacher's at the same state: D(out'(x_s), out(x_s)).

The published SFDDM loss (arXiv 2405.14961). Its only optimum is the teacher's own DDIM on the index set, which is free.
"""

from torch import Tensor

from sfddm.methods.terms.term import At
from sfddm.spec.parts import OutputTerm


def loss(term: OutputTerm, at: At) -> Tensor:
    """The mean distance of the outputs."""
    assert at.teachers is not None
    error = at.own.output.float() - at.teachers.output.float()
    distance = error.abs() if term.distance == "l1" else error.square()
    return distance.mean()
