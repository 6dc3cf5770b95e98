"""The files of a stored denoiser, in diffusers' layout, plus what its numbers mean. Nothing here needs torch.

config.json, diffusion_pytorch_model.safetensors    as diffusers writes and reads them
denoiser.json                                       the contract: T, noise schedule, prediction, time input
sampler.json                                        a student's sampler; a teacher has none
"""

import shutil
from pathlib import Path

from sfddm.diffusion.sampler import Sampler
from sfddm.errors import UserError, missing
from sfddm.files import digest, digest_file, read_json, write_json

WEIGHTS = "diffusion_pytorch_model.safetensors"
CONFIG = "config.json"
CONTRACT = "denoiser.json"
SAMPLER = "sampler.json"


def copy_denoiser(source: Path, folder: Path) -> None:
    """Copy a stored denoiser, without a sampler, into an existing folder."""
    for name in (CONFIG, CONTRACT, WEIGHTS):
        try:
            shutil.copyfile(source / name, folder / name)
        except FileNotFoundError:
            raise missing(source / name) from None


def write_sampler(folder: Path, sampler: Sampler) -> None:
    """Store how a student is sampled."""
    write_json(folder / SAMPLER, sampler.to_json())


def read_sampler(folder: Path) -> Sampler:
    """How the student in `folder` is sampled."""
    try:
        return Sampler.from_json(read_json(folder / SAMPLER))
    except (TypeError, KeyError) as error:
        raise UserError(f"{folder / SAMPLER} does not describe a sampler: {error}") from None


def denoiser_digest(folder: Path) -> str:
    """Hash of all that decides what the network in `folder` puts out."""
    return digest({name: digest_file(folder / name) for name in (CONFIG, CONTRACT, WEIGHTS)})


def weights_digest(folder: Path) -> str:
    """SHA-256 of the weights' file."""
    return digest_file(folder / WEIGHTS)
