"""What exports of a larger student take: `python -m bench.exports`.

The network has the architecture of the public CIFAR-10 DDPM (35.7 M parameters, predicts noise) and random weights.
"""

import tempfile
import time
from pathlib import Path
from typing import get_args

from sfddm.diffusion.sampler import Sampler
from sfddm.export import Format
from sfddm.export.export import export
from sfddm.networks import storage
from sfddm.networks.contract import Contract
from sfddm.networks.denoiser import build

CONFIG = {
    "sample_size": [32, 32], "in_channels": 3, "out_channels": 3, "block_out_channels": [128, 256, 256, 256],
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"], "attention_head_dim": None,
    "layers_per_block": 2, "norm_num_groups": 32, "norm_eps": 1e-6, "downsample_padding": 0,
    "flip_sin_to_cos": False, "freq_shift": 1,
}  # fmt: skip


def main() -> None:
    """Export it to every format and print a line for each."""
    denoiser = build(CONFIG, Contract(timesteps=1000, noise_schedule="linear", prediction="epsilon"), 0)
    sampler = Sampler(solver="ddim", levels=tuple(range(125, 1001, 125)), clip_sample=True)
    with tempfile.TemporaryDirectory(dir=".") as temporary:
        student = Path(temporary) / "student"
        student.mkdir()
        storage.write(student, denoiser)
        for form in get_args(Format):
            started = time.perf_counter()
            written = export(student, sampler, Path(temporary) / form, form, {})
            seconds = time.perf_counter() - started
            print(f"{form}: {written.difference:.1e} apart, {written.size / 2**20:.1f} MiB, {seconds:.0f} s")


if __name__ == "__main__":
    main()
