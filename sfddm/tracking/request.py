"""What a served student can be asked for: images of a seed, on its own index set or another, of a class."""

from collections.abc import Mapping
from typing import Annotated, Any

from attrs import frozen

from sfddm.diffusion.sampler import Sampler
from sfddm.errors import UserError
from sfddm.networks.contract import Contract, on_index_set
from sfddm.spec.fields import MOST, Bound, Level, Natural, Seed
from sfddm.spec.index_set import Explicit
from sfddm.spec.parse import StructureError, nearest, structure

MOST_IMAGES = 10_000
"""Images per request, which is answered at once, from memory."""
NOTHING: dict[str, Any] = {"seed": 0, "num": 0, "steps": 0, "index_set": [], "class_label": -1}
"""What a key that is left out means."""


@frozen(kw_only=True)
class Request:
    """One request, within its bounds."""

    seed: Seed
    num: Annotated[int, Bound(1, MOST_IMAGES)]
    """Images 0..num-1 of the seed."""
    steps: Natural
    """T'; evenly in angle where the student's own is another; 0 for the student's own index set."""
    index_set: tuple[Level, ...]
    """Levels phi_1 < ... < phi_T'; empty for the student's own index set."""
    class_label: Annotated[int, Bound(-1, MOST)]
    """The class of all images; -1: each noise has its own, where the student is told classes."""

    def asked_class(self, contract: Contract) -> int | None:
        """The class of all images; None: none was asked for.

        Raises:
            UserError: the student is told no such class.
        """
        label = None if self.class_label < 0 else self.class_label
        contract.require_class(label)
        return label


def read_request(given: Mapping[str, Any]) -> Request:
    """A request of plain values; keys that are None count as left out.

    Raises:
        UserError: another key or type, a number out of bounds, or two wishes that exclude each other.
    """
    given = {key: value for key, value in given.items() if value is not None}
    unknown = [key for key in given if key not in NOTHING]
    if unknown:
        raise UserError(f"unknown key {unknown[0]!r}{nearest(unknown[0], NOTHING)}")
    try:
        request = structure({**NOTHING, **given}, Request)
    except StructureError as error:
        raise UserError(str(error)) from None
    if request.steps and request.index_set:
        raise UserError("steps and index_set exclude each other: give one of them, or neither.")
    return request


def asked_sampler(request: Request, sampler: Sampler, contract: Contract) -> Sampler:
    """The student's sampler on the index set that is asked for.

    Raises:
        UserError: the index set is not valid, or the student knows no other than its own.
    """
    if request.index_set:
        return on_index_set(sampler, contract, Explicit(kind="explicit", levels=request.index_set, search=0))
    if request.steps:
        return on_index_set(sampler, contract, request.steps)
    return sampler
