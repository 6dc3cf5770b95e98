"""What judging images takes on this device, measured with a scorer of random weights on random images."""

from pathlib import Path

import numpy as np
import torch
from attrs import evolve, frozen

from sfddm.diffusion.sampler import Sampler
from sfddm.evaluation.distances import kernel_distances, precision_recall
from sfddm.evaluation.measure import measure as judge
from sfddm.evaluation.moments import Moments, frechet_distance
from sfddm.evaluation.real import KEPT, read_real, write_real
from sfddm.evaluation.reference import Reference
from sfddm.evaluation.scorer import Scorer as Judge
from sfddm.evaluation.scorers.classifier import Network
from sfddm.evaluation.scorers.extractor import Extractor, load_extractor
from sfddm.planning.rates import LONG_ENOUGH, now, timed, train_seconds, working_folder
from sfddm.runtime.kinds import import_kind
from sfddm.runtime.machine import device
from sfddm.spec.evaluation import Classifier, Scorer

MOST = 500
"""Images that are judged."""
FEWEST = 20
ROWS = 1000
"""Features between which distances of pairs are measured."""
DISTANCES = 8
"""Frechet distances of one student's figures."""


@frozen(kw_only=True)
class Scoring:
    """Seconds."""

    train: float
    """An image of the scorer's own training; 0 for a published network."""
    real: float
    """A real image, for the statistics."""
    image: float
    """An image of a student beside the teacher's, all that grows with their number."""
    pairs: float
    """Kernel distance, precision and recall of `ROWS` features on both sides; grows with the square."""
    distance: float
    """One Frechet distance."""
    features: int

    def of(self, samples: int) -> float:
        """All figures of so many images."""
        pairs = self.pairs * (min(samples, KEPT) / ROWS) ** 2
        return samples * self.image + pairs + DISTANCES * self.distance


def measure(settings: Scorer, shape: tuple[int, int, int], classes: int) -> Scoring:
    """Judge a few random images of `shape` with the scorer that `settings` describe."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (MOST, *shape), dtype=np.uint8)
    with working_folder() as folder:
        train, extractor = _extractor(settings, shape, classes, folder)
        count = _long_enough(extractor, images)
        pairs, distance = _pairs(extractor.features), _distance(extractor.features)
        began = now()
        write_real(folder, extractor, images[:count], count, False, None)
        real = max(now() - began - distance, 0) / count
        scorer = Judge(extractor, read_real(folder, extractor.features, extractor.shape))
        sampler = Sampler(solver="ddim", levels=(1,), clip_sample=True)
        reference = Reference(images=images[:count], strips=images[:1], sampler=sampler, weights="", digest="")
        whole = timed(lambda: judge(images[:count][::-1].copy(), reference, scorer, "measuring"), 1)
    rest = whole - pairs * (count / ROWS) ** 2 - DISTANCES * distance
    image = max(rest / count, real)  # a student's passes through the extractor as well
    return Scoring(train=train, real=real, image=image, pairs=pairs, distance=distance,
                   features=extractor.features)  # fmt: skip


def _extractor(settings: Scorer, shape: tuple[int, int, int], classes: int, folder: Path) -> tuple[float, Extractor]:
    """Seconds an image of its training, and the extractor, with random weights."""
    import_kind("scorer", settings.kind).write_random(folder, settings, shape)
    extractor = load_extractor(folder, device())
    if not isinstance(settings, Classifier):
        return 0.0, extractor
    network = Network(shape, settings.channels, settings.features, classes).to(device())
    size = min(settings.training.batch_size, MOST)
    batch = torch.zeros(size, *shape, device=device())
    seconds = train_seconds(network, evolve(settings.training, batch_size=size), lambda _: network(batch)[1]) / size
    return seconds, extractor


def _long_enough(extractor: Extractor, images: np.ndarray) -> int:
    """How many images take long enough to be measured."""
    count = FEWEST
    while count < MOST and timed(lambda: list(extractor.batches(images[:count])), 0) < LONG_ENOUGH:  # noqa: B023
        count = min(4 * count, MOST)
    return count


def _pairs(features: int) -> float:
    one, other = torch.randn(2, ROWS, features).unbind()

    def work() -> None:
        kernel_distances([one, *one.chunk(5)], other)
        precision_recall(one, other)

    return timed(work, 1)


def _distance(features: int) -> float:
    rows = torch.randn(ROWS, features, dtype=torch.float64)
    moments = Moments(ROWS, rows.mean(0), rows.T.cov())
    other = Moments(ROWS, rows.mean(0), rows.T.cov() + torch.eye(features, dtype=torch.float64))
    return timed(lambda: frechet_distance(moments, other), 1)
