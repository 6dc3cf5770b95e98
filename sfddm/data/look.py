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


@frozen(kw_only=True)
class Look:
    """What was seen of a folder."""

    images: int
    channels: int
    side: int
    """The shortest of all, in pixels."""
    labelled: bool
    """Whether each image is in the folder of a class."""


def look_at(folder: Path) -> Look:
    """Count a folder's images, and open some of them.

    Raises:
        UserError: there is no such folder, or none of its images can be opened.
    """
    names = find_images(folder)
    seen = []
    for name in names[:: -(-len(names) // LOOKED_AT)]:
        try:
            with Image.open(folder / name, formats=FORMATS) as image:
                seen.append((image.mode, min(image.size)))
        except (OSError, ValueError, Image.DecompressionBombError):
            continue  # the data stage names it
    if not seen:
        raise UserError(f"{folder}: none of its images can be opened.")
    classes = {name.split("/")[0] for name in names if "/" in name}
    return Look(
        images=len(names),
        channels=1 if all(mode in GREY for mode, _ in seen) else 3,
        side=min(side for _, side in seen),
        labelled=len(classes) > 1 and all("/" in name for name in names),
    )
