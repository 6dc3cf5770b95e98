"""From a described index set to its noise levels."""

from itertools import pairwise

from sfddm.spec.index_set import Explicit, IndexSet, Leading, Uniform


class IndexSetError(ValueError):
    """No valid index set; `field` names the part of its description that is at fault."""

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.field = field


def resolve(index_set: IndexSet, timesteps: int) -> tuple[int, ...]:
    """Noise levels phi_1 < ... < phi_T' of an index set, each within 1..T.

    Args:
        index_set: its description.
        timesteps: T, the teacher's number of noise levels.

    Raises:
        IndexSetError: T' above T, a level outside 1..T, or levels that do not increase.
    """
    match index_set:
        case Uniform(steps=steps):
            _check_steps(steps, timesteps)
            return tuple((2 * k * timesteps + steps) // (2 * steps) for k in range(1, steps + 1))
        case Leading(steps=steps):
            _check_steps(steps, timesteps)
            return tuple(1 + k * (timesteps // steps) for k in range(steps))
        case Explicit(levels=levels):
            _check_levels(levels, timesteps)
            return levels


def _check_steps(steps: int, timesteps: int) -> None:
    if steps > timesteps:
        raise IndexSetError(f"{steps} steps, but the teacher has {timesteps}: expected at most that many", "steps")


def _check_levels(levels: tuple[int, ...], timesteps: int) -> None:
    if not levels:
        raise IndexSetError("expected at least one level", "levels")
    for lower, higher in pairwise(levels):
        if lower >= higher:
            raise IndexSetError(f"expected increasing levels, found {lower} before {higher}", "levels")
    if levels[-1] > timesteps:
        raise IndexSetError(f"level {levels[-1]} is above the teacher's noisiest, {timesteps}", "levels")
