"""scikit-learn's 8x8 digits."""

import numpy as np


def load() -> tuple[np.ndarray, np.ndarray]:
    """All images, uint8 [1797, 1, 8, 8] in 0..255, and their classes, int64 [1797]."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    return images[:, None], bunch.target.astype(np.int64)
