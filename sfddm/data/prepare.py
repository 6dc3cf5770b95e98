"""From a data set's source to stored splits."""

from importlib import import_module
from pathlib import Path

import numpy as np

from sfddm.data.store import SPLITS, Split
from sfddm.files import digest_file, write_json
from sfddm.spec.data import Data
from sfddm.spec.modules import module_name


def prepare(data: Data, folder: Path) -> None:
    """Read a data set with the module that its kind names, and store its splits, and what is in them, in `folder`.

    A module of a data set has one function, `load`: from the spec's section to the training and the test split.

    Raises:
        UserError: the data set is not there and can't be downloaded, or it is damaged.
    """
    splits: tuple[Split, Split] = import_module(f"sfddm.data.{module_name(data)}").load(data)
    content = {}
    for name, split in zip(SPLITS, splits, strict=True):
        np.save(folder / f"{name}.npy", split.images)
        np.save(folder / f"{name}_labels.npy", split.labels)
        content[name] = {"images": len(split.images), "sha256": digest_file(folder / f"{name}.npy")}
    classes = max(int(split.labels.max()) for split in splits) + 1
    write_json(folder / "data.json", {"shape": list(data.shape), "classes": classes, **content})
