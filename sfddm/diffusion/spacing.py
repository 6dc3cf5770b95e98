"""From a described index set to its noise levels."""

from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import Protocol, runtime_checkable

import numpy as np

from sfddm.diffusion.levels import Betas, Schedule, angles, log_snr


class IndexSetError(ValueError):
    """No valid index set; `field` names the part of its description that is at fault."""

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.field = field


@runtime_checkable
class Listed(Protocol):
    """An index set that lists its levels."""

    @property
    def levels(self) -> tuple[int, ...]:
        """phi_1 < ... < phi_T'."""
        ...


class Spaced(Protocol):
    """An index set that follows from a spacing, by its name in SPACINGS, and a number of steps."""

    @property
    def kind(self) -> str:
        """The spacing."""
        ...

    @property
    def steps(self) -> int:
        """T'."""
        ...


def resolve(index_set: Listed | Spaced, schedule: Schedule, timesteps: int) -> tuple[int, ...]:
    """Noise levels phi_1 < ... < phi_T' of an index set, each within 1..T.

    Args:
        index_set: its description.
        schedule: the teacher's noise schedule.
        timesteps: T, the teacher's number of noise levels.

    Raises:
        IndexSetError: T' above T, listed levels that do not increase or do not end at T, or more steps than the
            spacing has room for.
    """
    if isinstance(index_set, Listed):
        _check_levels(index_set.levels, timesteps)
        return index_set.levels
    if index_set.steps > timesteps:
        message = f"{index_set.steps} steps, but the teacher has {timesteps}: expected at most that many"
        raise IndexSetError(message, "steps")
    levels = SPACINGS[index_set.kind](index_set.steps, schedule, timesteps)
    for lower, higher in pairwise((0, *levels)):
        if lower >= higher:
            raise IndexSetError(
                f"{index_set.steps} steps are too many for the spacing {index_set.kind}: two of them fall on level "
                f"{higher}; use fewer, or another spacing",
                "steps",
            )
    return tuple(levels)


def _uniform(steps: int, _: Schedule, timesteps: int) -> list[int]:
    """phi_k = k T / T', rounded half up."""
    return [(2 * k * timesteps + steps) // (2 * steps) for k in range(1, steps + 1)]


def _leading(steps: int, _: Schedule, timesteps: int) -> list[int]:
    return [1 + k * (timesteps // steps) for k in range(steps)]


def _uniform_angle(steps: int, schedule: Schedule, timesteps: int) -> list[int]:
    return evenly_in_angle((0, timesteps), steps, schedule, timesteps)


def _quadratic(steps: int, _: Schedule, timesteps: int) -> list[int]:
    return [max(1, round(timesteps * (k / steps) ** 2)) for k in range(1, steps + 1)]


def _uniform_log_snr(steps: int, schedule: Schedule, timesteps: int) -> list[int]:
    if isinstance(schedule, Betas) and schedule.zero_terminal_snr:
        raise IndexSetError("a zero terminal SNR has no logarithm: expected another spacing", "kind")
    falling = log_snr(schedule, timesteps)
    wanted = np.linspace(falling[0], falling[-1], steps + 1)[1:]
    return (1 + _nearest(-falling, -wanted)).tolist()  # type: ignore[no-any-return]


SPACINGS: dict[str, Callable[[int, Schedule, int], list[int]]] = {
    "uniform": _uniform,
    "leading": _leading,
    "uniform-angle": _uniform_angle,
    "quadratic": _quadratic,
    "uniform-log-snr": _uniform_log_snr,
}
"""phi_1..phi_T' of each spacing, from T', the noise schedule and T; the classes in sfddm/spec say what each is."""


def evenly_in_angle(ends: tuple[int, int], steps: int, schedule: Schedule, timesteps: int) -> list[int]:
    """`steps` levels above ends[0], up to ends[1], evenly spaced in angle; where levels are fewer, some repeat."""
    theta = angles(schedule, timesteps)
    wanted = np.linspace(theta[ends[0]], theta[ends[1]], steps + 1)[1:]
    levels = [*np.maximum(_nearest(theta, wanted[:-1]), ends[0] + 1).tolist(), ends[1]]
    return _apart(levels, ends[0]) if ends[1] - ends[0] >= steps else levels


def make_grid(count: int, schedule: Schedule, timesteps: int) -> tuple[int, ...]:
    """About `count` levels up to T, evenly in angle: fewer where the levels are too few to keep them apart."""
    return tuple(sorted(set(evenly_in_angle((0, timesteps), count, schedule, timesteps))))


def _apart(levels: list[int], low: int) -> list[int]:
    """The same levels, moved by as little as makes them increase between `low` and the last one."""
    rising = list(accumulate(levels, lambda before, level: max(level, before + 1), initial=low))[1:]
    falling = accumulate([levels[-1], *rising[-2::-1]], lambda after, level: min(level, after - 1))
    return list(falling)[::-1]


def finer(levels: Sequence[int], substeps: int, schedule: Schedule, timesteps: int) -> tuple[int, ...]:
    """The index set with `substeps` - 1 more levels inside each segment, evenly in angle, where there is room."""
    if substeps == 1:
        return tuple(levels)
    inner = {level for ends in pairwise((0, *levels)) for level in evenly_in_angle(ends, substeps, schedule, timesteps)}
    return tuple(sorted(inner))


def _nearest(values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The position of the nearest of the rising `values` for each wanted number, the first where two are as near."""
    right = np.searchsorted(values, wanted).clip(max=len(values) - 1)
    left = (right - 1).clip(min=0)
    return np.where(np.abs(values[left] - wanted) <= np.abs(values[right] - wanted), left, right)


def _check_levels(levels: tuple[int, ...], timesteps: int) -> None:
    if not levels:
        raise IndexSetError("expected at least one level", "levels")
    for lower, higher in pairwise(levels):
        if lower >= higher:
            raise IndexSetError(f"expected increasing levels, found {lower} before {higher}", "levels")
    if levels[-1] < timesteps:
        raise IndexSetError(
            f"they end at {levels[-1]}, and images start from pure noise, which is level {timesteps}: end with it",
            "levels",
        )
    if levels[-1] > timesteps:
        raise IndexSetError(f"level {levels[-1]} is above the teacher's noisiest, {timesteps}", "levels")
