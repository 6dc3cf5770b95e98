"""What a served student can be asked for: images of a seed or of given noises, on its own index set or another."""

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from attrs import frozen

from sfddm.diffusion.sampler import Sampler
from sfddm.errors import UserError
from sfddm.networks.contract import Contract, on_index_set
from sfddm.spec.fields import Bound, Level, Natural, Seed
from sfddm.spec.index_set import Explicit
from sfddm.spec.parse import StructureError, nearest, structure

MOST_IMAGES = 10_000
"""Images per request, which is answered at once, from memory."""
NOTHING: dict[str, Any] = {"seed": 0, "num": 0, "steps": 0, "index_set": []}
"""What a key that is left out means."""
KEYS = (*NOTHING, "noise")


@frozen(kw_only=True)
class Request:
    """One request, within its bounds; noises apart."""

    seed: Seed
    num: Annotated[int, Bound(0, MOST_IMAGES)]
    """Images 0..num-1 of the seed; 0 where noises are given."""
    steps: Natural
    """T'; evenly in angle where the student's own is another; 0 for the student's own index set."""
    index_set: tuple[Level, ...]
    """Levels phi_1 < ... < phi_T'; empty for the student's own index set."""


def read_request(given: Mapping[str, Any], shape: tuple[int, ...]) -> tuple[Request, np.ndarray | None]:
    """A request of plain values, and its noises, float32 [N, C, H, W], if it has them.

    Args:
        given: keys that are None count as left out.
        shape: [C, H, W] of the student's images.

    Raises:
        UserError: another key or type, a number out of bounds, noises of another shape, or two wishes that exclude
            each other.
    """
    given = {key: value for key, value in given.items() if value is not None}
    unknown = [key for key in given if key not in KEYS]
    if unknown:
        raise UserError(f"unknown key {unknown[0]!r}{nearest(unknown[0], KEYS)}")
    noise = _noises(given.pop("noise"), shape) if "noise" in given else None
    try:
        request = structure({**NOTHING, **given}, Request)
    except StructureError as error:
        raise UserError(str(error)) from None
    if (noise is None) == (request.num == 0):
        raise UserError("give either num (images of a seed, at least 1) or noise (one image each).")
    if request.steps and request.index_set:
        raise UserError("steps and index_set exclude each other: give one of them, or neither.")
    return request, noise


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


def _noises(given: Any, shape: tuple[int, ...]) -> np.ndarray:
    words = f"noise: expected numbers of shape [N, {', '.join(map(str, shape))}]"
    try:
        with np.errstate(over="ignore"):  # it becomes infinite, which is refused below
            noise = np.array(given, dtype=np.float64).astype(np.float32)
    except (ValueError, TypeError):
        raise UserError(f"{words}, found something else.") from None
    if noise.ndim != 1 + len(shape) or noise.shape[1:] != shape:
        raise UserError(f"{words}, found {list(noise.shape)}.")
    if not 1 <= len(noise) <= MOST_IMAGES:
        raise UserError(f"noise: expected 1 to {MOST_IMAGES} noises, found {len(noise)}.")
    if not np.isfinite(noise).all():
        raise UserError(f"{words}, found some that are not finite.")
    return noise
