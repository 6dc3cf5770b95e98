"""Refusing arrays that are no images, before anything is computed from them."""

import numpy as np

from sfddm.errors import UserError


def check_images(images: np.ndarray, shape: tuple[int, ...], what: str) -> None:
    """Say what is wrong with images that should be uint8 [N, *shape].

    Raises:
        UserError: no bytes (NaN and the range are named), another shape, or 0 and 1 alone, which are no bytes' range.
    """
    if images.dtype != np.uint8:
        raise UserError(f"{what}: expected uint8 from 0 to 255, found {images.dtype}{_range(images)}.")
    if images.shape[1:] != shape or not len(images):
        raise UserError(f"{what}: expected [N, {', '.join(map(str, shape))}] (N, channels, height, width), found "
                        f"{list(images.shape)}.")  # fmt: skip
    if images.max() <= 1:
        raise UserError(f"{what}: no value above {images.max()}, as if they were in [0, 1]: expected bytes, 0 to 255.")


def _range(images: np.ndarray) -> str:
    if not np.issubdtype(images.dtype, np.number) or not images.size:
        return ""
    broken = int(np.isnan(images).sum()) if np.issubdtype(images.dtype, np.inexact) else 0
    if broken:
        return f" with {broken} values that are NaN"
    return f" from {images.min():g} to {images.max():g}"
