"""Images in files of the usual formats: found, decoded, cropped, resized, and given out block by block.

What decides a pixel: the first frame alone; turned upright as its EXIF says; transparent parts on white; cropped, then
resized with Pillow's Lanczos filter, as EDM's tool for data sets does (Karras et al. 2022). Pillow computes that in
whole numbers, so it is the same on every machine.
"""

import os
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
from attrs import frozen
from PIL import Image, ImageOps, UnidentifiedImageError

from sfddm.data.store import Block, Stream
from sfddm.errors import UserError, printable
from sfddm.runtime.files import read_bytes
from sfddm.runtime.progress import Status
from sfddm.spec.data import Crop

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".webp")
FORMATS = ("BMP", "JPEG", "PNG", "WEBP")
"""No other decoder of Pillow is tried: some start programs."""
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
"""Pillow's kinds of pixels with up to 8 bits a channel."""
LARGEST = 256 * 2**20
"""Bytes of a file."""
BLOCK = 64 * 2**20
"""Bytes of decoded images in memory at once."""
SHOWN = 10
"""Names that an error lists."""
Entry = tuple[str, Callable[[], bytes]]
"""An image's name, and a function that reads its file."""
Corrupt = Literal["refuse", "skip"]


@frozen(kw_only=True)
class Picture:
    """The form that each image is given: uint8 [channels, size, size]."""

    channels: int
    size: int
    crop: Crop


def find_images(folder: Path) -> list[str]:
    """The images in a folder and in the folders inside it, as paths below it, in the order of these.

    Names that begin with a dot are passed over; files of other kinds are counted.

    Raises:
        UserError: there is no such folder, no image in it, or a link that leads out of it.
    """
    if not folder.is_dir():
        raise UserError(
            f"{folder} is not a folder: put the images there, or set SFDDM_DATA_ROOT to the folder above it."
        )
    found: list[str] = []
    others: Counter[str] = Counter()
    for path in _walk(folder, folder.resolve()):
        if path.suffix.lower() in SUFFIXES:
            found.append(path.relative_to(folder).as_posix())
        else:
            others[path.suffix.lower() or "no suffix"] += 1
    if not found:
        raise UserError(f"{folder} has no images: none of its files ends in {', '.join(SUFFIXES)}.")
    if others:
        kinds = ", ".join(f"{count} {printable(suffix)}" for suffix, count in others.most_common(SHOWN))
        print(f"{folder}: {others.total()} files are not images by their names: {kinds}", file=sys.stderr, flush=True)
    return sorted(found)


def _walk(folder: Path, inside: Path) -> Iterator[Path]:
    """Files whose paths have no part that begins with a dot; links have to stay `inside`."""
    for here, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for path in (Path(here, name) for name in (*folders, *files) if not name.startswith(".")):
            if path.is_symlink() and (path.is_dir() or not path.resolve().is_relative_to(inside)):
                raise UserError(
                    f"{path} is a link to a folder or out of {folder}: put the images themselves there, or a copy."
                )
        yield from (Path(here, name) for name in files if not name.startswith("."))


def entries(folder: Path, names: Iterable[str]) -> Iterator[Entry]:
    """Files below a folder."""
    return ((name, partial(read_bytes, folder / name, LARGEST)) for name in names)


def stream(
    where: Path, files: Iterable[Entry], labels: np.ndarray | None, count: int, picture: Picture, corrupt: Corrupt
) -> Stream:
    """Images decoded by all cores, `BLOCK` at a time.

    Args:
        where: what errors and the progress line call the set.
        files: the images.
        labels: their classes, int64 [count], where they have any.
        count: how many they are.
        picture: what they are made into.
        corrupt: what becomes of those that can't be used.

    Raises:
        UserError: when the last block was read, if some can't be used and `corrupt` is "refuse": counted, and named.
    """
    return Stream(count, _blocks(where, iter(files), labels, count, picture, corrupt))


def _blocks(
    where: Path, files: Iterator[Entry], labels: np.ndarray | None, count: int, picture: Picture, corrupt: Corrupt
) -> Iterator[Block]:
    shape = (picture.channels, picture.size, picture.size)
    together = max(BLOCK // int(np.prod(shape)), 1)
    faults: list[str] = []
    done = 0
    with warnings.catch_warnings(), ThreadPoolExecutor() as pool, Status(f"reading {where}", count, "img") as status:
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        while chunk := list(islice(files, together)):
            made = list(pool.map(partial(_try, picture), chunk))
            usable = np.array([not isinstance(each, str) for each in made])
            images = np.array([each for each in made if not isinstance(each, str)], np.uint8).reshape(-1, *shape)
            bad = {name: each for (name, _), each in zip(chunk, made, strict=True) if isinstance(each, str)}
            faults += [f"{printable(name)}: {printable(reason)}" for name, reason in bad.items()]
            yield Block(images, None if labels is None else labels[done : done + len(chunk)][usable], tuple(bad))
            done += len(chunk)
            status.update(done, f"{len(faults)} unusable, " if faults else "")
    if faults:
        _report(f"{where}: {len(faults)} of {count} images can't be used", faults, corrupt)


def _report(what: str, faults: list[str], corrupt: Corrupt) -> None:
    listed = [f"  {fault}" for fault in faults[:SHOWN]]
    more = [f"  and {len(faults) - SHOWN} more"] if len(faults) > SHOWN else []
    if corrupt == "refuse":
        remedy = ["Replace them or take them out; a folder's spec may also say `corrupt: skip`."]
        raise UserError("\n".join([f"{what}:", *listed, *more, *remedy]))
    print("\n".join([f"{what}, and are left out:", *listed, *more]), file=sys.stderr, flush=True)


def _try(picture: Picture, file: Entry) -> np.ndarray | str:
    """The image, or why it can't be used."""
    try:
        return decode(file[1](), picture)
    except MemoryError:
        raise
    except UnidentifiedImageError:
        return f"no image of the formats {', '.join(FORMATS)}"
    except Exception as error:  # a decoder that is given anything raises anything
        return (str(error) or repr(error)).splitlines()[0]


def decode(content: bytes, picture: Picture) -> np.ndarray:
    """A file's content as uint8 [channels, size, size].

    Raises:
        Exception: Pillow's own, of a file that it can't read or of more pixels than its limit.
        ValueError: more than 8 bits a channel, or fewer pixels than are asked for.
    """
    with Image.open(BytesIO(content), formats=FORMATS) as opened:
        if opened.mode not in MODES:
            raise ValueError(f"pixels of kind {opened.mode}: convert it to 8 bits a channel")
        image: Image.Image = ImageOps.exif_transpose(opened)
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    image = image.convert("L" if picture.channels == 1 else "RGB")
    width, height = image.size
    side = min(image.size)
    if side < picture.size:
        raise ValueError(f"{width}x{height} pixels, fewer than {picture.size}x{picture.size}")
    if picture.crop == "center":
        left, top = (width - side) // 2, (height - side) // 2
        image = image.crop((left, top, left + side, top + side))
    pixels = np.asarray(image.resize((picture.size, picture.size), Image.Resampling.LANCZOS))
    return pixels.reshape(picture.size, picture.size, picture.channels).transpose(2, 0, 1)
