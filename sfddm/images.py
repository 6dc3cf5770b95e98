"""Images as tensors in [-1, 1], as bytes, and as grids in PNG."""

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def to_bytes(images: Tensor) -> np.ndarray:
    """uint8 of images in [-1, 1], of any shape; what is outside is clipped."""
    scaled: np.ndarray = ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).cpu().numpy()
    return scaled


def from_bytes(images: np.ndarray | Tensor) -> Tensor:
    """Images in [-1, 1], float32, of uint8 images of the same shape, on the device where these are."""
    values = images.float() if isinstance(images, Tensor) else torch.from_numpy(images.astype(np.float32))
    return values.div_(127.5).sub_(1)


GAP = 2
"""Pixels between the images of a grid."""


def grid(images: np.ndarray, columns: int) -> Image.Image:
    """A picture of uint8 images [N, C, H, W] in rows of `columns`, small ones enlarged so that people can see them.

    What is between the images is transparent: it takes the colour of the page.
    """
    count, channels, height, width = images.shape
    scale = max(64 // height, 1)
    images = images.repeat(scale, axis=2).repeat(scale, axis=3)
    height, width = height * scale, width * scale
    rows = -(-count // columns)
    canvas = np.zeros((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, channels + 1), dtype=np.uint8)
    for position, image in enumerate(images):
        row, column = divmod(position, columns)
        place = canvas[row * (height + GAP) :, column * (width + GAP) :][:height, :width]
        place[..., :channels] = image.transpose(1, 2, 0)
        place[..., channels] = 255
    return Image.fromarray(canvas)


def png(picture: Image.Image) -> bytes:
    """The picture as a PNG file's bytes: no time stamp, so equal pictures give equal bytes."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def reduced(images: np.ndarray, most: int) -> np.ndarray:
    """uint8 images [N, C, H, W] of at most `most` pixels a side: means of squares of pixels where they are larger."""
    factor = -(-max(images.shape[2:]) // most)
    if factor == 1:
        return images
    count, channels, height, width = images.shape
    height, width = height // factor, width // factor
    cut = images[:, :, : height * factor, : width * factor]
    means: np.ndarray = cut.reshape(count, channels, height, factor, width, factor).mean(axis=(3, 5))
    return means.round().astype(np.uint8)
