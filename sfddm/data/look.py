"""What a spec has to know of a folder of images."""

from pathlib import Path

from attrs import frozen
from PIL import Image

from sfddm.data.image_files import FORMATS, find_images
from sfddm.errors import UserError

LOOKED_AT = 1000
"""Images that are opened, evenly over the folder."""
GREY = ("1", "L", "LA")
"""Pillow's kinds of pixels without colour."""
UNPACK = (
    "python -c \"import os, numpy, PIL.Image; a = next(iter(numpy.load('{}').values())); os.mkdir('images'); "
    "a = a.transpose(0, 2, 3, 1) if a.shape[1] < 4 else a; "
    "[PIL.Image.fromarray(i.squeeze()).save(f'images/{{n:06}}.png') for n, i in enumerate(a)]\""
)
"""A command that writes the bytes [N, C, H, W], [N, H, W, C] or [N, H, W] of an .npz as files."""


@frozen(kw_only=True)
class Look:
    """What was seen of a folder."""

    images: int
    channels: int
    side: int
    """The shortest of all, in pixels."""
    smallest: str
    """The image that has it."""
    labelled: bool
    """Whether each image is in the folder of a class."""


def look_at(folder: Path) -> Look:
    """Count a folder's images, and open some of them.

    Raises:
        UserError: there is no such folder, or none of its images can be opened.
    """
    if folder.is_file():
        command = f" This writes its images into a folder `images`:\n{UNPACK.format(folder)}"
        raise UserError(f"{folder} is a file, and images are taken from folders alone."
                        f"{command if folder.suffix == '.npz' else ''}")  # fmt: skip
    names = find_images(folder)
    seen = []
    for name in names[:: -(-len(names) // LOOKED_AT)]:
        try:
            with Image.open(folder / name, formats=FORMATS) as image:
                seen.append((image.mode, min(image.size), name))
        except (OSError, ValueError, Image.DecompressionBombError):
            continue  # the data stage names it
    if not seen:
        raise UserError(f"{folder}: none of its images can be opened.")
    classes = {name.split("/")[0] for name in names if "/" in name}
    side, smallest = min((side, name) for _, side, name in seen)
    return Look(
        images=len(names),
        channels=1 if all(mode in GREY for mode, *_ in seen) else 3,
        side=side,
        smallest=smallest,
        labelled=len(classes) > 1 and all("/" in name for name in names),
    )
