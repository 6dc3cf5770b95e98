"""The data stage's output: uint8 images and labels of each split, memory-mapped when they are read."""

from pathlib import Path

import numpy as np
from attrs import frozen

from sfddm.errors import damaged, missing
from sfddm.files import check_regular

SPLITS = ("train", "test")
BYTES = np.dtype(np.uint8)
"""Of stored images."""
MOST_CLASSES = 16_384
"""A classifier has an output for each."""


@frozen
class Split:
    """Images uint8 [N, C, H, W] and their classes int64 [N]."""

    images: np.ndarray
    labels: np.ndarray


def read(folder: Path, split: str) -> Split:
    """One split of a stored data set.

    Raises:
        UserError: a file is missing or damaged, or the labels are not those of the images.
    """
    images = read_array(folder / f"{split}.npy", BYTES, 4)
    labels = read_array(folder / f"{split}_labels.npy", np.dtype(np.int64), 1)
    if len(labels) != len(images) or labels.min() < 0 or labels.max() >= MOST_CLASSES:
        raise damaged(folder / f"{split}_labels.npy", f"expected a class below {MOST_CLASSES} for each of the images")
    return Split(images, labels)


def read_array(path: Path, dtype: np.dtype, dimensions: int) -> np.ndarray:
    """A stored array of so many dimensions, none of them empty; memory-mapped, and never unpickled.

    Raises:
        UserError: the file is missing, cut off or no such array.
    """
    try:
        check_regular(path)
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise missing(path) from None
    except Exception as error:  # the header is a Python literal, and numpy raises all that reading one can raise
        raise damaged(path, (str(error) or repr(error)).splitlines()[0]) from None
    if not isinstance(array, np.ndarray) or array.dtype != dtype or array.ndim != dimensions or not array.size:
        raise damaged(path, f"expected numbers of type {dtype} in {dimensions} dimensions")
    return array
