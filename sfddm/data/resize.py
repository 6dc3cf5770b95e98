"""Smaller images."""

import numpy as np


def area_average(images: np.ndarray, size: int) -> np.ndarray:
    """uint8 images [N, H, W] as uint8 [N, size, size]: each new pixel is the mean of the area that it covers.

    Pixels that an edge cuts count with their share. All sums are whole numbers that float32 represents exactly (up to
    256x256 pixels), so the result is the same on every machine; halves are rounded to even.
    """
    _, height, width = images.shape
    if (height, width) == (size, size):
        return images
    sums = _overlaps(height, size) @ images.astype(np.float32) @ _overlaps(width, size).T
    averaged: np.ndarray = np.rint(sums / (height * width)).astype(np.uint8)
    return averaged


def _overlaps(old: int, new: int) -> np.ndarray:
    """Length that new pixel i shares with old pixel j, float32 [new, old], in units of 1 / (old * new) of the edge."""
    low, high = np.arange(new)[:, None] * old, np.arange(old) * new
    shared: np.ndarray = np.minimum(low + old, high + new) - np.maximum(low, high)
    return shared.clip(min=0).astype(np.float32)
