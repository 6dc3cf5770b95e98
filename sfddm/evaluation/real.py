"""What metrics need of the real images, in a scorer's features.

Distances are measured to images that nothing was trained with: the test split, where the data have one. The floor is
the distance of other real images, which the scorer was not trained with either. The distance to the training images is
measured as well, because it shows who copies; the moments of those can also come from a file. All is made once, with
the scorer."""

import hashlib
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attrs import frozen
from torch import Tensor

from sfddm.data.store import read_array
from sfddm.errors import UserError
from sfddm.evaluation.moments import BLOCKS, Moments, MomentSums, Sample, frechet_distance
from sfddm.evaluation.scorers.extractor import Chosen, Extractor, check_images
from sfddm.networks.weights import read_tensors, write_tensors
from sfddm.randomness import Purpose, generator
from sfddm.runtime.files import check_regular, write_json
from sfddm.spec.fields import Natural
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


CPU = torch.device("cpu")
KEPT = 10_000
"""The most images that kernel distance, precision and recall look at, and the most real images that distances are
measured to."""
UNSEEN = 2
"""Position of what a scorer has not seen in the stream of splits."""
FEWEST = 2 * BLOCKS
"""Real images below which nothing has a meaning: a block has two."""
STATISTICS, FEATURES, DESCRIPTION = "statistics.safetensors", "features.npy", "real.json"


@frozen(kw_only=True)
class Real:
    """The real images in a scorer's features, each in units of `scale`."""

    scale: Tensor
    """[D]: standard deviations of the real features, or ones."""
    sample: Sample
    """The images that distances are measured to, at most `KEPT`, in random order."""
    held_out: bool
    """Whether nothing was trained with these."""
    train: Moments | None
    """Moments of the training images, or from a file; None where distances are measured to training images anyway."""
    floor: float | None
    """The Frechet distance of other real images; None where there are none that the scorer was not trained with."""
    floor_images: int
    """How many these are, at most as many as a student has; 0 where there are none."""
    digest: str
    """Hash of the features that distances are measured to."""


@frozen(kw_only=True)
class Splits:
    """Real images, uint8 [N, C, H, W], and which of them a scorer has seen."""

    train: np.ndarray
    test: np.ndarray | None
    unseen: np.ndarray
    """Places of the training images that the scorer was not trained with."""

    def divided(self, samples: int) -> tuple[Chosen, Chosen]:
        """What distances are measured to, in random order, and what gives the floor, at most `samples`.

        Raises:
            UserError: too few images are held out, or too few there at all; with the number that is needed.
        """
        unseen = generator(0, Purpose.SPLIT, UNSEEN).permutation(self.unseen)
        random = generator(0, Purpose.SPLIT)  # alone, so that blocks of held-out images are the same for all scorers
        if self.test is None:
            half = min(len(unseen) // 2, KEPT)
            images, real, rest = self.train, np.sort(unseen[:half]), unseen[half:]
            what = f": half of the {len(unseen)} training images that the scorer has not seen"
        else:
            images, real, rest = self.test, np.sort(random.permutation(len(self.test))[:KEPT]), unseen
            what = " held out"
        if len(real) < FEWEST:
            raise UserError(f"distances need at least {FEWEST} real images, better thousands, and there are "
                            f"{len(real)}{what}. Give the section `data` of the spec more.")  # fmt: skip
        return Chosen(images, random.permutation(real)), Chosen(self.train, np.sort(rest[: min(samples, KEPT)]))


def write_real(
    folder: Path,
    extractor: Extractor,
    splits: Splits,
    samples: int,
    standardise: bool,
    from_file: FileMoments | None,
) -> None:
    """Store what `Real` holds in an existing folder.

    Args:
        folder: the scorer's.
        extractor: the scorer's network.
        splits: the real images.
        samples: n, how many images a student is judged by; the floor is of as many, where there are.
        standardise: divide each feature by its standard deviation over the images that distances are measured to.
        from_file: moments in place of those of the training images.

    Raises:
        UserError: images of the wrong kind, or too few.
    """
    for split in (splits.train, *([] if splits.test is None else [splits.test])):
        check_images(split, extractor.shape, "the real images")
    real, floor = splits.divided(samples)
    features = _features(extractor, real)
    scale = features.double().std(0) if standardise else torch.ones(extractor.features, dtype=torch.float64)
    if not bool((scale > 0).all()):
        raise UserError("a feature of the scorer is the same for all real images: give its section another seed.")
    sample = Sample((features / scale).float())
    tensors = {"scale": scale}
    described: dict[str, Any] = {"floor": 0.0, "floor_images": 0, "train_images": 0}
    if len(floor) >= FEWEST:
        moments = Sample((_features(extractor, floor) / scale).float()).whole
        described |= {"floor": frechet_distance(moments, sample.whole), "floor_images": len(floor)}
    if from_file is not None or splits.test is not None:
        train = from_file.moments if from_file else _in_units(_moments(extractor, splits.train), scale)
        tensors |= {"train_mean": train.mean, "train_covariance": train.covariance}
        described |= {"train_images": train.count}
    np.save(folder / FEATURES, sample.features.numpy())
    write_tensors(folder / STATISTICS, tensors)
    digest = hashlib.sha256(sample.features.numpy().tobytes()).hexdigest()[:16]
    write_json(folder / DESCRIPTION, {**described, "held_out": splits.test is not None, "digest": digest})


@frozen(kw_only=True)
class _Description:
    """real.json."""

    floor: float
    floor_images: Natural
    train_images: Natural
    held_out: bool
    digest: str


def read_real(folder: Path, device: torch.device = CPU) -> Real:
    """Read what `write_real` stored, onto the device where its extractor works.

    Raises:
        UserError: a file is missing or damaged.
    """
    described = read_stored(folder / DESCRIPTION, _Description)
    tensors = {name: tensor.to(device) for name, tensor in read_tensors(folder / STATISTICS).items()}
    kept = read_array(folder / FEATURES, np.dtype(np.float32), 2)
    train = None
    if described.train_images:
        train = Moments(described.train_images, tensors["train_mean"], tensors["train_covariance"])
    return Real(
        scale=tensors["scale"],
        sample=Sample(torch.from_numpy(np.array(kept)).to(device)),
        held_out=described.held_out,
        train=train,
        floor=described.floor if described.floor_images else None,
        floor_images=described.floor_images,
        digest=described.digest,
    )


def _features(extractor: Extractor, images: Chosen) -> Tensor:
    return torch.cat([features.float().cpu() for features, _ in extractor.batches(images)])


def _moments(extractor: Extractor, images: np.ndarray) -> Moments:
    sums = MomentSums(extractor.features)
    for features, _ in extractor.batches(images):
        sums.add(features)
    return sums.moments()


def _in_units(moments: Moments, scale: Tensor) -> Moments:
    return Moments(moments.count, moments.mean.cpu() / scale, moments.covariance.cpu() / torch.outer(scale, scale))
