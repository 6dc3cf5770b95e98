"""A scorer whose features and classes are known, and the measures as their papers write them, in numpy."""

from pathlib import Path

import numpy as np
import torch
from scipy.linalg import sqrtm
from torch import Tensor

from sfddm.diffusion.sampler import Sampler
from sfddm.evaluation.measure import Drawn
from sfddm.evaluation.real import Splits, read_real, write_real
from sfddm.evaluation.reference import Reference
from sfddm.evaluation.scorer import Scorer
from sfddm.evaluation.scorers.extractor import Extractor

SHAPE = (1, 2, 3)
MIXING = np.array([[1.0, 0, 0], [0.5, 1, 0], [0, -1, 0], [0, 0, 2], [0, 0.25, 1], [-1, 0, 0.5]])
"""What the features are of the six pixels."""


def features_of(images: np.ndarray) -> np.ndarray:
    """Three sums of the pixels in [-1, 1], float64 [N, 3]."""
    return (images.reshape(len(images), 6) / 127.5 - 1) @ MIXING


def classes_of(images: np.ndarray) -> np.ndarray:
    """0, 1 or 2: which of an image's first three pixels is the brightest."""
    return images.reshape(len(images), 6)[:, :3].argmax(1)


def extractor(batch: int = 4) -> Extractor:
    """What gives these features and classes."""

    def extract(images: np.ndarray) -> tuple[Tensor, Tensor]:
        scores = images.reshape(len(images), 6)[:, :3].astype(np.float32)
        return torch.from_numpy(features_of(images).astype(np.float32)), torch.from_numpy(scores)

    return Extractor(
        kind="sums", version="3 of pixels", digest="0123456789abcdef", shape=SHAPE, features=3, classes=3, batch=batch,
        extract=extract,
    )  # fmt: skip


def images(seed: int, count: int, brightest: int = 256) -> np.ndarray:
    """uint8 [count, 1, 2, 3]."""
    return np.random.default_rng(seed).integers(0, brightest, (count, *SHAPE)).astype(np.uint8)


def splits(train: np.ndarray, test: np.ndarray | None = None, seen: int = 0) -> Splits:
    """Real images, of which a scorer was trained with the first so many training images."""
    return Splits(train=train, test=test, unseen=np.arange(seen, len(train)))


def scorer(folder: Path, real: np.ndarray, samples: int, standardise: bool = False) -> Scorer:
    """One that judges `samples` images against held-out ones; the training images are others."""
    judge = extractor()
    folder.mkdir(parents=True, exist_ok=True)
    write_real(folder, judge, splits(images(99, 80), real), samples, standardise, None)
    return Scorer(judge, read_real(folder))


def reference(teachers: np.ndarray, strips: np.ndarray | None = None) -> Reference:
    """The teacher's images; a strip of the first two, where others are not given."""
    sampler = Sampler(solver="ddim", levels=(64,), clip_sample=True)
    between = teachers[None, :2] if strips is None else strips
    return Reference(images=teachers, strips=between, sampler=sampler, weights="weights", digest="digest")


def drawn(own: np.ndarray, strips: np.ndarray | None = None) -> Drawn:
    """A student's images; a strip of the first two, where others are not given."""
    return Drawn(images=own, strips=own[None, :2] if strips is None else strips)


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """Between features [N, D] and [M, D] (Heusel et al. 2017)."""
    means, covariances = ([x.mean(0) for x in (a, b)], [np.cov(x.T) for x in (a, b)])
    product = sqrtm(covariances[0] @ covariances[1]).real
    return float(((means[0] - means[1]) ** 2).sum() + np.trace(covariances[0] + covariances[1] - 2 * product))


def kernel(a: np.ndarray, b: np.ndarray) -> float:
    """Squared maximum mean discrepancy, without bias (Binkowski et al. 2018), of features [N, D] and [M, D]."""

    def values(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (x @ y.T / x.shape[1] + 1) ** 3

    def within(x: np.ndarray) -> float:
        others = ~np.eye(len(x), dtype=bool)
        return float(values(x, x)[others].mean())

    return within(a) + within(b) - 2 * float(values(a, b).mean())


def share_inside(points: np.ndarray, region: np.ndarray) -> float:
    """Precision of points [N, D], or recall with the two exchanged (Kynkaanniemi et al. 2019, k = 3)."""
    radii = [sorted(np.linalg.norm(region - center, axis=1))[3] for center in region]
    return float(np.mean([(np.linalg.norm(region - point, axis=1) <= radii).any() for point in points]))
