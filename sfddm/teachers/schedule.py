"""Which of our noise schedules a list of numbers is."""

from typing import get_args

import numpy as np

from sfddm.diffusion.levels import log_snr
from sfddm.spec.teacher import Schedule

TOLERANCE = 0.05
"""In log-SNR: what float32 leaves of it at the lowest level. Schedules differ by whole numbers."""


def recognised(alpha_bar: np.ndarray) -> Schedule | None:
    """The schedule whose alpha_bar at the levels 1..T, float64 [T], these are; None for one that is not ours."""
    inside = bool(((alpha_bar > 0) & (alpha_bar < 1)).all())
    if not inside:
        return None
    found = np.log(alpha_bar) - np.log1p(-alpha_bar)
    for kind in get_args(Schedule):
        if np.abs(log_snr(kind, len(alpha_bar)) - found).max() < TOLERANCE:
            schedule: Schedule = kind
            return schedule
    return None
