"""Images as pictures that people look at."""

import io

import numpy as np
from PIL import Image

GAP = 2
"""Pixels between the images of a grid."""


def grid(images: np.ndarray, columns: int) -> Image.Image:
    """A picture of uint8 images [N, C, H, W] in rows of `columns`, small ones enlarged so that people can see them."""
    count, channels, height, width = images.shape
    scale = max(64 // height, 1)
    images = images.repeat(scale, axis=2).repeat(scale, axis=3)
    height, width = height * scale, width * scale
    rows = -(-count // columns)
    canvas = np.full((rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, channels), 255, dtype=np.uint8)
    for position, image in enumerate(images):
        row, column = divmod(position, columns)
        top, left = GAP + row * (height + GAP), GAP + column * (width + GAP)
        canvas[top : top + height, left : left + width] = image.transpose(1, 2, 0)
    return Image.fromarray(canvas.squeeze(2) if channels == 1 else canvas)


def png(picture: Image.Image) -> bytes:
    """The picture as a PNG file's bytes: no time stamp, so equal pictures give equal bytes."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
