"""EDM's own code beside ours: `python -m bench.edm CHECKOUT`, a clone of NVlabs/edm.

Networks of all architectures with random weights are pickled by EDM's code, taken out of the pickle by `sfddm teacher
convert`, and compared: the images that each predicts at 18 noise levels, and those that each draws from the same noise
(EDM's ablation sampler with Euler's method, our DDIM). Their licence lets nobody put their code into ours.
"""

import pickle
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from attrs import evolve
from torch import Tensor

from sfddm.diffusion.sampler import Sampler
from sfddm.diffusion.sampling import sample
from sfddm.networks.denoiser import Denoiser
from sfddm.teachers.edm import convert
from sfddm.teachers.inspection import look

STEPS, IMAGES, SIZE = 18, 4, 16
COMMON = {"model_type": "SongUNet", "model_channels": 32, "channel_mult": [1, 2, 2], "num_blocks": 2,
          "attn_resolutions": [8], "dropout": 0.1, "augment_dim": 9}  # fmt: skip
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "ddpm++": {},
    "ncsn++": {"embedding_type": "fourier", "channel_mult_noise": 2, "encoder_type": "residual",
               "resample_filter": [1, 3, 3, 1]},
    "adm": {"model_type": "DhariwalUNet", "model_channels": 64},
}  # fmt: skip
"""The options by which EDM's train.py tells them apart, in smaller networks."""


@torch.inference_mode()
def main(checkout: str) -> None:
    """Print the differences and the times of a forward pass."""
    sys.path.insert(0, checkout)
    ablation_sampler = import_module("generate").ablation_sampler
    precondition = import_module("training.networks").EDMPrecond

    torch.manual_seed(0)
    for name, options in ARCHITECTURES.items():
        theirs = precondition(SIZE, 3, **{**COMMON, **options}).eval()
        for parameter in theirs.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        ours = _taken_over(theirs)
        noise = torch.randn(IMAGES, 3, SIZE, SIZE)
        levels = torch.arange(1, STEPS + 1)
        alpha, sigma = ours.schedule.at(levels, noise)
        states = alpha * torch.rand(STEPS, 3, SIZE, SIZE) + sigma * torch.randn(STEPS, 3, SIZE, SIZE)
        predicted = ours.predict(states, levels, levels - 1)[0] - theirs(states / alpha, (sigma / alpha).flatten())
        drawn = sample(ours, noise, Sampler(solver="ddim", levels=tuple(levels.tolist()), clip_sample=False), iter(()))
        highest = float(ours.schedule.alpha[-1] * 80)  # EDM's sampler takes noise times 80 for the whole state
        wanted = ablation_sampler(theirs, noise.double() / highest, num_steps=STEPS, solver="euler")
        print(f"{name}: a predicted pixel differs by at most {float(predicted.abs().max()):.1e}, a drawn one by "
              f"{float((drawn - wanted).abs().max()):.1e}; a forward pass takes "
              f"{_seconds(ours, states, levels) / _seconds(theirs, states / alpha, (sigma / alpha).flatten()):.2f} "
              "times theirs")  # fmt: skip


def _taken_over(network: Any) -> Denoiser:
    with tempfile.TemporaryDirectory() as temporary:
        pickled, out = Path(temporary) / "network.pkl", Path(temporary) / "network.safetensors"
        pickled.write_bytes(pickle.dumps({"ema": network}))
        convert(pickled, out)
        seen = look(str(out), "main")
        teacher = evolve(seen.teacher, timesteps=STEPS)
        return evolve(seen.found, timesteps=STEPS).denoiser(teacher, (3, SIZE, SIZE))


def _seconds(network: Any, *inputs: Tensor) -> float:
    times = []
    for _ in range(10):
        began = time.perf_counter()
        network(*inputs)
        times.append(time.perf_counter() - began)
    return min(times)


if __name__ == "__main__":
    main(*sys.argv[1:])
