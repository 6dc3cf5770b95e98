"""Which training images a scorer has learned from, and which are new to it."""

import numpy as np

from sfddm.randomness import Purpose, generator
from sfddm.spec.evaluation import Classifier, Scorer

HALVES = 1
"""Position of the halves in the stream of splits."""


def seen_by(scorer: Scorer, count: int) -> np.ndarray:
    """The indices, ascending, of those of `count` training images that a scorer learns from: for some kinds none.

    The two halves have no image in common and are the same for every scorer. An odd image belongs to the second.
    """
    if not isinstance(scorer, Classifier):
        return np.empty(0, dtype=np.int64)
    order, half = generator(0, Purpose.SPLIT, HALVES).permutation(count), count // 2
    parts = {"all": order, "first-half": order[:half], "second-half": order[half:]}
    return np.sort(parts[scorer.trained_on])


def unseen_by(scorer: Scorer, count: int) -> np.ndarray:
    """The indices, ascending, of the other training images: real ones that judge a scorer's floor fairly."""
    return np.setdiff1d(np.arange(count), seen_by(scorer, count), assume_unique=True)
