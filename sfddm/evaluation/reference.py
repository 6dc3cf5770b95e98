"""The teacher's own images from the evaluation noises, which students should reproduce."""

from pathlib import Path

import numpy as np
import torch
from attrs import frozen

from sfddm.data.store import BYTES, read_array
from sfddm.diffusion.sampler import Sampler
from sfddm.evaluation.interpolation import strips
from sfddm.networks import storage
from sfddm.networks.generation import generate
from sfddm.networks.layout import weights_digest
from sfddm.runtime.files import atomic_folder, digest_file, write_json
from sfddm.runtime.processes import is_main
from sfddm.spec.parse import read_stored


@frozen(kw_only=True)
class Reference:
    """The teacher's own images from the evaluation noises, and how they were made."""

    images: np.ndarray
    """uint8 [n, C, H, W], memory-mapped."""
    strips: np.ndarray
    """Along interpolations of noises, uint8 [PAIRS, STEPS, C, H, W]; see `sfddm.evaluation.interpolation`."""
    sampler: Sampler
    weights: str
    digest: str


@frozen(kw_only=True)
class _Description:
    """reference.json."""

    sampler: Sampler
    weights: str


def write_reference(
    out: Path, teacher: Path, sampler: Sampler, seed: int, count: int, batch_size: int, device: torch.device
) -> None:
    """Draw the teacher's images and store them in the folder `out`, whole or not at all."""
    network = storage.load(teacher, device)
    images = generate(network, sampler, seed, count, batch_size, "reference")
    between = strips(network, sampler, seed, batch_size)
    if not is_main():
        return
    with atomic_folder(out) as folder:
        np.save(folder / "images.npy", images)
        np.save(folder / "strips.npy", between)
        write_json(folder / "reference.json", {"sampler": sampler.to_json(), "weights": weights_digest(teacher)})


def read_reference(folder: Path) -> Reference:
    """Read what `write_reference` stored.

    Raises:
        UserError: a file is missing or damaged.
    """
    described = read_stored(folder / "reference.json", _Description)
    return Reference(
        images=read_array(folder / "images.npy", BYTES, 4),
        strips=read_array(folder / "strips.npy", BYTES, 5),
        sampler=described.sampler,
        weights=described.weights,
        digest=digest_file(folder / "images.npy")[:16],
    )
