"""What networks that were trained on photographs have in common: images are resized, coloured and normalised."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from sfddm.evaluation.scorers.extractor import rgb

PIXELS = 32 * 224 * 224
"""Pixels per batch."""


def at_a_time(size: int) -> int:
    """How many images of `size` x `size` pixels are looked at together."""
    return max(min(PIXELS // size**2, 1000), 1)


def features_before(
    head: nn.Linear, network: nn.Module, size: int, mean: Sequence[float], deviation: Sequence[float]
) -> Callable[[np.ndarray], tuple[Tensor, Tensor]]:
    """What gives the input of a network's head and the class scores of uint8 images [B, C, H, W].

    Args:
        head: the layer of the network whose input the features are.
        network: where its weights are, images are sent to.
        size: height and width that it expects.
        mean: of each channel in [0, 1], as its training has them.
        deviation: likewise, the standard deviation.
    """
    seen: list[Tensor] = []
    head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    device = head.weight.device
    center, spread = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (mean, deviation))

    def extract(images: np.ndarray) -> tuple[Tensor, Tensor]:
        pixels = rgb(images).to(device).float() / 255
        resized = interpolate(pixels, size=(size, size), mode="bilinear", antialias=True)
        scores = network((resized - center) / spread)
        return seen.pop(), scores

    return extract
