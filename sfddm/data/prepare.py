"""From a data set's source to stored splits."""

from pathlib import Path

from sfddm.data import store
from sfddm.data.store import SPLITS, Stream
from sfddm.runtime.files import write_json
from sfddm.runtime.kinds import import_kind
from sfddm.spec.data import Data


def load(data: Data) -> tuple[Stream, ...]:
    """The training split and, where some images are held out of it, those: from the module that the kind names.

    A module of a data set has one function, `load`, from the spec's section to these streams.

    Raises:
        UserError: the data set is not there and can't be downloaded, or it is damaged; some sources say so only when
            their blocks are read.
    """
    streams: tuple[Stream, ...] = import_kind("data", data.kind).load(data)
    return streams


def prepare(data: Data, folder: Path) -> None:
    """Store the splits of a data set, and what is in them, in an existing folder.

    Raises:
        UserError: as `load`.
    """
    streams = dict(zip(SPLITS, load(data), strict=False))
    content = {split: store.write(folder, split, stream, data.shape) for split, stream in streams.items()}
    labels = [store.read_labels(folder, split) for split in streams]
    classes = max((int(found.max()) + 1 for found in labels if found is not None), default=0)
    # Sets whose section has no such field are never mirrored.
    flip = {store.FLIP: True} if getattr(data, "flip", False) else {}
    write_json(folder / store.DESCRIPTION, {"shape": list(data.shape), "classes": classes, **flip, **content})
