"""Fashion-MNIST (Xiao et al. 2017)."""

from sfddm.data.sets import idx
from sfddm.data.store import Stream
from sfddm.spec.data import FashionMNIST


def load(data: FashionMNIST) -> tuple[Stream, Stream]:
    """The authors' training and test split; everything else is as `idx.load` says."""
    return idx.load("FashionMNIST", data.size, "https://github.com/zalandoresearch/fashion-mnist")
