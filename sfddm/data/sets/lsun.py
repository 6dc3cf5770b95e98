"""LSUN (Yu et al. 2015, https://github.com/fyu/lsun): an LMDB database for each category, an image file a value.

Read directly: torchvision's reader writes a pickle of the keys next to it, and decodes while a training waits.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from sfddm.data.image_files import Entry, Picture, stream
from sfddm.data.source import ROOT, root
from sfddm.data.store import Stream
from sfddm.errors import UserError
from sfddm.spec.data import LSUN

ADDRESS = "http://dl.yf.io/lsun/scenes"
FILE = "data.mdb"


def load(data: LSUN) -> tuple[Stream]:
    """The first images in the order of their keys.

    Raises:
        UserError: the database is missing, cut off or has fewer images; images that can't be used, when the last one
            was read.
    """
    folder = root() / f"{data.category}_train_lmdb"
    found = _count(folder, data.category)
    if found < data.images:
        raise UserError(f"{folder} has {found} images, and the spec asks for {data.images}: complete it.")
    picture = Picture(channels=3, size=data.size, crop=data.crop)
    return (stream(folder, _entries(folder, data.images), None, data.images, picture, "refuse"),)


def _count(folder: Path, category: str) -> int:
    """The number of images in a database whose file is whole: one that is cut off would kill its reader."""
    if not (folder / FILE).is_file():
        raise UserError(
            f"{folder / FILE} is missing. Unpack {ADDRESS}/{category}_train_lmdb.zip into {folder.parent}, or set "
            f"{ROOT} to a folder that has {folder.name}."
        )
    with _opened(folder) as database:
        described, size = database.stat(), (folder / FILE).stat().st_size
        needed = (database.info()["last_pgno"] + 1) * described["psize"]
    if size < needed:
        raise UserError(f"{folder / FILE} is cut off at {size} of {needed} bytes: unpack it again.")
    return int(described["entries"])


def _entries(folder: Path, count: int) -> Iterator[Entry]:
    with _opened(folder) as database, database.begin() as transaction:
        for _, (key, value) in zip(range(count), transaction.cursor(), strict=False):
            yield key.decode("ascii", "backslashreplace"), partial(bytes, value)


@contextmanager
def _opened(folder: Path) -> Iterator[Any]:
    """The database, for reading; what the library says of a damaged one is an error that a user can mend."""
    import lmdb

    try:
        with lmdb.open(str(folder), readonly=True, lock=False, readahead=False) as database:
            yield database
    except lmdb.Error as error:
        raise UserError(f"{folder} can't be read as an LMDB database ({error}): unpack it again.") from None
