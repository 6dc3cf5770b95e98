"""Networks that others trained on photographs and publish as PyTorch files.

A `.pth` file is a pickle: found, checked by its hash, and only then read, once, when the scorer is made. From then on
the weights are stored next to the other outputs, as safetensors.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from sfddm.errors import UserError
from sfddm.evaluation.scorers.extractor import rgb
from sfddm.networks.weights import read_pickled

PIXELS = 32 * 224 * 224
"""Pixels per batch."""


def read_published(variable: str, names: Sequence[str], sha256: str) -> dict[str, Any]:
    """The state dict in the file that an environment variable names, or else in one of torch's cache of these names.

    Raises:
        UserError: there is no such file, its content has another SHA-256, or it holds no tensors; nothing of a file
            with another hash is read.
    """
    return read_pickled(_find(variable, names), sha256)


def load_published(network: nn.Module, state: dict[str, Any]) -> nn.Module:
    """The network with a published state dict.

    Raises:
        UserError: it belongs to another network.
    """
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()]
        raise UserError(f"the scorer's weights belong to another network: {' '.join(lines[1:2])[:200]}") from None
    return network


def _find(variable: str, names: Sequence[str]) -> Path:
    named = os.environ.get(variable)
    if named:
        if not Path(named).is_file():
            raise UserError(f"{variable} is {named!r}: there is no such file.")
        return Path(named)
    cache = Path(torch.hub.get_dir()) / "checkpoints"
    for name in names:
        if (cache / name).is_file():
            return cache / name
    known = " or ".join(names) or "its weights"
    raise UserError(
        f"the scorer's weights are not on this machine: set {variable} to the path of {known}, or put the file into "
        f"{cache}. Nothing is downloaded for a scorer; where there is a network, torch.hub gets files into that folder."
    )


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
