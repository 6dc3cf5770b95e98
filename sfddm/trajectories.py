"""The teacher's own trajectories from noise, computed once and shared by every student that asks for the same ones."""

import sys
from pathlib import Path

import diffusers
import torch
from attrs import frozen
from torch import Tensor

from sfddm import randomness
from sfddm.diffusion import alpha_bar, index_set, prediction, sampling, schedule, solvers
from sfddm.diffusion.index_set import finer
from sfddm.diffusion.sampler import Sampler
from sfddm.diffusion.sampling import trajectory
from sfddm.errors import UserError
from sfddm.files import atomic_file, digest, digest_file
from sfddm.locks import locked
from sfddm.networks import denoiser
from sfddm.networks.denoiser import Denoiser
from sfddm.networks.weights import read_tensors, write_tensors
from sfddm.randomness import Purpose, normals
from sfddm.spec.sources import Cache

CODE = (alpha_bar, denoiser, index_set, prediction, randomness, sampling, schedule, solvers, sys.modules[__name__])
"""The modules that decide what a trajectory is: a change in one of them makes a new one."""
BATCH = 250
"""Trajectories computed at a time."""


@frozen
class Trajectories:
    """What the teacher passes through on the way from N noises to N images."""

    states: Tensor
    """float32 [T' + 1, N, C, H, W]: the state at phi_k, with the image at k = 0."""
    features: Tensor
    """float16 [T', N, channels, H, W]: the teacher's features where the jump from phi_k lands, for k = 1..T'.

    The last jump lands on the image, where the teacher is never evaluated: the lowest level before it stands in.
    """


def load_or_compute(
    teacher: Denoiser,
    teacher_digest: str,
    levels: tuple[int, ...],
    source: Cache,
    cache: Path,
) -> Trajectories:
    """Trajectories through `levels` (phi_1 < ... < phi_T').

    They are kept in `cache` under the hash of all that they depend on, so a second student with the same index set and
    source reads them. Deleting the cache loses nothing but time.
    """
    contract = teacher.contract
    solver_levels = finer(levels, source.substeps, contract.noise_schedule, contract.timesteps)
    sampler = Sampler(solver=source.solver, levels=solver_levels, clip_sample=source.clip_sample)
    key = digest(
        {
            "teacher": teacher_digest,
            "sampler": sampler.to_json(),
            "levels": list(levels),
            "noises": source.noises,
            "seed": source.seed,
            "device": teacher.device.type,
            "versions": [torch.__version__, diffusers.__version__],
            "code": [digest_file(Path(str(module.__file__))) for module in CODE],
        }
    )[:16]
    path = cache / f"{key}.safetensors"
    with locked(cache / f"{key}.lock"):
        kept = _read(path, teacher, len(levels), source.noises)
        if kept is None:
            kept = _compute(teacher, levels, sampler, source)
            with atomic_file(path) as partial:
                write_tensors(partial, {"states": kept.states, "features": kept.features})
    return Trajectories(kept.states.to(teacher.device), kept.features.to(teacher.device))


def _read(path: Path, teacher: Denoiser, steps: int, noises: int) -> Trajectories | None:
    """What the cache holds; nothing where it holds nothing that can be used."""
    channels, height, width = teacher.image_shape
    expected = {
        "states": (torch.float32, (steps + 1, noises, channels, height, width)),
        "features": (torch.float16, (steps, noises, teacher.config["block_out_channels"][0], height, width)),
    }
    try:
        tensors = read_tensors(path, expected)
    except UserError:
        return None
    return Trajectories(tensors["states"], tensors["features"])


@torch.inference_mode()
def _compute(teacher: Denoiser, levels: tuple[int, ...], sampler: Sampler, source: Cache) -> Trajectories:
    # Jumps land on phi_1 < ... < phi_(T'-1), the last one near level 0.
    landings = (sampler.levels[0], *levels[:-1])
    states: list[list[Tensor]] = []
    features: list[list[Tensor]] = []
    for start in range(0, source.noises, BATCH):
        indices = range(start, min(start + BATCH, source.noises))
        noise = torch.from_numpy(normals(source.seed, Purpose.TRAJECTORY_NOISE, indices, teacher.image_shape)).to(
            teacher.device
        )
        passed = {state.level: state for state in trajectory(teacher, noise, sampler, iter(()))}
        states.append([passed[level].x.cpu() for level in (0, *levels)])
        features.append([_features(passed[level].features) for level in landings])
    return Trajectories(
        torch.stack([torch.cat(column) for column in zip(*states, strict=True)]),
        torch.stack([torch.cat(column) for column in zip(*features, strict=True)]),
    )


def _features(features: Tensor | None) -> Tensor:
    assert features is not None, "the network is evaluated at every level above 0"
    return features.half().cpu()
