"""Images along spherical interpolations of noises: how smoothly a sampler follows its noise."""

import numpy as np

from sfddm.diffusion.sampler import Sampler
from sfddm.evaluation.scorer import Scorer
from sfddm.images import to_bytes
from sfddm.networks.denoiser import Denoiser
from sfddm.networks.generation import draw_from
from sfddm.randomness import Purpose, normals
from sfddm.runtime.processes import distributed_map

PAIRS = 64
"""Pairs of noises: the evaluation noises 0 and 1, 2 and 3, and so on."""
STEPS = 8
"""Images per pair, both ends included."""


def strips(denoiser: Denoiser, sampler: Sampler, seed: int, batch_size: int) -> np.ndarray:
    """The images, uint8 [PAIRS, STEPS, C, H, W], along the interpolations between pairs of the evaluation noises.

    With several processes, process 0 has them and the others have none.

    A stochastic sampler adds the same noise after each step to all images of a strip, so that what changes along it
    comes from the interpolation alone.

    Raises:
        UserError: the network produced NaN.
    """
    shape, streams = denoiser.image_shape, np.arange(PAIRS).repeat(STEPS).tolist()

    def draw(start: int) -> np.ndarray:
        stop = min(start + batch_size, len(streams))
        pairs = range(streams[start], streams[stop - 1] + 1)  # those alone: all noises of large images are gigabytes
        noise = paths(normals(seed, Purpose.EVALUATION_NOISE, range(2 * pairs.start, 2 * pairs.stop), shape))
        own = noise.reshape(-1, *shape)[start - STEPS * pairs.start :][: stop - start]
        return to_bytes(draw_from(denoiser, sampler, own, seed, streams[start:stop]))

    drawn = distributed_map(range(0, len(streams), batch_size), draw)
    return np.concatenate([np.empty((0, *shape), dtype=np.uint8), *drawn]).reshape(-1, STEPS, *shape)


def paths(noises: np.ndarray) -> np.ndarray:
    """Spherical interpolations, float32 [P, STEPS, ...], between each noise of [2 P, ...] and the one after it.

    sin((1 - t) w) / sin(w) a + sin(t w) / sin(w) b, w the angle between a and b (Shoemake 1985; Song, Meng and Ermon
    2021, appendix D.5): every point is as likely a noise as its ends, which on a straight line it is not.
    """
    a, b = (noises[end::2].reshape(len(noises) // 2, 1, -1).astype(np.float64) for end in (0, 1))
    cosine = (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
    angle = np.arccos(np.clip(cosine, -1, 1))[..., None]
    t = np.linspace(0, 1, STEPS)[None, :, None]
    points: np.ndarray = (np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / np.sin(angle)
    return points.astype(np.float32).reshape(-1, STEPS, *noises.shape[1:])


def path_length(images: np.ndarray, scorer: Scorer) -> float:
    """Length of the path through a scorer's features along a strip, mean over strips uint8 [P, S, C, H, W].

    It is the sum of the straight lines between consecutive images.
    """
    features = scorer.view(images.reshape(-1, *images.shape[2:])).features
    found = features.double().reshape(*images.shape[:2], -1)
    return float(found.diff(dim=1).norm(dim=2).sum(1).mean())
