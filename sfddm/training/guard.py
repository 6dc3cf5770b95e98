"""A training whose numbers go bad stops at once, and says where."""

import torch
from torch import Tensor, nn

from sfddm.errors import UserError
from sfddm.training.checkpoints import Checkpoints

TOGETHER = 25
"""Losses looked at in one go on a GPU, where every look waits for all that was sent to it."""
EXPLODED = 1e4
"""Times the smallest loss so far, or 1 where that is smaller: images are in [-1, 1], so a loss stays near 1."""


class Guard:
    """Looks at every loss of a training: at once on a CPU, a few iterations later on a GPU."""

    def __init__(self, device: torch.device, checkpoints: Checkpoints) -> None:
        self._together = 1 if device.type == "cpu" else TOGETHER
        self._checkpoints = checkpoints
        self._unseen: list[tuple[int, float, Tensor]] = []
        self._smallest = float("inf")

    def add(self, step: int, rate: float, loss: Tensor) -> None:
        """Take the loss (a scalar) of iteration `step` and its learning rate.

        Raises:
            UserError: it, or one before it, is infinite, NaN or exploded.
        """
        self._unseen.append((step, rate, loss.detach()))
        if len(self._unseen) >= self._together:
            self.look()

    def look(self) -> None:
        """Look at all losses that were taken. Raises: UserError: as `add`."""
        values = torch.stack([loss for _, _, loss in self._unseen]).tolist() if self._unseen else []
        for (step, rate, _), value in zip(self._unseen, values, strict=True):
            if not abs(value) < float("inf"):
                raise self._stopped(f"the loss is not finite ({value})", step, rate)
            self._smallest = min(self._smallest, value)
            if value > EXPLODED * max(self._smallest, 1):
                raise self._stopped(f"the loss exploded from {self._smallest:.3g} to {value:.3g}", step, rate)
        self._unseen.clear()

    def check(self, network: nn.Module, step: int, rate: float) -> None:
        """Look at what is about to be kept after iteration `step`.

        Raises:
            UserError: as `add`, or some weights are infinite or NaN.
        """
        self.look()
        for name, weights in network.named_parameters():
            if not bool(weights.isfinite().all()):
                raise self._stopped(f"the weights {name} are not finite", step, rate)

    def _stopped(self, what: str, step: int, rate: float) -> UserError:
        kept = self._checkpoints.newest()
        return UserError(
            f"training stopped: {what} at iteration {step + 1}, learning rate {rate:.2g}.\n"
            "Lower learning_rate or set a lower clip_norm, or lengthen warmup, in the spec's training section.\n"
            + (f"The last good checkpoint is {kept}; a changed spec starts anew." if kept else "No checkpoint yet.")
        )
