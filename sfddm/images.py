"""Images as tensors in [-1, 1] and as bytes."""

import numpy as np
import torch
from torch import Tensor


def to_bytes(images: Tensor) -> np.ndarray:
    """uint8 of images in [-1, 1], of any shape; what lies outside is clipped."""
    scaled: np.ndarray = ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).cpu().numpy()
    return scaled


def from_bytes(images: np.ndarray | Tensor) -> Tensor:
    """Images in [-1, 1], float32, of uint8 images of the same shape, on the device where these are."""
    values = images.float() if isinstance(images, Tensor) else torch.from_numpy(images.astype(np.float32))
    return values.div_(127.5).sub_(1)
