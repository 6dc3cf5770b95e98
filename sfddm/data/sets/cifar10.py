"""CIFAR-10 (Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html), as its author gives it out: pickles.

They are never unpickled: pixels and labels are in them as plain bytes, and are read there, once a file's MD5 is found
to be the published one. Reading takes no import of torchvision, which is slower than all of it.
"""

import hashlib
import pickletools
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sfddm.data.resize import area_average
from sfddm.data.source import ROOT, download, root
from sfddm.data.store import Block, Stream
from sfddm.errors import UserError
from sfddm.runtime.files import read_bytes
from sfddm.spec.data import CIFAR10

FOLDER = "cifar-10-batches-py"
"""Inside the folder of data sets, as in torchvision."""
ARCHIVE = "cifar-10-python.tar.gz"
URL, ARCHIVE_MD5 = f"https://www.cs.toronto.edu/~kriz/{ARCHIVE}", "c58f30108f718f92721af3b95e74349a"
TRAIN = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
}
TEST = {"test_batch": "40351d587109b95175f43aff81a1287e"}
"""Files and their MD5, as torchvision publishes them."""
IMAGES = 10_000
"""In each file."""
LARGEST = 64 * 2**20
"""Bytes of a file: each has 31 million."""


def load(data: CIFAR10) -> tuple[Stream, Stream]:
    """The author's training and test split, images uint8 [N, 3, size, size] in 0..255.

    Raises:
        UserError: a file is missing and can't be downloaded, or is damaged.
    """
    return _stream(TRAIN, data.size), _stream(TEST, data.size)


def _stream(digests: dict[str, str], size: int) -> Stream:
    if not all((root() / FOLDER / name).is_file() for name in digests) and not (root() / ARCHIVE).is_file():
        remedy = (
            f"Put it there from {URL}, or set {ROOT} to a folder that has it, or {', '.join((*TRAIN, *TEST))} "
            f"in {FOLDER}."
        )
        download(URL, root() / ARCHIVE, ARCHIVE_MD5, remedy)
    return Stream(IMAGES * len(digests), _blocks(digests, size))


def _blocks(digests: dict[str, str], size: int) -> Iterator[Block]:
    for (path, content), digest in zip(_contents(list(digests)), digests.values(), strict=True):
        found = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if found != digest:
            raise _damaged(path, f"its MD5 is {found}, and the published one {digest}")
        pixels, labels = _parse(content)
        images = area_average(pixels.reshape(-1, 32, 32), size)
        yield Block(images.reshape(len(labels), 3, size, size), labels)


def _parse(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Pixels, uint8 [N * 3 * 32 * 32], and labels, int64 [N], of a file of Python 2's pickles, of which nothing is run.

    It is a dictionary with short strings as keys; `labels` are small whole numbers, and the pixels are the one long
    string, 4 bytes of length in front.
    """
    key, labels = "", []
    pixels = np.empty(0, np.uint8)
    for opcode, argument, position in pickletools.genops(content):
        if opcode.name == "SHORT_BINSTRING":
            key = str(argument)
        elif opcode.name == "BININT1" and key == "labels":
            labels.append(argument)
        elif opcode.name == "BINSTRING":
            pixels = np.frombuffer(content, np.uint8, len(str(argument)), offset=(position or 0) + 5)
    return pixels, np.array(labels, np.int64)


def _contents(names: list[str]) -> Iterator[tuple[str, bytes]]:
    """Each file's name for errors and its content, from the folder or else from the archive."""
    folder, archive = root() / FOLDER, root() / ARCHIVE
    unpacked = all((folder / name).is_file() for name in names)
    try:
        if unpacked:
            yield from ((str(folder / name), read_bytes(folder / name, LARGEST)) for name in names)
        else:
            yield from ((f"{archive}: {name}", content) for name, content in _members(archive, names))
    except (OSError, ValueError, KeyError, EOFError, tarfile.TarError, zlib.error) as error:
        raise _damaged(folder if unpacked else archive, error) from None


def _members(archive: Path, names: list[str]) -> Iterator[tuple[str, bytes]]:
    """Files of the archive, read where they are: nothing is unpacked to disk."""
    with tarfile.open(archive, "r:gz") as files:
        for name in names:
            member = files.extractfile(f"{FOLDER}/{name}")
            yield name, member.read(LARGEST) if member else b""


def _damaged(path: Path | str, reason: object) -> UserError:
    return UserError(f"{path} is damaged ({reason}): replace it by that of {URL}, or delete it to have it downloaded.")
