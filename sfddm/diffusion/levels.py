"""Noise schedules as plain numbers: how much of the image is left at each level. Nothing here needs torch."""

import math
from functools import lru_cache
from typing import Literal, Protocol, runtime_checkable

import numpy as np

ScheduleName = Literal["linear", "cosine", "sigmoid", "scaled-linear", "edm"]
"""linear: DDPM (Ho et al. 2020); cosine: Nichol and Dhariwal 2021; sigmoid: Jabri et al. 2022; scaled-linear: even
steps in the square root of beta (Rombach et al. 2022); edm: sigma / alpha from .002 to 80 (Karras et al. 2022)."""


@runtime_checkable
class Betas(Protocol):
    """A schedule by the betas at its ends (`sfddm.spec.teacher.OwnBetas`)."""

    def __hash__(self) -> int: ...

    @property
    def beta_schedule(self) -> Literal["linear", "scaled-linear"]:
        """What rises with even steps: beta, or its square root."""
        ...

    @property
    def beta_start(self) -> float:
        """At level 1."""
        ...

    @property
    def beta_end(self) -> float:
        """At level T."""
        ...

    @property
    def zero_terminal_snr(self) -> bool:
        """Whether nothing of the image is left at level T."""
        ...


Schedule = ScheduleName | Betas
LARGEST_BETA = 0.999
"""No single level destroys everything (Nichol and Dhariwal 2021, section 3.2)."""
SIGMAS, RHO = (0.002, 80.0), 7
"""The ends of EDM's noise levels, in standard deviations of noise per image, and the root that they are even in
(Karras et al. 2022, table 1 and equation 5)."""
NOTHING = 2.0**-48
"""Used for 0 at a zero terminal SNR: far below what float32 resolves next to 1, but its logarithm is finite."""


@lru_cache(maxsize=8)
def alpha_bar(kind: Schedule, timesteps: int) -> np.ndarray:
    """The share of the image's variance that is left at each level.

    Args:
        kind: linear: beta from 1e-4 to 0.02 over 1000 levels, rescaled to T (Ho et al. 2020);
            cosine: Nichol and Dhariwal 2021, equation 17; sigmoid: Jabri et al. 2022, algorithm 1, from -3 to 3;
            scaled-linear: as linear, from 8.5e-4 to 0.012 with even steps in the square root;
            edm: sigma / alpha rises from .002 to 80 with even steps in its 7th root;
            or betas, which are taken as they are.
        timesteps: T.

    Returns:
        float64 [T + 1], falling from 1 at level 0; read-only.
    """
    if isinstance(kind, Betas):
        left = _left(_rising(kind.beta_schedule, kind.beta_start, kind.beta_end, timesteps))
        return _without_rest(left) if kind.zero_terminal_snr else left
    t, scale = np.arange(timesteps + 1) / timesteps, 1000 / timesteps
    match kind:
        case "linear":
            beta = _rising(kind, scale * 1e-4, scale * 0.02, timesteps)
        case "scaled-linear":
            beta = _rising(kind, scale * 8.5e-4, scale * 0.012, timesteps)
        case "cosine":
            left = np.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2
            beta = 1 - left[1:] / left[:-1]
        case "sigmoid":
            left = 1 / (1 + np.exp(-3)) - 1 / (1 + np.exp(3 - 6 * t))
            beta = 1 - left[1:] / left[:-1]
        case "edm":
            lowest, highest = (sigma ** (1 / RHO) for sigma in SIGMAS)
            left = np.append(1.0, 1 / (1 + np.linspace(highest, lowest, timesteps)[::-1] ** (2 * RHO)))
            left.flags.writeable = False
            return left
    return _left(beta)


def _rising(kind: Literal["linear", "scaled-linear"], start: float, end: float, timesteps: int) -> np.ndarray:
    if kind == "linear":
        return np.linspace(start, end, timesteps)
    return np.linspace(math.sqrt(start), math.sqrt(end), timesteps) ** 2


def _left(beta: np.ndarray) -> np.ndarray:
    remaining = np.concatenate([np.ones(1), np.cumprod(1 - beta.clip(0, LARGEST_BETA))])
    remaining.flags.writeable = False
    return remaining


def _without_rest(remaining: np.ndarray) -> np.ndarray:
    """The same schedule, moved so that nothing is left at its end (Lin et al. 2024, algorithm 1)."""
    root = np.sqrt(remaining)
    with np.errstate(invalid="ignore"):  # a single level has no such schedule
        root[1:] = (root[1:] - root[-1]) * root[1] / (root[1] - root[-1])
    moved: np.ndarray = np.maximum(root**2, NOTHING)
    moved.flags.writeable = False
    return moved


def angles(kind: Schedule, timesteps: int) -> np.ndarray:
    """theta = atan2(sigma, alpha) of each level: 0 for clean data, nearly pi/2 for pure noise; float64 [T + 1]."""
    remaining = alpha_bar(kind, timesteps)
    theta: np.ndarray = np.arctan2(np.sqrt(1 - remaining), np.sqrt(remaining))
    return theta


def log_snr(kind: Schedule, timesteps: int) -> np.ndarray:
    """log(alpha^2 / sigma^2) of the levels 1..T, falling; float64 [T]. Level 0 has no noise and no finite value."""
    remaining = alpha_bar(kind, timesteps)[1:]
    ratio: np.ndarray = np.log(remaining) - np.log1p(-remaining)
    return ratio
