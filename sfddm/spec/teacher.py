"""The diffusion model that is distilled."""

from typing import Literal

from attrs import frozen

from sfddm.diffusion.levels import Schedule
from sfddm.diffusion.prediction import Prediction
from sfddm.spec.fields import SHA256, CheckpointFile, Depth, HubModel, Levels, Revision, Seed, Width
from sfddm.spec.training import Training


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
class FromDiffusers:
    """A teacher in diffusers' format, from the Hugging Face hub (its cache first) or from a folder.

    Its scheduler's configuration has to say what the spec says of schedule, T and prediction.
    """

    kind: Literal["diffusers"]
    model: HubModel
    """OWNER/NAME of the hub; without a slash, a folder in `teachers` of the folder of data sets (SFDDM_DATA_ROOT)."""
    revision: Revision
    """Of the hub: a commit, which stays what it is, or a tag or a branch. Of a folder: the weights' SHA-256."""


@frozen(kw_only=True)
class FromCheckpoint:
    """A checkpoint of denoising-diffusion-pytorch, whose network the extra `lucidrains` installs."""

    kind: Literal["checkpoint"]
    file: CheckpointFile
    """In `teachers` of the folder of data sets (SFDDM_DATA_ROOT)."""
    sha256: SHA256
    weights: Literal["ema", "last"]
    """The moving average that the library's Trainer keeps, or the weights of the last step."""


Source = Trained | FromDiffusers | FromCheckpoint
"""Every way to a teacher."""


@frozen(kw_only=True)
class Teacher:
    """T noise levels, how they are spaced, what the network predicts, and where its weights come from."""

    timesteps: Levels
    """T, the number of noise levels above clean data."""
    noise_schedule: Schedule
    prediction: Prediction
    source: Source
