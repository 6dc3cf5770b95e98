"""From a data set's source to stored splits."""

from importlib import import_module
from pathlib import Path

import numpy as np

from sfddm.data.store import SPLITS
from sfddm.files import digest_file, write_json
from sfddm.randomness import Purpose, generator
from sfddm.spec.data import Data


def prepare(data: Data, folder: Path) -> None:
    """Read a data set with the module that its kind names, and store its splits, and what is in them, in `folder`."""
    images, labels = import_module(f"sfddm.data.{data.kind}").load()
    order = generator(data.split_seed, Purpose.SPLIT).permutation(len(images))
    content = {}
    for name, chosen in zip(SPLITS, (order[: data.train], order[data.train :]), strict=True):
        np.save(folder / f"{name}.npy", images[chosen])
        np.save(folder / f"{name}_labels.npy", labels[chosen])
        content[name] = {"images": len(chosen), "sha256": digest_file(folder / f"{name}.npy")}
    write_json(folder / "data.json", {"shape": list(images.shape[1:]), "classes": int(labels.max()) + 1, **content})
