"""Random numbers that depend on a seed, a purpose and a position alone.

No generator carries a state from one draw to the next: image i of a seed is the same whatever the batch size, the
number of processes or the point at which a run was resumed. Counter-based Philox streams (Salmon et al. 2011) make
that cheap.
"""

from enum import IntEnum
from functools import lru_cache

import numpy as np


class Purpose(IntEnum):
    """Which stream a draw belongs to, so that equal seeds for different purposes give different numbers."""

    EVALUATION_NOISE = 1
    TRAJECTORY_NOISE = 2
    TRAINING_BATCH = 3
    STEP_NOISE = 4
    SPLIT = 5
    EPOCH = 6
    SEARCH_NOISE = 7
    IMPORT_NOISE = 8
    FLIP = 9
    SCORE_NOISE = 10
    DROPOUT = 11
    AUGMENTATION = 12


def generator(seed: int, purpose: Purpose, index: int = 0) -> np.random.Generator:
    """The generator of one position in one stream."""
    return np.random.Generator(np.random.Philox(key=[seed, purpose], counter=[0, 0, index, 0]))


def normals(seed: int, purpose: Purpose, indices: range, shape: tuple[int, ...]) -> np.ndarray:
    """Standard normal numbers, float32 [len(indices), *shape], one independent draw per index."""
    draws = np.empty((len(indices), *shape), dtype=np.float32)
    for row, index in zip(draws, indices, strict=True):
        row[...] = generator(seed, purpose, index).standard_normal(shape, dtype=np.float32)
    return draws


def epoch_indices(seed: int, step: int, batch_size: int, size: int) -> np.ndarray:
    """Indices of the images in batch `step`, int64 [batch_size]: all `size` images come before any comes again.

    Epochs follow each other without a gap: a batch may contain the end of one and the start of the next.
    """
    first = step * batch_size
    indices = np.empty(batch_size, dtype=np.int64)
    done = 0
    while done < batch_size:
        epoch, position = divmod(first + done, size)
        taken = _epoch_order(seed, epoch, size)[position : position + batch_size - done]
        indices[done : done + len(taken)] = taken
        done += len(taken)
    return indices


@lru_cache(maxsize=2)
def _epoch_order(seed: int, epoch: int, size: int) -> np.ndarray:
    return generator(seed, Purpose.EPOCH, epoch).permutation(size)
