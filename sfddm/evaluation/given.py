"""Statistics of real images that others computed: `.npz` files as the field's tools write and publish them."""

import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np
import torch
from attrs import frozen

from sfddm.errors import UserError
from sfddm.evaluation.frechet import Moments
from sfddm.runtime.files import check_regular

BROKEN = ValueError, OSError, EOFError, KeyError, TypeError, OverflowError, MemoryError, RecursionError
"""What numpy raises on a damaged file, its header being a Python literal."""


@frozen
class Given:
    """Moments from a file."""

    moments: Moments
    digest: str


def read_statistics(path: Path, sha256: str, images: int, features: int) -> Given:
    """The moments in an `.npz` file with `mu` [D] and `sigma` [D, D], of so many images.

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
        raise UserError(f"{path} is no file of statistics ({error}): expected an .npz with mu and sigma.") from None
    if mean.shape != (features,) or covariance.shape != (features, features):
        raise UserError(f"{path}: mu {list(mean.shape)} and sigma {list(covariance.shape)} are not of the scorer's "
                        f"{features} features.")  # fmt: skip
    if not bool(mean.isfinite().all() and covariance.isfinite().all()) or not torch.allclose(covariance, covariance.T):
        raise UserError(f"{path}: mu and sigma are no mean and covariance: not finite, or sigma is not symmetric.")
    return Given(Moments(images, mean, covariance), sha256[:16])
