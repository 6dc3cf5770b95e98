"""The one training loop: teachers, students and scorers all pass through it."""

from collections.abc import Callable
from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from sfddm.errors import UserError
from sfddm.spec.training import Training
from sfddm.training.curve import Curve

Losses = dict[str, Tensor]
"""Terms of the loss by name, each a scalar; `loss` is the one that is minimised."""
Network = TypeVar("Network", bound=nn.Module)


def train(
    network: Network, loss: Callable[[int, Network], Losses], settings: Training, curve: Curve, before: int = 0
) -> Network:
    """Minimise `loss` over the weights of `network`, and return their moving average.

    Args:
        network: changed in place.
        loss: the loss of iteration `before`, `before` + 1, ..., given the average so far, which some methods take their
            targets from; all randomness comes from that number (see `sfddm.randomness`), so that an iteration is the
            same however it was reached.
        settings: iterations, learning rate and so on, as the spec has them.
        curve: where the course of the training is written and shown.
        before: iterations of earlier folds, which share the curve.

    Raises:
        UserError: the loss became infinite or NaN.
    """
    device = next(network.parameters()).device
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate, fused=True)
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(settings.average))  # type: ignore[no-untyped-call]
    network.train()
    for step in range(settings.iterations):
        rate = settings.learning_rate * learning_rate_factor(step, settings)
        for group in optimizer.param_groups:
            group["lr"] = rate
        with torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bf16"):
            losses = loss(before + step, cast(Network, average.module))
        optimizer.zero_grad(set_to_none=True)
        losses["loss"].backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), settings.clip_norm)
        optimizer.step()
        average.update_parameters(network)
        if curve.due(before + step):
            values = {name: float(value.detach()) for name, value in losses.items()}
            _stop_if_broken(values, before + step, rate)
            curve.write(before + step, {**values, "learning_rate": rate})
    network.load_state_dict(average.module.state_dict())
    return network.eval().requires_grad_(False)


def learning_rate_factor(step: int, settings: Training) -> float:
    """What iteration `step` multiplies the highest learning rate with: linear warm-up, constant, linear decay."""
    rising = (step + 1) / settings.warmup if settings.warmup else 1.0
    decaying = settings.decay * settings.iterations
    falling = (settings.iterations - step) / decaying if decaying else 1.0
    return min(rising, 1.0, falling)


def _stop_if_broken(values: dict[str, float], step: int, rate: float) -> None:
    broken = [name for name, value in values.items() if not abs(value) < float("inf")]
    if broken:
        raise UserError(
            f"training stopped: {', '.join(broken)} is not finite at iteration {step}, learning rate {rate:.2g}.\n"
            "Lower learning_rate or clip_norm, or lengthen warmup, in the spec's training section."
        )
