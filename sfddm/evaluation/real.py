"""What metrics need of the real images: moments, some of the features, and how far apart two halves are.

Made once, with the scorer, in one pass that holds one batch at a time. The moments can also come from a file."""

import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np
import torch
from attrs import frozen
from torch import Tensor

from sfddm.data.store import read_array
from sfddm.errors import UserError, damaged
from sfddm.evaluation.moments import Moments, MomentSums, flat_pixels, frechet_distance, pixel_moments
from sfddm.evaluation.scorers.extractor import Extractor, check_images
from sfddm.networks.weights import read_tensors, write_tensors
from sfddm.randomness import Purpose, generator
from sfddm.runtime.files import check_regular, write_json
from sfddm.spec.fields import Samples
from sfddm.spec.parse import read_stored

BROKEN = ValueError, OSError, EOFError, KeyError, TypeError, OverflowError, MemoryError, RecursionError
"""What numpy raises on a damaged file, whose header is a Python literal."""


@frozen
class FileMoments:
    """Moments from a file."""

    moments: Moments
    digest: str


def read_statistics(path: Path, sha256: str, images: int, features: int) -> FileMoments:
    """The moments in an `.npz` file with `mu` [D] and `sigma` [D, D], computed from so many images.

    Raises:
        UserError: the file is missing, its content has another SHA-256, or it holds no moments of D features.
    """
    try:
        check_regular(path)
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} can't be read ({error.strerror or error}): put the statistics there, or set "
                        "SFDDM_DATA_ROOT to the folder that has them.") from None  # fmt: skip
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise UserError(f"{path} has the SHA-256 {found}, and the spec expects {sha256}. Nothing of it was read.")
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            mean, covariance = (torch.from_numpy(arrays[name].astype(np.float64)) for name in ("mu", "sigma"))
    except (*BROKEN, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is not a file of statistics ({error}): expected an .npz with mu and sigma.") from None
    if mean.shape != (features,) or covariance.shape != (features, features):
        raise UserError(f"{path}: mu {list(mean.shape)} and sigma {list(covariance.shape)} are not of the scorer's "
                        f"{features} features.")  # fmt: skip
    if not bool(mean.isfinite().all() and covariance.isfinite().all()) or not torch.allclose(covariance, covariance.T):
        raise UserError(f"{path}: mu and sigma are not mean and covariance: not finite, or sigma is not symmetric.")
    return FileMoments(Moments(images, mean, covariance), sha256[:16])


KEPT = 10_000
"""Features that are held at once, real ones and each student's: for kernel distance, precision and recall."""
FEWEST = 10
"""Real images below which nothing has a meaning."""
STATISTICS, FEATURES, DESCRIPTION = "statistics.safetensors", "features.npy", "real.json"


@frozen(kw_only=True)
class Real:
    """The real images in a scorer's features, each in units of `scale`."""

    scale: Tensor
    """[D]: standard deviations of the real features, or ones."""
    moments: Moments
    """Moments that distances are measured to."""
    pixels: Moments
    features: Tensor
    """Features of at most `KEPT` images drawn without replacement, float32 [M, D]."""
    half: Moments
    """Moments of a random half of the images, or of as many as a student has."""
    distance: float
    """The floor: the Frechet distance between `half` and as many of the other images."""
    digest: str
    """Hash of the moments that distances are measured to."""


def write_real(
    folder: Path,
    extractor: Extractor,
    images: np.ndarray,
    samples: int,
    standardise: bool,
    from_file: FileMoments | None,
) -> None:
    """Store what `Real` holds in an existing folder.

    Args:
        folder: the scorer's.
        extractor: the scorer's network.
        images: real, uint8 [N, C, H, W].
        samples: n, how many images a student is judged by; the halves are not larger, so that the floor is the
            distance of as many images.
        standardise: divide each feature by its standard deviation over the real images.
        from_file: moments that distances are measured to, in place of those of `images`.

    Raises:
        UserError: images of the wrong kind, or too few.
    """
    check_images(images, extractor.shape, "the real images")
    if len(images) < FEWEST:
        raise UserError(f"{len(images)} real images: distances need at least {FEWEST}, better thousands.")
    half = min(len(images) // 2, samples)
    first, second, rest, kept = _gather(extractor, images, half)
    whole = (first + second + rest).moments()
    scale = whole.covariance.diagonal().sqrt() if standardise else torch.ones(extractor.features, dtype=torch.float64)
    one, other = (_in_units(sums.moments(), scale) for sums in (first, second))
    moments = _in_units(whole, scale) if from_file is None else from_file.moments
    pixels = pixel_moments(images)
    np.save(folder / FEATURES, (kept / scale.float()).numpy())
    write_tensors(folder / STATISTICS, {
        "scale": scale, "mean": moments.mean, "covariance": moments.covariance,
        "half_mean": one.mean, "half_covariance": one.covariance,
        "pixel_mean": pixels.mean, "pixel_covariance": pixels.covariance,
    })  # fmt: skip
    write_json(folder / DESCRIPTION, {
        "count": moments.count, "half": half, "pixel_count": len(images), "distance": frechet_distance(one, other),
        "digest": _digest(moments) if from_file is None else from_file.digest,
    })  # fmt: skip


@frozen(kw_only=True)
class _Description:
    """real.json."""

    count: Samples
    half: Samples
    pixel_count: Samples
    distance: float
    digest: str


def read_real(folder: Path, features: int, shape: tuple[int, int, int]) -> Real:
    """Read what `write_real` stored, for an extractor of so many features and images of that shape.

    Raises:
        UserError: a file is missing or damaged, or belongs to other features or images.
    """
    described, tensors = read_stored(folder / DESCRIPTION, _Description), _read_statistics(folder, features, shape)
    kept = read_array(folder / FEATURES, np.dtype(np.float32), 2)
    if kept.shape[1] != features or not FEWEST <= len(kept) <= KEPT or not np.isfinite(kept).all():
        raise damaged(folder / FEATURES, f"expected {features} finite features of each of {FEWEST} to {KEPT} images")
    return Real(
        scale=tensors["scale"],
        moments=Moments(described.count, tensors["mean"], tensors["covariance"]),
        pixels=Moments(described.pixel_count, tensors["pixel_mean"], tensors["pixel_covariance"]),
        features=torch.from_numpy(np.array(kept)),
        half=Moments(described.half, tensors["half_mean"], tensors["half_covariance"]),
        distance=described.distance,
        digest=described.digest,
    )


def _read_statistics(folder: Path, features: int, shape: tuple[int, int, int]) -> dict[str, Tensor]:
    pixels = flat_pixels(torch.empty(1, *shape, device="meta")).shape[1]
    sizes = {
        "scale": (features,), "mean": (features,), "covariance": (features, features),
        "half_mean": (features,), "half_covariance": (features, features),
        "pixel_mean": (pixels,), "pixel_covariance": (pixels, pixels),
    }  # fmt: skip
    tensors = read_tensors(folder / STATISTICS, {name: (torch.float64, size) for name, size in sizes.items()})
    if (tensors["scale"] <= 0).any():
        raise damaged(folder / STATISTICS, "expected a positive scale")
    return tensors


def keep(kept: list[Tensor], features: Tensor) -> None:
    """Add features [B, D] to a list that holds at most `KEPT` rows, as float32."""
    room = KEPT - sum(map(len, kept))
    if room:
        kept.append(features[:room].float().cpu())


def _gather(extractor: Extractor, images: np.ndarray, half: int) -> tuple[MomentSums, MomentSums, MomentSums, Tensor]:
    """Sums of two disjoint random halves and of the rest, and the first features, float32 [at most KEPT, D]."""
    order = generator(0, Purpose.SPLIT).permutation(len(images))
    kept: list[Tensor] = []
    parts = []
    for indices in (order[:half], order[half : 2 * half], order[2 * half :]):
        sums = MomentSums(extractor.features)
        for start in range(0, len(indices), extractor.batch):
            for features, _ in extractor.batches(images[np.sort(indices[start : start + extractor.batch])]):
                sums.add(features)
                keep(kept, features)
        parts.append(sums)
    return parts[0], parts[1], parts[2], torch.cat(kept)


def _in_units(moments: Moments, scale: Tensor) -> Moments:
    return Moments(moments.count, moments.mean / scale, moments.covariance / torch.outer(scale, scale))


def _digest(moments: Moments) -> str:
    content = moments.mean.numpy().tobytes() + moments.covariance.numpy().tobytes()
    return hashlib.sha256(content).hexdigest()[:16]
