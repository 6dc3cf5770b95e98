"""CelebA-HQ (Karras et al. 2018) in the usual folder of 256x256 pixels: celeba_hq_256/00000.jpg to 29999.jpg."""

from sfddm.data.image_files import Picture, entries, find_images, stream
from sfddm.data.source import ROOT, root
from sfddm.data.store import Stream
from sfddm.errors import UserError
from sfddm.spec.data import CelebAHQ

FOLDER = "celeba_hq_256"
"""Inside the folder of data sets."""


def load(data: CelebAHQ) -> tuple[Stream]:
    """The first images in the order of their names.

    Raises:
        UserError: the folder is missing or has fewer images; images that can't be used, when the last one was read.
    """
    folder = root() / FOLDER
    if not folder.is_dir():
        raise UserError(
            f"{folder} is missing, and CelebA-HQ can't be downloaded without an account. Put the 30,000 images of "
            f"256x256 pixels there (00000.jpg to 29999.jpg), or set {ROOT} to a folder that has them in {FOLDER}."
        )
    names = find_images(folder)
    if len(names) < data.images:
        raise UserError(f"{folder} has {len(names)} images, and the spec asks for {data.images}: complete it.")
    chosen = entries(folder, names[: data.images])
    return (stream(folder, chosen, None, data.images, Picture(channels=3, size=data.size, crop="center"), "refuse"),)
