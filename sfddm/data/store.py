"""The data stage's output: uint8 images and labels of each split, memory-mapped when they are read."""

from pathlib import Path

import numpy as np
from attrs import frozen

from sfddm.errors import UserError, missing

SPLITS = ("train", "test")


@frozen
class Split:
    """Images uint8 [N, C, H, W] and their classes int64 [N]."""

    images: np.ndarray
    labels: np.ndarray


def read(folder: Path, split: str) -> Split:
    """One split of a stored data set.

    Raises:
        UserError: a file is missing or damaged.
    """
    return Split(read_array(folder / f"{split}.npy"), read_array(folder / f"{split}_labels.npy"))


def read_array(path: Path) -> np.ndarray:
    """A stored array, memory-mapped; never unpickles.

    Raises:
        UserError: the file is missing, cut off or no array.
    """
    try:
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise missing(path) from None
    except (ValueError, OSError, EOFError) as error:
        raise UserError(f"{path} is damaged ({error}): delete it and run `dvc checkout` or `dvc repro`.") from None
    return array
