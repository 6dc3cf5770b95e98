"""The teacher's own trajectories from noise, computed once and shared by every student that asks for the same ones."""

from contextlib import nullcontext
from pathlib import Path

import diffusers
import torch
from attrs import frozen
from torch import Tensor

from sfddm.diffusion.sampler import Sampler
from sfddm.diffusion.sampling import trajectory
from sfddm.diffusion.spacing import finer
from sfddm.errors import UserError
from sfddm.networks.denoiser import Denoiser
from sfddm.networks.weights import Layout, filled_in, read_tensors
from sfddm.randomness import Purpose, normals
from sfddm.runtime.files import atomic_file, digest
from sfddm.runtime.fingerprint import fingerprint
from sfddm.runtime.locks import locked
from sfddm.runtime.processes import all_reduce_max, barrier, distributed_map, is_main
from sfddm.spec.parts import Cache
from sfddm.training.batches import resident, sent

BATCH = 250
"""Trajectories computed at a time."""


@frozen
class Trajectories:
    """What the teacher passes through on the way from N noises to N images."""

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
            "device": teacher.device.type,
            "computing": teacher.computing,
            "versions": [torch.__version__, diffusers.__version__],
            "code": fingerprint(__name__),
        }
    )[:16]
    path = cache / f"{key}.safetensors"
    layout = _layout(teacher, len(levels), source.noises)
    with locked(cache / f"{key}.lock") if is_main() else nullcontext():
        kept = _read(path, layout) if is_main() else None
        (missing,) = all_reduce_max(is_main() and kept is None)
        if missing:
            _compute(path, layout, teacher, levels, sampler, source)
    barrier()
    kept = kept or read_tensors(path, layout)
    return Trajectories(*(resident(kept[name], teacher.device) for name in ("states", "features")))


def _layout(teacher: Denoiser, steps: int, noises: int) -> Layout:
    channels, height, width = teacher.image_shape
    return {
        "states": (torch.float32, (steps + 1, noises, channels, height, width)),
        "features": (torch.float16, (steps, noises, teacher.config["block_out_channels"][0], height, width)),
    }


def _read(path: Path, layout: Layout) -> dict[str, Tensor] | None:
    """What is in the cache; None where nothing in it can be used."""
    try:
        return read_tensors(path, layout)
    except UserError:
        return None


def _compute(
    path: Path, layout: Layout, teacher: Denoiser, levels: tuple[int, ...], sampler: Sampler, source: Cache
) -> None:
    """Compute all trajectories, batch by batch, into a file: they may be larger than the memory."""
    batches = [range(start, min(start + BATCH, source.noises)) for start in range(0, source.noises, BATCH)]
    computed = distributed_map(batches, lambda batch: _batch(teacher, levels, sampler, source.seed, batch))
    if not is_main():
        for _ in computed:
            pass
        return
    with atomic_file(path) as partial, filled_in(partial, layout) as fill:
        for batch, (states, features) in zip(batches, computed, strict=True):
            fill("states", batch.start, states)
            fill("features", batch.start, features)


@torch.inference_mode()
def _batch(
    teacher: Denoiser, levels: tuple[int, ...], sampler: Sampler, seed: int, noises: range
) -> tuple[Tensor, Tensor]:
    """States [T' + 1, B, C, H, W] and features [T', B, channels, H, W] of the trajectories from some noises."""
    # Jumps land on phi_1 < ... < phi_(T'-1), the last one near level 0.
    landings = (sampler.levels[0], *levels[:-1])
    noise = sent(normals(seed, Purpose.TRAJECTORY_NOISE, noises, teacher.image_shape), teacher.device)
    passed = {state.level: state for state in trajectory(teacher, noise, sampler, iter(()))}
    states = torch.stack([passed[level].x for level in (0, *levels)])
    return states.cpu(), torch.stack([_features(passed[level].features) for level in landings])


def _features(features: Tensor | None) -> Tensor:
    assert features is not None, "the network is evaluated at every level above 0"
    return features.half().cpu()
