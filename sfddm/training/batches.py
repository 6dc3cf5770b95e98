"""What a batch is drawn from: images, levels, fresh noise. Each draw depends on seed and iteration alone."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from sfddm.data.store import Split
from sfddm.images import from_bytes
from sfddm.randomness import Purpose, epoch_indices, generator


def on_device(images: np.ndarray, device: torch.device) -> Tensor:
    """uint8 images [N, C, H, W] as float32 in [-1, 1] on `device`."""
    return from_bytes(images).to(device)


def take(rows: Tensor, seed: int, step: int, size: int) -> Tensor:
    """The rows [size, ...] of batch `step`: all of `rows` come before any comes again."""
    return rows[torch.from_numpy(epoch_indices(seed, step, size, len(rows))).to(rows.device)]


def real_images(split: Split, device: torch.device) -> Callable[[int, int, int], Tensor]:
    """How batches of real images are drawn: from (seed, step, size) to float32 [size, C, H, W] in [-1, 1].

    All images come before any comes again. Where the data set says so, half of a batch is mirrored left to right.
    """
    clean = on_device(split.images, device)

    def draw(seed: int, step: int, size: int) -> Tensor:
        images = take(clean, seed, step, size)
        if not split.flip:
            return images
        mirrored = generator(seed, Purpose.FLIP, step).random(size) < 0.5
        return torch.where(torch.from_numpy(mirrored).to(device).view(-1, 1, 1, 1), images.flip(-1), images)

    return draw


def integers(random: np.random.Generator, low: int, high: int, size: int, device: torch.device) -> Tensor:
    """Random whole numbers of low..high - 1, int64 [size]."""
    return torch.from_numpy(random.integers(low, high, size)).to(device)


def noise_like(random: np.random.Generator, like: Tensor) -> Tensor:
    """Standard normal numbers in the shape of `like`, float32."""
    return torch.from_numpy(random.standard_normal(like.shape, dtype=np.float32)).to(like.device)
