"""Images of another tool, judged by a spec's scorers beside the teacher's.

They come from noises of their own, so nothing is compared image by image; distances and their errors are as in the
rows of a comparison. Files come in any order, often class by class, while an error needs blocks that are alike: so
images are put in an order that depends on themselves alone, and then at random.
"""

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile
from zlib import error as ZlibError

import numpy as np

from sfddm.data.image_files import Picture, entries, find_images, stream
from sfddm.errors import UserError
from sfddm.evaluation.distances import distances
from sfddm.evaluation.measure import notes
from sfddm.evaluation.metrics import PANEL, SCORERS
from sfddm.evaluation.moments import Sample
from sfddm.evaluation.real import BROKEN, FEWEST
from sfddm.evaluation.reference import Reference
from sfddm.evaluation.scorer import Scorer
from sfddm.evaluation.scorers.extractor import check_images
from sfddm.evaluation.views import teachers_view
from sfddm.randomness import Purpose, generator

ARRAYS = ("images", "arr_0")
"""Names that an .npz may have its images under: ours, and numpy's own, which ADM's evaluation files use."""


def read_images(path: Path, shape: tuple[int, int, int]) -> np.ndarray:
    """Images, uint8 [N, C, H, W], of a folder of image files or of an .npz with [N, C, H, W] or [N, H, W, C].

    Args:
        path: the folder or the file.
        shape: channels, height and width, which images of a folder must have.

    Raises:
        UserError: it is neither, it is damaged, or images have another size.
    """
    if path.is_dir():
        return _of_folder(path, shape)
    if path.suffix != ".npz":
        raise UserError(f"{path}: expected a folder of images or a file that ends in .npz.")
    try:
        with ZipFile(path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
        key = next((name for name in ARRAYS if name in names), None)
        if key is None:
            raise UserError(f"{path} has {', '.join(names)}: expected an array called {' or '.join(ARRAYS)}.")
        with np.load(path, allow_pickle=False) as arrays:
            images: np.ndarray = arrays[key]
    except (*BROKEN, BadZipFile, ZlibError) as error:
        raise UserError(f"{path} is damaged ({error}): expected an .npz with an array of images.") from None
    if images.ndim == 4 and images.shape[1:] != shape and images.shape[1:] == (*shape[1:], shape[0]):
        images = images.transpose(0, 3, 1, 2)
    return images


def _of_folder(folder: Path, shape: tuple[int, int, int]) -> np.ndarray:
    names, picture = find_images(folder), Picture(channels=shape[0], size=shape[1], crop="center")
    found = stream(folder, entries(folder, names), None, len(names), picture, "refuse")
    return np.concatenate([block.images for block in found.blocks])


def judge(
    images: np.ndarray, reference: Reference, panel: Mapping[str, Scorer], label: str, views: Path
) -> dict[str, Any]:
    """What each scorer says of images, uint8 [N, C, H, W], under those keys of metrics.json that need no common noises.

    The teacher's images are kept in `views` as scorers see them.

    Raises:
        UserError: images of another kind than the teacher's, or too few.
    """
    check_images(images, reference.images.shape[1:], label)
    if len(images) < FEWEST:
        raise UserError(f"{label}: {len(images)} images, and distances need at least {FEWEST}, better thousands.")
    said, order = {}, _order(images)
    for name, scorer in panel.items():
        teachers = Sample(teachers_view(scorer, reference, views, f"scoring by {name}, the teacher's").features)
        own = Sample(scorer.view(images, f"scoring by {name}").features[order])
        said[name] = {**distances(own, teachers, scorer.real), "real_images": len(scorer.real.sample.features)}
    noted = [f"{name}: {note}" for name, scorer in panel.items() for note in notes(len(images), scorer)]
    return {"samples": len(images), PANEL: list(panel), SCORERS: said, "notes": noted}


def _order(images: np.ndarray) -> np.ndarray:
    """The same images in the same order, however they came; equal ones are not next to each other."""
    by_content = sorted(range(len(images)), key=lambda place: sha256(images[place].tobytes()).digest())
    return np.array(by_content)[generator(0, Purpose.SPLIT).permutation(len(images))]
