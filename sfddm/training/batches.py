"""What a batch is drawn from: images, levels, fresh noise. Each draw depends on seed and iteration alone."""

import numpy as np
import torch
from torch import Tensor

from sfddm.images import from_bytes
from sfddm.randomness import epoch_indices


def on_device(images: np.ndarray, device: torch.device) -> Tensor:
    """uint8 images [N, C, H, W] as float32 in [-1, 1] on `device`."""
    return from_bytes(np.array(images)).to(device)


def take(rows: Tensor, seed: int, step: int, size: int) -> Tensor:
    """The rows [size, ...] of batch `step`: all of `rows` come before any comes again."""
    return rows[torch.from_numpy(epoch_indices(seed, step, size, len(rows))).to(rows.device)]


def integers(random: np.random.Generator, low: int, high: int, size: int, device: torch.device) -> Tensor:
    """Random whole numbers of low..high - 1, int64 [size]."""
    return torch.from_numpy(random.integers(low, high, size)).to(device)


def noise_like(random: np.random.Generator, like: Tensor) -> Tensor:
    """Standard normal numbers in the shape of `like`, float32."""
    return torch.from_numpy(random.standard_normal(like.shape, dtype=np.float32)).to(like.device)
