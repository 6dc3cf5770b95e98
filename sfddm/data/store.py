"""The data stage's output: uint8 images and labels of each split, memory-mapped when they are read."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from attrs import frozen

from sfddm.errors import UserError, damaged, missing
from sfddm.runtime.files import check_regular, digest_file
from sfddm.spec.parse import read_mapping

SPLITS = ("train", "test")
DESCRIPTION, FLIP = "data.json", "flip"
"""The file that says what is stored, and its key that says whether training mirrors images."""
BYTES = np.dtype(np.uint8)
"""The type of stored pixels."""


@frozen
class Split:
    """Images uint8 [N, C, H, W] and their classes int64 [N], where they have any."""

    images: np.ndarray
    labels: np.ndarray | None
    flip: bool
    """Whether training mirrors half of the images of each batch."""

    def required_labels(self) -> np.ndarray:
        """The classes, int64 [N].

        Raises:
            UserError: there are none.
        """
        if self.labels is None:
            raise UserError("the stored images have no classes to learn from: run `dvc repro` for the stage data.")
        return self.labels


def require_classes(labels: np.ndarray, classes: int) -> None:
    """Raises: UserError: the images' classes are not 0 to `classes` - 1: noises take turns with all of them."""
    found = np.unique(labels)
    if not np.array_equal(found, np.arange(classes)):
        wrong = f"the class {found[-1]}" if found[-1] >= classes else f"{len(found)} of them"
        raise UserError(
            f"the network is told {classes} classes, 0 to {classes - 1}, and the images have {wrong}: "
            "teacher.classes has to be their number."
        )


@frozen
class Block:
    """Some images of a split on their way into the store: uint8 [n, C, H, W], n may be 0."""

    images: np.ndarray
    labels: np.ndarray | None
    """int64 [n]; of all blocks of a split, or of none."""
    skipped: tuple[str, ...] = ()
    """Names of images that were to be here and could not be used."""


@frozen
class Stream:
    """A split as its source gives it. Only the block that is looked at is in memory, where the source allows it."""

    images: int
    """How many there are at most: some may be skipped."""
    blocks: Iterable[Block]


def whole(images: np.ndarray, labels: np.ndarray) -> Stream:
    """A split that is in memory already."""
    return Stream(len(images), [Block(images, labels)])


def write(folder: Path, split: str, stream: Stream, shape: tuple[int, int, int]) -> dict[str, Any]:
    """Store a split of images of `shape` (C, H, W), block by block, in an existing folder.

    Returns:
        Plain data: how many images, the SHA-256 of their file, and the names of those that were skipped.

    Raises:
        UserError: not one image is left.
    """
    path = folder / f"{split}.npy"
    count = 0
    labels: list[np.ndarray] = []
    skipped: list[str] = []
    with path.open("wb") as file:
        write_header(file, BYTES, (count, *shape))
        for block in stream.blocks:
            file.write(np.ascontiguousarray(block.images, BYTES).data)
            count += len(block.images)
            skipped += block.skipped
            if block.labels is not None:
                labels.append(block.labels)
        file.seek(0)
        write_header(file, BYTES, (count, *shape))  # as long as the first one
    if not count:
        raise UserError(f"the {split} split has no images: none of {stream.images} could be used.")
    if labels:
        np.save(folder / f"{split}_labels.npy", np.concatenate(labels))
    return {"images": count, "sha256": digest_file(path), **({"skipped": skipped} if skipped else {})}


def write_header(file: BinaryIO, dtype: np.dtype, shape: tuple[int, ...]) -> None:
    """Write what numpy puts in front of an array; it is equally long for every length of the first dimension."""
    described = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, described)


def has(folder: Path, split: str) -> bool:
    """Whether a stored data set has a split."""
    return (folder / f"{split}.npy").exists()


def read(folder: Path, split: str) -> Split:
    """One split of a stored data set.

    Raises:
        UserError: a file is missing or damaged.
    """
    images, labels = read_array(folder / f"{split}.npy", BYTES, 4), read_labels(folder, split)
    return Split(images, labels, flip=read_mapping(folder / DESCRIPTION).get(FLIP, False))


def read_labels(folder: Path, split: str) -> np.ndarray | None:
    """The classes of a split's images, int64 [N]; nothing where they have none.

    Raises:
        UserError: the file is damaged.
    """
    path = folder / f"{split}_labels.npy"
    return read_array(path, np.dtype(np.int64), 1) if path.exists() else None


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
