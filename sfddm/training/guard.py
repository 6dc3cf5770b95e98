"""A training whose numbers go bad stops at once, and says where."""

from collections.abc import Iterable, Mapping
from math import isnan, nan

import torch
from torch import Tensor, nn

from sfddm.errors import UserError
from sfddm.training.checkpoints import Checkpoints

TOGETHER = 25
"""Losses looked at in one go on a GPU, where every look waits for all that was sent to it."""
EXPLODED = 1e4
"""Times the smallest loss so far, or 1 where that is smaller: images are in [-1, 1], so a loss stays near 1."""
LOWER = "Lower learning_rate or set a lower clip_norm, or lengthen warmup, in the spec's training section."
"""The remedy for a loss that breaks."""
SPREAD = "spread"
"""The name of a value beside the losses: the deviation of a student's images over that of its teacher's."""
COLLAPSED, REMEMBERED = 0.5, 0.95
"""A collapse: what is left of the teacher's spread, or of the widest so far where that is less, of moving averages with
this decay."""


class Guard:
    """Looks at every loss of a training: at once on a CPU, a few iterations later on a GPU."""

    def __init__(self, device: torch.device, checkpoints: Checkpoints) -> None:
        self._together = 1 if device.type == "cpu" else TOGETHER
        self._checkpoints = checkpoints
        self._unseen: list[tuple[int, float, Tensor]] = []
        self._smallest = float("inf")
        self._spread: float | None = None
        self._widest = 0.0

    def remember(self, points: Iterable[Mapping[str, float]]) -> None:
        """Take the curve's points before a checkpoint as seen: some of the iterations, not all."""
        for point in points:
            self._smallest = min(self._smallest, point["loss"])
            self._follow(point.get(SPREAD, nan))

    def add(self, step: int, rate: float, losses: Mapping[str, Tensor]) -> None:
        """Take the losses of iteration `step` (scalars by name) and its learning rate.

        Raises:
            UserError: the loss, or one before it, is infinite, NaN or exploded; or the images have collapsed.
        """
        loss = losses["loss"].detach()
        self._unseen.append((step, rate, torch.stack([loss, losses.get(SPREAD, torch.full_like(loss, nan))])))
        if len(self._unseen) >= self._together:
            self.look()

    def look(self) -> None:
        """Look at all losses that were taken. Raises: UserError: as `add`."""
        values = torch.stack([pair for _, _, pair in self._unseen]).tolist() if self._unseen else []
        for (step, rate, _), (value, spread) in zip(self._unseen, values, strict=True):
            if not abs(value) < float("inf"):
                raise self._stopped(f"the loss is not finite ({value})", step, rate)
            self._smallest = min(self._smallest, value)
            if value > EXPLODED * max(self._smallest, 1):
                raise self._stopped(f"the loss exploded from {self._smallest:.3g} to {value:.3g}", step, rate)
            self._follow(spread)
            before = min(self._widest, 1.0)  # a student that begins with noise has more than its teacher, and loses it
            if self._spread is not None and self._spread < COLLAPSED * before:
                raise self._stopped(
                    f"the student's images have collapsed from {before:.2f} to {self._spread:.2f} times the spread of "
                    "its teacher's",
                    step,
                    rate,
                    "Lower the weight of the distribution term, or raise that of the hidden term, in the spec.",
                )
        self._unseen.clear()

    def _follow(self, spread: float) -> None:
        """Have the moving average take a spread; NaN where none was measured."""
        if not isnan(spread):
            self._spread = spread if self._spread is None else self._spread + (1 - REMEMBERED) * (spread - self._spread)
            self._widest = max(self._widest, self._spread)

    def check(self, networks: Mapping[str, nn.Module], step: int, rate: float) -> None:
        """Look at what is about to be kept after iteration `step`.

        Raises:
            UserError: as `add`, or some weights are infinite or NaN.
        """
        self.look()
        every = (named for network in networks.values() for named in network.named_parameters())
        for name, weights in every:
            if not bool(weights.isfinite().all()):
                raise self._stopped(f"the weights {name} are not finite", step, rate)

    def _stopped(self, what: str, step: int, rate: float, remedy: str = LOWER) -> UserError:
        kept = self._checkpoints.newest()
        return UserError(
            f"training stopped: {what} at iteration {step + 1}, learning rate {rate:.2g}.\n"
            f"{remedy}\n"
            + (f"The last good checkpoint is {kept}; a changed spec starts anew." if kept else "No checkpoint yet.")
        )
