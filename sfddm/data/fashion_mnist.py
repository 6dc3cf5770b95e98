"""Fashion-MNIST (Xiao et al. 2017, https://github.com/zalandoresearch/fashion-mnist)."""

import gzip
import zlib
from pathlib import Path

import numpy as np

from sfddm.data.resize import area_average
from sfddm.data.source import ROOT, download, root
from sfddm.data.store import Split
from sfddm.errors import UserError
from sfddm.files import check_regular
from sfddm.spec.data import FashionMNIST

FOLDER = Path("FashionMNIST") / "raw"
"""Inside the folder of data sets, as in torchvision."""
LARGEST = 64 * 2**20
"""Bytes of a file, unpacked: the training images take 47 million."""


def load(data: FashionMNIST) -> tuple[Split, Split]:
    """The authors' training and test split, images uint8 [N, 1, size, size] in 0..255.

    Raises:
        UserError: a file is missing and can't be downloaded, or is damaged.
    """
    return _split("train", data.size), _split("t10k", data.size)


def _split(part: str, size: int) -> Split:
    images_path, labels_path = _find(f"{part}-images-idx3-ubyte"), _find(f"{part}-labels-idx1-ubyte")
    images, labels = _read_idx(images_path, 3), _read_idx(labels_path, 1)
    if images.shape != (len(labels), 28, 28) or not len(labels):
        raise UserError(
            f"{images_path} holds images {list(images.shape)}, and {labels_path} {len(labels)} labels: "
            "expected as many images of 28x28 pixels. Replace both files."
        )
    return Split(area_average(images, size)[:, None], labels.astype(np.int64))


def _find(name: str) -> Path:
    """The path of a file, unpacked or not; it is downloaded where there is neither."""
    unpacked = root() / FOLDER / name
    archive = unpacked.with_name(f"{name}.gz")
    if unpacked.is_file():
        return unpacked
    if not archive.is_file():
        _download(archive)
    return archive


def _download(archive: Path) -> None:
    from torchvision.datasets import FashionMNIST as Published  # type: ignore[import-untyped]

    digests = dict(Published.resources)
    remedy = (
        f"Put {', '.join(digests)} (or the same unpacked) into {archive.parent}, from "
        f"https://github.com/zalandoresearch/fashion-mnist, or set {ROOT} to a folder that has them in {FOLDER}."
    )
    download(Published.mirrors[0] + archive.name, archive, digests[archive.name], remedy)


def _read_idx(path: Path, dimensions: int) -> np.ndarray:
    """A file of unsigned bytes in IDX format, gzipped or not: uint8 of so many dimensions.

    The header is 0, 0, 8 (unsigned bytes), the number of dimensions, and each length as a big-endian 32-bit number
    (LeCun et al., the MNIST database). torchvision's own reader takes unpacked files alone.
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
