"""The teacher's own trajectories from noise, computed once and shared by every student that asks for the same ones."""

from collections.abc import Mapping
from contextlib import ExitStack, nullcontext
from math import prod
from pathlib import Path

import numpy as np
import torch
from attrs import frozen
from torch import Tensor

from sfddm.data.store import read_array, write_header
from sfddm.diffusion.sampler import Sampler
from sfddm.diffusion.sampling import trajectory
from sfddm.diffusion.spacing import finer
from sfddm.errors import UserError
from sfddm.networks.denoiser import Denoiser, class_of
from sfddm.randomness import Purpose, normals
from sfddm.runtime.files import atomic_folder, digest
from sfddm.runtime.fingerprint import fingerprint
from sfddm.runtime.locks import locked
from sfddm.runtime.machine import ieee, machine
from sfddm.runtime.processes import all_reduce_max, barrier, distributed_map, drawn_ahead, is_main
from sfddm.spec.parts import Cache
from sfddm.training.batches import sent, stored

BATCH, NUMBERS = 250, 2**20
"""Limits of a batch: trajectories, and numbers in their states at one level."""
Arrays = Mapping[str, tuple[np.dtype, tuple[int, ...]]]
"""Type and shape of each file's array. Noises come first, so that batches are written one after another."""


@frozen
class Trajectories:
    """The teacher's states and features on the way from N noises to N images."""

    states: Tensor
    """float32 [T' + 1, N, C, H, W]: the state at phi_k, with the image at k = 0."""
    features: Tensor
    """float16 [T', N, channels, H, W]: the teacher's features where the jump from phi_k lands, for k = 1..T'.

    The last jump lands on the image, where the teacher is never evaluated: the lowest level before it is used instead.
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
            "computing": teacher.computing,
            "machine": machine(1),  # each batch is computed by one process, however many share them
            "code": fingerprint(__name__),
        }
    )[:16]
    folder, arrays = cache / key, _arrays(teacher, len(levels), source.noises)
    with locked(cache / f"{key}.lock") if is_main() else nullcontext():
        (missing,) = all_reduce_max(is_main() and not _holds(folder, arrays))
        if missing:
            _compute(folder, arrays, teacher, levels, sampler, source)
    barrier()
    read = (read_array(folder / name, dtype, len(shape)) for name, (dtype, shape) in arrays.items())
    return Trajectories(*(stored(array.swapaxes(0, 1), teacher.device) for array in read))


def _arrays(teacher: Denoiser, steps: int, noises: int) -> Arrays:
    return {
        "states.npy": (np.dtype(np.float32), (noises, steps + 1, *teacher.image_shape)),
        "features.npy": (np.dtype(np.float16), (noises, steps, *teacher.feature_shape)),
    }


def _holds(folder: Path, arrays: Arrays) -> bool:
    """Whether the cache has these arrays, undamaged as far as their lengths tell."""
    try:
        return all(read_array(folder / name, dtype, 5).shape == shape for name, (dtype, shape) in arrays.items())
    except UserError:
        return False


def _compute(
    folder: Path, arrays: Arrays, teacher: Denoiser, levels: tuple[int, ...], sampler: Sampler, source: Cache
) -> None:
    """Compute all trajectories, batch by batch, into files: they may be larger than the memory."""
    size = min(BATCH, max(NUMBERS // prod(teacher.image_shape), 1))
    batches = [range(start, min(start + size, source.noises)) for start in range(0, source.noises, size)]
    noises = drawn_ahead(
        batches, lambda batch: normals(source.seed, Purpose.TRAJECTORY_NOISE, batch, teacher.image_shape)
    )
    computed = distributed_map(batches, lambda batch: _batch(_given(teacher, batch), levels, sampler, next(noises)))
    if not is_main():
        for _ in computed:
            pass
        return
    with atomic_folder(folder) as partial, ExitStack() as stack:
        files = [stack.enter_context((partial / name).open("wb")) for name in arrays]
        for file, (dtype, shape) in zip(files, arrays.values(), strict=True):
            write_header(file, dtype, shape)
        for parts in computed:
            for file, part in zip(files, parts, strict=True):
                file.write(part.contiguous().numpy().data)


def _given(teacher: Denoiser, numbers: range) -> Denoiser:
    return teacher.given(class_of(teacher.contract, torch.tensor(list(numbers), device=teacher.device)))


@ieee()
@torch.inference_mode()
def _batch(teacher: Denoiser, levels: tuple[int, ...], sampler: Sampler, noises: np.ndarray) -> tuple[Tensor, Tensor]:
    """States [B, T' + 1, C, H, W] and features [B, T', channels, H, W] of the trajectories from some noises.

    Raises:
        UserError: some are not finite.
    """
    # Jumps land on phi_1 < ... < phi_(T'-1), the last one near level 0.
    landings = (sampler.levels[0], *levels[:-1])
    passed, seen = dict[int, Tensor](), dict[int, Tensor]()
    for state in trajectory(teacher, sent(noises, teacher.device), sampler, iter(())):
        if state.level in (0, *levels):
            passed[state.level] = state.x
        if state.level in landings:
            seen[state.level] = _features(state.features)
    states = torch.stack([passed[level] for level in (0, *levels)], dim=1).cpu()
    features = torch.stack([seen[level] for level in landings], dim=1)
    if not bool(states.isfinite().all() and features.isfinite().all()):
        raise UserError("the teacher's trajectories have NaN or infinite numbers: its weights are probably corrupt.")
    return states, features


def _features(features: Tensor | None) -> Tensor:
    assert features is not None, "the network is evaluated at every level above 0"
    most = torch.finfo(torch.float16).max  # what is larger would become infinite
    return features.clamp(-most, most).half().cpu()
