"""How networks compute in a training: the same functions, faster on some machines, with other last bits."""

import torch
from torch import nn

from sfddm.spec.training import Training


def prepare(network: nn.Module, training: Training) -> None:
    """Lay out a network's weights, and have it compiled at its first call, as a training's section of the spec says.

    In place; names and shapes of the weights stay. Every shape of a batch is compiled for itself: there are few,
    but for rollouts, which run eagerly (`sfddm.methods.sources`).
    """
    if training.memory_format == "channels_last":
        network.to(memory_format=torch.channels_last)
    if training.compile:
        network.compile(dynamic=False)
