"""Data sets in the IDX format of the MNIST database (LeCun et al.): 28x28 grey images, a training and a test split."""

import gzip
import zlib
from pathlib import Path

import numpy as np

from sfddm.data.resize import area_average
from sfddm.data.source import ROOT, download, root
from sfddm.data.store import Stream, whole
from sfddm.errors import UserError
from sfddm.runtime.files import check_regular

LARGEST = 64 * 2**20
"""Bytes of a file, unpacked: the training images take 47 million."""


def load(published: str, size: int, page: str) -> tuple[Stream, Stream]:
    """The authors' training and test split, images uint8 [N, 1, size, size] in 0..255.

    Args:
        published: torchvision's name of the set, under which its files are in the folder of data sets.
        size: what 28x28 pixels are averaged to, or are put in the middle of, on black.
        page: where its authors give it out.

    Raises:
        UserError: a file is missing and can't be downloaded, or is damaged.
    """
    return _split(published, "train", size, page), _split(published, "t10k", size, page)


def folder(published: str) -> Path:
    """Where a set's files are inside the folder of data sets, as in torchvision."""
    return Path(published) / "raw"


def _split(published: str, part: str, size: int, page: str) -> Stream:
    images_path, labels_path = (
        _find(published, f"{part}-{what}-ubyte", page) for what in ("images-idx3", "labels-idx1")
    )
    images, labels = _read_idx(images_path, 3), _read_idx(labels_path, 1)
    if images.shape != (len(labels), 28, 28) or not len(labels):
        raise UserError(
            f"{images_path} has images {list(images.shape)}, and {labels_path} {len(labels)} labels: "
            "expected as many images of 28x28 pixels. Replace both files."
        )
    fitted = area_average(images, min(size, 28))
    before = (size - fitted.shape[1]) // 2
    sides = (before, size - fitted.shape[1] - before)
    return whole(np.pad(fitted, ((0, 0), sides, sides))[:, None], labels.astype(np.int64))


def _find(published: str, name: str, page: str) -> Path:
    """The path of a file, unpacked or not; it is downloaded where there is neither."""
    unpacked = root() / folder(published) / name
    archive = unpacked.with_name(f"{name}.gz")
    if unpacked.is_file():
        return unpacked
    if not archive.is_file():
        _download(published, archive, page)
    return archive


def _download(published: str, archive: Path, page: str) -> None:
    from torchvision import datasets  # type: ignore[import-untyped]

    described = getattr(datasets, published)
    digests = dict(described.resources)
    remedy = (
        f"Put {', '.join(digests)} (or the same unpacked) into {archive.parent}, from "
        f"{page}, or set {ROOT} to a folder that has them in {folder(published)}."
    )
    download(described.mirrors[0] + archive.name, archive, digests[archive.name], remedy)


def _read_idx(path: Path, dimensions: int) -> np.ndarray:
    """A file of unsigned bytes in IDX format, gzipped or not: uint8 of so many dimensions.

    The header is 0, 0, 8 (unsigned bytes), the number of dimensions, and each length as a big-endian 32-bit number.
    torchvision's own reader takes unpacked files alone.
    """
    try:
        check_regular(path)
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise ValueError(f"more than {LARGEST} bytes")
        if content[:4] != bytes([0, 0, 8, dimensions]):
            raise ValueError(f"no IDX file of unsigned bytes in {dimensions} dimensions")
        lengths = np.frombuffer(content, ">u4", dimensions, offset=4)
        return np.frombuffer(content, np.uint8, offset=4 * (1 + dimensions)).reshape(lengths)
    except (ValueError, OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} is damaged ({error}): replace it, or delete it to have it downloaded.") from None
