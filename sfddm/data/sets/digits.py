"""scikit-learn's 8x8 digits."""

import numpy as np

from sfddm.data.store import Stream, whole
from sfddm.randomness import Purpose, generator
from sfddm.spec.data import Digits


def load(data: Digits) -> tuple[Stream, Stream]:
    """The training and the test split, images uint8 [N, 1, 8, 8] in 0..255."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
    labels = bunch.target.astype(np.int64)
    order = generator(data.split_seed, Purpose.SPLIT).permutation(len(images))
    train, test = order[: data.train], order[data.train :]
    return whole(images[train], labels[train]), whole(images[test], labels[test])
