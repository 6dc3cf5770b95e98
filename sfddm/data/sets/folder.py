"""Any folder of images."""

from pathlib import Path

import numpy as np

from sfddm.data.image_files import Picture, entries, find_images, stream
from sfddm.data.source import root
from sfddm.data.store import Stream
from sfddm.errors import UserError
from sfddm.randomness import Purpose, generator
from sfddm.spec.data import Folder

MOST_CLASSES = 16_384
"""A classifier has an output for each."""


def load(data: Folder) -> tuple[Stream, ...]:
    """The images in the order of their paths, in two splits if some are held out.

    Raises:
        UserError: no such folder, no image in it, links out of it, no folders for the classes, too few images; images
            that can't be used, when the last one was read.
    """
    folder = root() / data.path
    names = find_images(folder)
    picture = Picture(channels=data.channels, size=data.size, crop=data.crop)
    labels = _labels(folder, names) if data.labelled else None
    if data.held_out >= len(names):
        raise UserError(f"{folder} has {len(names)} images: held_out ({data.held_out}) has to be fewer.")
    order = generator(data.split_seed, Purpose.SPLIT).permutation(len(names))
    parts = [np.sort(order[data.held_out :]), np.sort(order[: data.held_out])]
    return tuple(
        stream(
            folder,
            entries(folder, [names[i] for i in part]),
            None if labels is None else labels[part],
            len(part),
            picture,
            data.corrupt,
        )
        for part in parts
        if len(part)
    )


def _labels(folder: Path, names: list[str]) -> np.ndarray:
    """The number of each image's first folder, int64 [N]."""
    outside = [name for name in names if "/" not in name]
    if outside:
        raise UserError(
            f"{folder}: {len(outside)} images are not in the folder of a class, {outside[0]} for one: put each into "
            "the folder of its class, or set data.labels to none."
        )
    classes, labels = np.unique([name.split("/")[0] for name in names], return_inverse=True)
    if len(classes) > MOST_CLASSES:
        raise UserError(f"{folder} has {len(classes)} folders, more than the {MOST_CLASSES} classes that there may be.")
    numbers: np.ndarray = labels.astype(np.int64)
    return numbers
