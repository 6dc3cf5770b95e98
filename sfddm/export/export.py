"""A stored student in another format: written, read back, and compared with its own images before it is kept."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from attrs import frozen
from torch import Tensor

from sfddm.diffusion.sampler import Sampler
from sfddm.diffusion.sampling import sample
from sfddm.diffusion.schedule import NoiseSchedule
from sfddm.diffusion.solvers import SOLVERS
from sfddm.errors import UserError
from sfddm.export import Format, require_new
from sfddm.networks import storage
from sfddm.networks.contract import Contract
from sfddm.networks.denoiser import LUCIDRAINS, LucidrainsUNet, Network, class_of, time_input
from sfddm.networks.edm import EDMUNet2DModel
from sfddm.networks.layout import weights_digest
from sfddm.randomness import Purpose, normals
from sfddm.runtime.files import atomic_folder, write_json

CPU = torch.device("cpu")
TOLERANCE = 1e-4
"""How far a pixel, in a range of 2, may be from the student's own in what was exported."""
IMAGES = 3
"""How many are compared: not as many as the program is traced with, so that its batch is seen to be free."""
ABOUT = "export.json"


@frozen
class Exported:
    """The result of an export."""

    difference: float
    """How far a pixel is at most from the student's own."""
    size: int
    """Bytes of all files."""


Write = Callable[[Path, Any, dict[str, Any]], None]
Draw = Callable[[Path, Tensor, Tensor | None], Tensor]


def export(student: Path, sampler: Sampler, out: Path, form: Format, source: Mapping[str, str]) -> Exported:
    """Write the student in folder `student`, under a sampler, into the new folder `out`.

    `source` says in export.json which student it is.

    Raises:
        UserError: `out` is there already, a library is missing, the format has no place for the network, or what
            was written makes other images than the student; then nothing is left of it.
    """
    require_new(out)
    write, draw = _writer(form)
    denoiser = storage.load(student, CPU)
    network, contract = storage.load_network(student)
    require_exportable(student, network, contract, form)
    description = describe(contract, sampler)
    shape = denoiser.image_shape
    noise, step_noise = _noises(sampler, shape)
    with torch.inference_mode():
        told = denoiser.given(class_of(contract, torch.arange(IMAGES)))
        wanted = sample(told, noise, sampler, iter(() if step_noise is None else step_noise))
    with atomic_folder(out) as folder:
        write(folder, network.eval().requires_grad_(False), description)
        difference = float((draw(folder, noise, step_noise) - wanted).abs().max())
        if not difference <= TOLERANCE:
            raise UserError(
                f"what was exported makes other images than the student (a pixel differs by {difference:.2g}, at most "
                f"{TOLERANCE} is allowed): nothing was kept. A student that predicts noise alone magnifies rounding "
                "at its noisiest levels, one that predicts v or epsilon-sample does not; another version of torch or "
                "of the format's library may also do better."
            )
        about: dict[str, Any] = {**source, "weights": weights_digest(student)[:16], "format": form}
        about |= {"image_shape": list(shape), "difference": difference}
        write_json(folder / ABOUT, {**about, "student": description})
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return Exported(difference, size)


def require_exportable(student: Path, network: Network, contract: Contract, form: Format) -> None:
    """Raises: UserError: the format has no place for the network, or for what it is told."""
    own = "start: {kind: scratch, prediction: v, network: {kind: unet2d, ...}}"
    remedy = f"give the student a network of its own, as in `{own}`"
    if isinstance(network, LucidrainsUNet):
        raise UserError(
            f"{student} has a network of {LUCIDRAINS}, and only those of diffusers and EDM can be exported: {remedy}."
        )
    edm = isinstance(network, EDMUNet2DModel)
    if edm and contract.classes:
        raise UserError(
            f"{student} has one of EDM's networks and is told classes, for which no format has a place: {remedy}."
        )
    if edm and form == "diffusers":
        raise UserError(f"{student} has one of EDM's networks, which diffusers doesn't have: use torch-export or onnx.")
    if contract.classes and form != "diffusers":
        raise UserError(
            f"{student} is told classes, for which a program of {form} has no input: export it to diffusers."
        )


def _noises(sampler: Sampler, shape: tuple[int, int, int]) -> tuple[Tensor, Tensor | None]:
    noise = torch.from_numpy(normals(0, Purpose.EVALUATION_NOISE, range(IMAGES), shape))
    steps = sampler.nfe - 1
    if not SOLVERS[sampler.solver].stochastic or not steps:
        return noise, None
    drawn = normals(0, Purpose.STEP_NOISE, range(steps * IMAGES), shape)
    return noise, torch.from_numpy(drawn).reshape(steps, IMAGES, *shape)


def _writer(form: Format) -> tuple[Write, Draw]:
    """Raises: UserError: a library that the format needs is not installed."""
    if form == "diffusers":
        from sfddm.export.folder import draw_from_folder, write_folder

        return write_folder, draw_from_folder
    from sfddm.export import program

    if form == "torch-export":
        return program.write_program, program.draw_from_program
    try:
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(f"ONNX needs more libraries ({error}): pip install 'sfddm[export]'.") from None
    return program.write_onnx, program.draw_from_onnx


def describe(contract: Contract, sampler: Sampler) -> dict[str, Any]:
    """What `sfddm.export.bare` reads: the sampler and, for its levels alone, the schedule and the times.

    A network that is told its own index keeps being told it.
    """
    levels = [0, *sampler.levels]
    schedule = NoiseSchedule(contract.noise_schedule, contract.timesteps)
    return {
        "solver": sampler.solver,
        "clip_sample": sampler.clip_sample,
        "prediction": contract.prediction,
        "two_times": contract.two_times,
        "levels": levels,
        "alpha": schedule.alpha[levels].tolist(),
        "sigma": schedule.sigma[levels].tolist(),
        "told": time_input(contract)[levels].tolist(),
        **({"classes": contract.classes} if contract.classes else {}),
    }
