"""The diffusion model that is distilled."""

from typing import Literal

from attrs import frozen

from sfddm.spec.fields import Depth, Levels, Seed, Width
from sfddm.spec.training import Training

Schedule = Literal["linear", "cosine", "sigmoid"]
"""linear: DDPM (Ho et al. 2020); cosine: Nichol and Dhariwal 2021; sigmoid: Jabri et al. 2022."""
Prediction = Literal["epsilon", "v", "sample"]
"""What the network puts out: the noise, v = alpha * noise - sigma * image (Salimans and Ho 2022), or the image."""


@frozen(kw_only=True)
class UNet2D:
    """diffusers' UNet2DModel, one entry of `channels` and `attention` a resolution level."""

    kind: Literal["unet2d"]
    channels: tuple[Width, ...]
    attention: tuple[bool, ...]
    """Whether the level has self-attention."""
    middle_attention: bool
    layers_per_block: Depth
    norm_groups: Width


@frozen(kw_only=True)
class Trained:
    """A teacher trained here, on the spec's own data."""

    kind: Literal["train"]
    network: UNet2D
    training: Training
    seed: Seed


@frozen(kw_only=True)
class Teacher:
    """T noise levels, how they are spaced, what the network predicts, and where its weights come from."""

    timesteps: Levels
    """T, the number of noise levels above clean data."""
    noise_schedule: Schedule
    prediction: Prediction
    source: Trained
