"""MNIST (LeCun et al. 1998)."""

from sfddm.data.sets import idx
from sfddm.data.store import Stream
from sfddm.spec.data import MNIST


def load(data: MNIST) -> tuple[Stream, Stream]:
    """The authors' training and test split; everything else is as `idx.load` says."""
    return idx.load("MNIST", data.size, "https://ossci-datasets.s3.amazonaws.com/mnist")
