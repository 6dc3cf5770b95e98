"""A few steps of each network on this device, at the spec's image size: seconds an image, and bytes.

Training is measured in the one training loop, sampling in the sampler that draws images. Batches grow until a step
takes long enough to be measured, or is the spec's own: a network that needs seconds for one image is measured on one.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from attrs import evolve, frozen
from torch import Tensor, nn

from sfddm.diffusion.sampler import Sampler
from sfddm.networks import storage
from sfddm.networks.denoiser import Contract, Denoiser, Evaluated, build, unet_config
from sfddm.networks.generation import draw
from sfddm.networks.student import first_student
from sfddm.pipeline.paths import Paths
from sfddm.randomness import Purpose, generator
from sfddm.runtime.machine import device
from sfddm.spec.experiment import Spec
from sfddm.spec.students import AnyStep
from sfddm.spec.students import Trained as TrainedMethod
from sfddm.spec.teacher import Trained
from sfddm.spec.training import Training
from sfddm.teachers.importing import find_teacher
from sfddm.training.batches import integers, noise_like, rows_of
from sfddm.training.checkpoints import Checkpoints
from sfddm.training.curve import Curve
from sfddm.training.loop import Losses, train

LONG_ENOUGH = 0.25
"""Seconds of a measured step."""
ITERATIONS = 6
"""Measured of a training, the first of them to warm up."""
FEWEST = 3
"""Instead, where a forward pass takes longer than `PATIENCE`; a step between two of them is what is measured."""
REPEATS = 3
PATIENCE = 2.0
"""Seconds: what takes longer is measured once."""
TRAINED_BYTES = 20
"""A parameter in training, in fp32: itself, its average, its gradient, and Adam's two moments."""


@frozen(kw_only=True)
class Speed:
    """One network in one training."""

    forward: float
    """Seconds an evaluation of one image, while sampling."""
    train: float
    """Seconds an image, forward and backward, with all that the loop does."""
    parameters: int
    activations: int
    """Bytes an image that a backward pass needs."""


def teacher_network(spec: Spec) -> Denoiser:
    """The teacher: the stored one where the pipeline has made it already, a found one, or one with fresh weights.

    Raises:
        UserError: a teacher that others trained is not there, or is not what the spec describes.
    """
    folder, teacher = Paths(spec.name).teacher, spec.teacher
    if folder.is_dir():
        return storage.load(folder, device()).requires_grad_(True)
    if not isinstance(teacher.source, Trained):
        return find_teacher(teacher, spec.data.shape).to(device()).requires_grad_(True)
    contract = Contract(
        timesteps=teacher.timesteps, noise_schedule=teacher.noise_schedule, prediction=teacher.prediction
    )
    return build(unet_config(teacher.source.network, spec.data.shape), contract, 0).to(device())


def student_network(teacher: Denoiser, method: TrainedMethod) -> Denoiser:
    """A student before its first iteration."""
    return first_student(teacher, method.start, 0, two_times=isinstance(method, AnyStep))


def speed(network: Denoiser, training: Training) -> Speed:
    """Measure a network; its weights are of no use afterwards."""
    size, forward = forward_seconds(network, training.batch_size)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    activations = _saved_bytes(network, training)
    iterations = FEWEST if size * forward > PATIENCE else ITERATIONS
    seconds = train_seconds(network, evolve(training, batch_size=size), _output(network, size), iterations)
    return Speed(forward=forward, train=seconds / size, parameters=parameters, activations=activations)


def forward_seconds(network: Denoiser, most: int) -> tuple[int, float]:
    """Seconds an evaluation of one image.

    Returns:
        How many images, at most `most`, went at a time when that took long enough, and the seconds.
    """
    timesteps = network.contract.timesteps
    sampler = Sampler(solver="ddim", levels=tuple(sorted({-(-timesteps // 2), timesteps})), clip_sample=True)
    size = 1
    while True:
        seconds = timed(lambda: draw(network, sampler, 0, range(size)), REPEATS)  # noqa: B023  # called at once
        if seconds > LONG_ENOUGH or size == most:
            return size, seconds / size / sampler.nfe
        size = min(4 * size, most)


def train_seconds(network: nn.Module, training: Training, output: Any, iterations: int = ITERATIONS) -> float:
    """Seconds an iteration of the training loop; `output` gives the network's output of an iteration's number.

    Nothing is compiled: that alone would take minutes.
    """
    marks: list[float] = []

    def loss(step: int, _: nn.Module) -> Losses:
        marks.append(now())
        result: Tensor = output(step)
        return {"loss": result.float().square().mean()}

    few = evolve(training, iterations=iterations, warmup=0, compile=False)
    with TemporaryDirectory() as name, Curve(Path(name) / "curve", "measuring", iterations, few.batch_size) as curve:
        train(network, loss, few, curve, Checkpoints(Path(name), {}))
    return median(after - before for before, after in pairwise(marks[1:]))


def _output(network: Denoiser, size: int) -> Any:
    where, timesteps = network.device, network.contract.timesteps
    like, rows = torch.empty(size, *network.image_shape, device=where), rows_of(size)

    def output(step: int) -> Tensor:
        random = generator(0, Purpose.TRAINING_BATCH, step)
        level = integers(random, 1, timesteps + 1, rows, where)
        evaluated: Evaluated = network(noise_like(random, rows, like), level, torch.zeros_like(level))
        return evaluated.output

    return output


def _saved_bytes(network: Denoiser, training: Training) -> int:
    """What one image leaves for its backward pass, weights aside."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    saved: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    bf16 = torch.autocast(network.device.type, torch.bfloat16, enabled=training.precision == "bf16")
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), bf16:
        _output(network, 1)(0)
    return sum(saved.values())


def start_seconds() -> float:
    """Seconds until a stage that needs torch has been imported."""
    return timed(lambda: subprocess.run([sys.executable, "-c", "import sfddm.evaluation.evaluate"], check=True), 0)


def timed(work: Any, repeats: int) -> float:
    """Median seconds of `repeats` calls after one that is not counted; of one call where `repeats` is 0.

    Where a call takes long, of one after the first.
    """
    seconds: list[float] = []
    while len(seconds) <= repeats and not (len(seconds) > 1 and seconds[-1] > PATIENCE):
        began = now()
        work()
        seconds.append(now() - began)
    return median(seconds[1:] or seconds)


def now() -> float:
    """Seconds on a clock, with the device's work done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


@contextmanager
def working_folder() -> Iterator[Path]:
    """A folder that vanishes."""
    with TemporaryDirectory() as name:
        yield Path(name)
