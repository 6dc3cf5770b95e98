"""What a term of a loss may look at, and the weighted sum of several terms."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from attrs import frozen
from torch import Tensor

from sfddm.methods.scores import Scored
from sfddm.methods.sources import Batch
from sfddm.networks.denoiser import Denoiser, Evaluated
from sfddm.runtime.kinds import import_kind
from sfddm.spec.parts import DistributionTerm, Term
from sfddm.training.loop import Losses


@frozen(kw_only=True)
class At:
    """One evaluation of the student on a batch, and what it is compared with."""

    student: Denoiser
    own: Evaluated
    """The student's evaluation at the batch's states."""
    teachers: Evaluated | None
    """The teacher's at the same states; None where no term asks for it."""
    batch: Batch
    scored: Scored | None = None
    """Where the student lands, seen by teacher and fake; None where no term asks for it, or not yet."""


Loss = Callable[[Any, At], Tensor]
"""`loss` of a term's module: the term as the spec has it, and what it looks at, to a scalar."""


def loss_of(terms: Sequence[Term]) -> Callable[[At], Losses]:
    """The weighted sum of terms as `loss`, each term without its weight under its kind, and what is beside them.

    The distribution term is left out until there is something scored.
    """
    functions: list[tuple[Term, Loss]] = [(term, import_kind("terms", term.kind).loss) for term in terms]

    def losses(at: At) -> Losses:
        active = [(term, loss) for term, loss in functions if at.scored or not isinstance(term, DistributionTerm)]
        each: Losses = {term.kind: loss(term, at) for term, loss in active}
        total = torch.stack([term.weight * each[term.kind] for term, _ in active]).sum()
        return {"loss": total, **each, **(at.scored.beside(at.batch.landing) if at.scored else {})}

    return losses
