"""The files of a stored denoiser, in diffusers' layout, plus what its numbers mean. Nothing here needs torch.

config.json, diffusion_pytorch_model.safetensors    as diffusers writes and reads them
diffusion_pytorch_model.NAME.safetensors            another average of the weights, which diffusers calls a variant
denoiser.json                                       the contract: T, noise schedule, prediction, time input
sampler.json                                        a student's sampler; a teacher has none
source.json                                         where an imported teacher comes from, and how well it denoises
cost.json                                           what a student cost; a teacher has none
"""

import shutil
from itertools import pairwise
from pathlib import Path

from sfddm.diffusion.sampler import Sampler
from sfddm.errors import damaged, missing
from sfddm.runtime.files import digest, digest_file, write_json
from sfddm.spec.parse import read_mapping, read_stored
from sfddm.spec.training import KEPT

WEIGHTS = "diffusion_pytorch_model.safetensors"
CONFIG = "config.json"
CONTRACT = "denoiser.json"
SAMPLER = "sampler.json"
SOURCE = "source.json"
COST = "cost.json"


def weights_file(average: str) -> str:
    """The file with the weights that are kept, or with another average of them."""
    return WEIGHTS if average == KEPT else WEIGHTS.replace(".", f".{average}.")


def copy_denoiser(source: Path, folder: Path, average: str = KEPT) -> None:
    """Copy a stored denoiser, without a sampler, into an existing folder; its weights, or another average of them."""
    for name, copied in ((CONFIG, CONFIG), (CONTRACT, CONTRACT), (weights_file(average), WEIGHTS)):
        try:
            shutil.copyfile(source / name, folder / copied)
        except FileNotFoundError:
            raise missing(source / name) from None


def write_sampler(folder: Path, sampler: Sampler) -> None:
    """Store how a student is sampled."""
    write_json(folder / SAMPLER, sampler.to_json())


def read_sampler(folder: Path) -> Sampler:
    """How the student in `folder` is sampled.

    Raises:
        UserError: the file is missing or damaged, or its levels are not those of its network.
    """
    sampler = read_stored(folder / SAMPLER, Sampler)
    timesteps = read_mapping(folder / CONTRACT).get("timesteps")
    if not isinstance(timesteps, int) or not rises_within(sampler.levels, timesteps) or not sampler.levels:
        raise damaged(folder / SAMPLER, f"expected levels that increase within 1..{timesteps}")
    return sampler


def rises_within(levels: tuple[int, ...], timesteps: int) -> bool:
    """Whether levels increase within 1..T."""
    return all(low < high for low, high in pairwise((0, *levels, timesteps + 1)))


def read_cost(folder: Path) -> dict[str, int]:
    """The cost of the student in `folder`, in forward-equivalents, as `Cost.to_json` has it.

    Raises:
        UserError: the file is missing or damaged.
    """
    return dict(read_mapping(folder / COST))


def denoiser_digest(folder: Path) -> str:
    """Hash of all that decides what the network in `folder` puts out."""
    return digest({name: digest_file(folder / name) for name in (CONFIG, CONTRACT, WEIGHTS)})


def weights_digest(folder: Path) -> str:
    """SHA-256 of the weights' file."""
    return digest_file(folder / WEIGHTS)
