"""A teacher as it was found elsewhere, before anything of it is believed."""

from typing import get_args

import numpy as np
from attrs import frozen

from sfddm.diffusion.levels import ScheduleName, alpha_bar, log_snr
from sfddm.diffusion.prediction import Prediction
from sfddm.errors import UserError
from sfddm.networks.contract import contract_of
from sfddm.networks.denoiser import Denoiser, Network, classes_of
from sfddm.spec.teacher import AnySchedule, OwnBetas, Teacher


@frozen(kw_only=True)
class Found:
    """A network with its weights, and what is said about them."""

    origin: str
    """Where it comes from, for errors and for the stage's output."""
    pinned: str
    """A commit or a SHA-256 that identifies its content."""
    network: Network
    timesteps: int
    noise_schedule: AnySchedule | None
    """None where it is not one of ours."""
    schedule_words: str
    """The noise schedule as its configuration has it."""
    prediction: Prediction
    dropout: float = 0.0
    """What it was trained with; `network` has none, and neither do students that start from it."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the images."""
        height, width = self.network.config["sample_size"]
        return self.network.config["in_channels"], height, width

    @property
    def classes(self) -> int:
        """How many the network is told; 0: none."""
        return classes_of(self.network.config)

    @property
    def parameters(self) -> int:
        """Numbers that were learned."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    def denoiser(self, described: Teacher, shape: tuple[int, int, int]) -> Denoiser:
        """The teacher under the contract that the spec states.

        Raises:
            UserError: the spec states another schedule, number of levels, prediction or size of images.
        """
        schedule, levels = self.noise_schedule, self.timesteps
        if schedule and _alike(alpha_bar(described.noise_schedule, levels), alpha_bar(schedule, levels)):
            schedule = described.noise_schedule  # the same by another name
        stated: list[tuple[str, object, object]] = [
            ("teacher.noise_schedule", described.noise_schedule, schedule or self.schedule_words),
            ("teacher.timesteps", described.timesteps, self.timesteps),
            ("teacher.prediction", described.prediction, self.prediction),
            ("teacher.classes", described.classes, self.classes),
            ("the data's shape", "x".join(map(str, shape)), "x".join(map(str, self.shape))),
        ]
        wrong = [f"  {name}: the spec has {spec}, the teacher {own}" for name, spec, own in stated if spec != own]
        if wrong:
            lines = "\n".join(wrong)
            raise UserError(f"{self.origin} is not the teacher that the spec describes:\n{lines}\n"
                            "`sfddm teacher inspect` prints the section for the spec.")  # fmt: skip
        return Denoiser(self.network, contract_of(described)).eval().requires_grad_(False)


TOLERANCE = 0.05
"""In log-SNR: what float32 leaves of it at the lowest level. Schedules differ by whole numbers."""
ROUNDED = 1e-5
"""Largest difference in alpha_bar that rounding to float32 explains; diffusers' 2^-24 in place of 0 is smaller."""


def recognised(remaining: np.ndarray, stated: OwnBetas | None = None) -> AnySchedule | None:
    """The schedule whose alpha_bar at the levels 1..T, float64 [T], these are.

    Args:
        remaining: alpha_bar.
        stated: betas that a configuration gives, if they are of a kind that a spec can have.

    Returns:
        One by name, or else the stated betas; None for a schedule that is not ours.
    """
    if bool(((remaining > 0) & (remaining < 1)).all()):
        found = np.log(remaining) - np.log1p(-remaining)
        for kind in get_args(ScheduleName):
            if np.abs(log_snr(kind, len(remaining)) - found).max() < TOLERANCE:
                schedule: ScheduleName = kind
                return schedule
    return stated if stated is not None and _alike(alpha_bar(stated, len(remaining))[1:], remaining) else None


def _alike(one: np.ndarray, other: np.ndarray) -> bool:
    return bool(np.abs(one - other).max() < ROUNDED)
