"""Measuring a network at work: iterations of the real training loop, and images of the real sampler.

Everything that is compared is measured in turn, round after round, so that what else the machine does weighs on all of
it alike; a figure is the median over rounds.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from attrs import evolve, field, frozen
from torch.utils.flop_counter import FlopCounterMode

from sfddm.data.store import Split
from sfddm.diffusion.sampler import Sampler
from sfddm.networks.contract import Contract
from sfddm.networks.denoiser import Denoiser, build, unet_config
from sfddm.networks.generation import generate
from sfddm.runtime.machine import device
from sfddm.spec.teacher import Network
from sfddm.spec.training import Training
from sfddm.training.loop import begin, iterate
from sfddm.training.teacher import denoising_loss

FORWARD_EQUIVALENTS = 3
"""What a forward and a backward pass of one image cost."""
IMAGES = 512
"""Random ones to train on."""
CONTRACT = Contract(timesteps=1000, noise_schedule="cosine", prediction="v")
STEPS = 4
"""T' of what is sampled."""
PLAIN = Training(
    iterations=1, batch_size=1, learning_rate=1e-4, warmup=0, decay=0.0, clip_norm=1.0, average=0.999,
    precision="fp32", memory_format="contiguous", compile=False,
)  # fmt: skip


@frozen(kw_only=True)
class Subject:
    """A network, and how many images it is given at once."""

    name: str
    network: Network
    shape: tuple[int, int, int]
    batch: int
    """Images of an iteration and of a sampled batch."""
    repeats: int
    """Iterations that are timed together."""

    def build(self) -> Denoiser:
        """It, with fresh weights."""
        return build(unet_config(self.network, self.shape), CONTRACT, 0).to(device())

    def flops(self) -> int:
        """Floating-point operations of a forward pass of one image, multiplications and additions counted."""
        denoiser = self.build()
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            denoiser(torch.zeros(1, *self.shape, device=device()), torch.ones(1, dtype=torch.int64, device=device()))
        return int(counter.get_total_flops())


@frozen
class Line:
    """One thing that is timed."""

    subject: Subject
    what: str
    images: int
    """That one call makes, or trains on."""
    forward_equivalents: float
    """What one call costs."""
    run: Callable[[], object]
    seconds: list[float] = field(factory=list)
    memory_mb: list[float] = field(factory=list)
    """Peak of a call, on a GPU."""

    def time(self) -> None:
        """Call it once and keep how long it took."""
        on_gpu = device().type == "cuda"
        if on_gpu:
            torch.cuda.reset_peak_memory_stats()
            torch.cuda.synchronize()
        started = time.perf_counter()
        self.run()
        if on_gpu:
            torch.cuda.synchronize()
            self.memory_mb.append(torch.cuda.max_memory_allocated() / 2**20)
        self.seconds.append(time.perf_counter() - started)

    @property
    def median(self) -> float:
        """Seconds of one call."""
        return statistics.median(self.seconds)


def training(subject: Subject, **settings: Any) -> Line:
    """Iterations of the training loop, with some settings that are not the plain ones."""
    chosen = evolve(PLAIN, batch_size=subject.batch, **settings)
    denoiser = subject.build()
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (IMAGES, *subject.shape)).astype(np.uint8)
    split = Split(images, None, flip=False)
    loss, state = denoising_loss(denoiser, "v", split, 0, subject.batch), begin(denoiser, chosen)

    def run() -> None:
        for step in range(subject.repeats):
            iterate(state, loss, step, chosen.learning_rate, chosen)

    trained = subject.batch * subject.repeats
    return Line(subject, _name(chosen), trained, trained * FORWARD_EQUIVALENTS, run)


def _name(chosen: Training) -> str:
    layout = [] if chosen.memory_format == "contiguous" else [chosen.memory_format]
    return ", ".join([chosen.precision, *layout, "compiled" if chosen.compile else "eager"])


def sampling(subject: Subject) -> tuple[Line, Line]:
    """Images of the sampler, noise and bytes included, and the bare calls of the network that they can't do without."""
    denoiser = subject.build().eval().requires_grad_(False)
    levels = tuple(CONTRACT.timesteps * (k + 1) // STEPS for k in range(STEPS))
    sampler = Sampler(solver="ddim", levels=levels, clip_sample=True)
    images = subject.batch * subject.repeats
    x = torch.zeros(subject.batch, *subject.shape, device=device())
    told = torch.full((subject.batch,), 500, device=device())

    @torch.inference_mode()
    def bare() -> None:
        for _ in range(STEPS * subject.repeats):
            denoiser.network(x, told, return_dict=False)

    def drawn() -> object:
        return generate(denoiser, sampler, 0, images, subject.batch, subject.name)

    return (
        Line(subject, f"{STEPS} bare network calls", images, images * STEPS, bare),
        Line(subject, f"sampling, T' = {STEPS}", images, images * STEPS, drawn),
    )


def multiplication(subject: Subject, precision: torch.dtype, size: int) -> Line:
    """A product of two square matrices, the most that a network could reach; its operations count as equivalents."""
    a, b = (torch.randn(size, size, device=device(), dtype=precision) for _ in range(2))
    name = "bf16" if precision == torch.bfloat16 else "fp32"
    return Line(subject, f"{name} matrix product", 0, 2 * size**3 / subject.flops(), lambda: a @ b)


def measure(lines: list[Line], rounds: int) -> None:
    """Time all lines in turn, after a call that warms each of them up."""
    for line in lines:
        line.run()
    for _ in range(rounds):
        for line in lines:
            line.time()
