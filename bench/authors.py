"""Our training loop beside the published implementation's: `python -m bench.authors`, on the same cores and network.

The SFDDM authors' code trains with denoising-diffusion-pytorch's Trainer. It and our loop (`sfddm.training.loop`) take
turns at training one of that library's networks on the same random 32x32 images, in batches of the same size. Images
are mirrored and averages kept in both; our precision and layout of memory are the spec's to choose.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
from attrs import evolve
from PIL import Image

from bench.speed import CONTRACT, PLAIN
from sfddm.data.store import Split
from sfddm.networks.denoiser import LUCIDRAINS, Denoiser, make_network
from sfddm.runtime.machine import device
from sfddm.training.loop import begin, iterate
from sfddm.training.teacher import denoising_loss

CONFIG = {"library": LUCIDRAINS, "sample_size": [32, 32], "in_channels": 3, "out_channels": 3, "layers_per_block": 2,
          "block_out_channels": [32, 32, 64, 128], "dim": 32, "full_attn": [False, False, True], "attn_heads": [4] * 3,
          "attn_dim_head": [32] * 3}  # fmt: skip
BATCH, ITERATIONS, ROUNDS, IMAGES = 16, 2, 3, 256


def main() -> None:
    """Print images per second of both, and the ratio."""
    images = np.random.default_rng(0).integers(0, 256, (IMAGES, 3, 32, 32), dtype=np.uint8)
    settings: dict[str, dict[str, Any]] = {"ours, fp32": {}, "ours, bf16": {"precision": "bf16"},
                "ours, bf16, channels_last": {"precision": "bf16", "memory_format": "channels_last"}}  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, Path(os.devnull).open("w") as nothing, redirect_stderr(nothing):
        run = {"theirs": _theirs(images, Path(folder))} | {name: _ours(images, of) for name, of in settings.items()}
        seconds: dict[str, list[float]] = {name: [] for name in run}
        for turn in range(ROUNDS + 1):
            for name, train in run.items():
                began = time.perf_counter()
                train()
                seconds[name] += [time.perf_counter() - began] if turn else []
    rates = {name: BATCH * ITERATIONS / statistics.median(each) for name, each in seconds.items()}
    for name, rate in rates.items():
        print(f"{name}: {rate:.1f} images/s, {rate / rates['theirs']:.2f} times theirs")


def _theirs(images: np.ndarray, folder: Path) -> Callable[[], None]:
    from denoising_diffusion_pytorch import GaussianDiffusion, Trainer

    for number, image in enumerate(images):
        Image.fromarray(image.transpose(1, 2, 0)).save(folder / f"{number}.png")
    network = make_network(dict(CONFIG)).unet
    diffusion = GaussianDiffusion(network, image_size=32, timesteps=1000, objective="pred_v")
    trainer = Trainer(diffusion, folder, train_batch_size=BATCH, train_num_steps=0, save_and_sample_every=10**9,
                      calculate_fid=False, results_folder=str(folder / "results"))  # fmt: skip

    def train() -> None:
        trainer.train_num_steps += ITERATIONS
        with Path(os.devnull).open("w") as nothing, redirect_stdout(nothing):
            trainer.train()

    return train


def _ours(images: np.ndarray, changes: dict[str, Any]) -> Callable[[], None]:
    settings = evolve(PLAIN, batch_size=BATCH, **changes)
    denoiser = Denoiser(make_network(dict(CONFIG)), CONTRACT).to(device())
    loss = denoising_loss(denoiser, "v", Split(images, None, flip=True), 0, BATCH)
    state = begin(denoiser, settings)

    def train() -> None:
        for step in range(ITERATIONS):
            iterate(state, loss, step, settings.learning_rate, settings)

    return train


if __name__ == "__main__":
    main()
