"""The diffusion model that is distilled."""

import math
from collections.abc import Iterator
from typing import Annotated, Literal

import numpy as np
from attrs import frozen

from sfddm.diffusion.levels import ScheduleName, angles
from sfddm.diffusion.prediction import Prediction
from sfddm.spec.fields import (
    SHA256,
    SHA256_PATTERN,
    Beta,
    Bound,
    CheckpointFile,
    Depth,
    Dropout,
    HubModel,
    Levels,
    Natural,
    Positive,
    Revision,
    Seed,
    Share,
    TensorFile,
    Width,
)
from sfddm.spec.parse import Fault, SpecPath
from sfddm.spec.training import Training


@frozen(kw_only=True)
class UNet2D:
    """diffusers' UNet2DModel, with one entry of `channels` and `attention` per resolution level."""

    kind: Literal["unet2d"]
    channels: tuple[Width, ...]
    """Channels at each resolution level; every level but the last halves the image."""
    attention: tuple[bool, ...]
    """Whether each level has self-attention."""
    middle_attention: bool
    """Whether the middle block has self-attention."""
    head_channels: Width
    """Channels of each head of attention; all channels with attention have to be multiples of it. diffusers' default is
    8, which is slow on a GPU; 64 suits one."""
    layers_per_block: Depth
    """Residual layers at each level."""
    norm_groups: Width
    """Groups of the group normalisation; all channels have to be multiples of it."""
    dropout: Dropout = 0.0
    """Optional: the share of activations that each residual block drops while this network is trained (0.1 for CIFAR-10
    in Ho et al. 2020). Copies of it, which students start as, drop nothing."""

    @property
    def patch(self) -> int:
        """Height and width of the pixels that are one place of its first level."""
        return 1

    def check(self, shape: tuple[int, int, int], path: SpecPath) -> Iterator[Fault]:
        """Yield what doesn't fit together, or images of `shape` (channels, height, width)."""
        for position, channels in enumerate(self.channels):
            if channels % self.norm_groups:
                message = f"expected a multiple of norm_groups ({self.norm_groups}), found {channels}"
                yield Fault(message, (*path, "channels", position))
            last = position == len(self.channels) - 1
            attends = self.attention[position : position + 1] == (True,) or (last and self.middle_attention)
            if attends and channels % self.head_channels:
                message = f"expected a multiple of head_channels ({self.head_channels}), found {channels}"
                yield Fault(message, (*path, "channels", position))
        yield from _check_levels(self.channels, self.attention, shape, path)


@frozen(kw_only=True)
class PatchedUNet2D(UNet2D):
    """The same network on patches of pixels: each is one place, and its pixels are channels there.

    They are unshuffled before the first convolution and shuffled back after the last one (Shi et al. 2016).
    """

    kind: Literal["patched-unet2d"]  # type: ignore[assignment]
    patch: Annotated[int, Bound(2, 16)]
    """Height and width of a patch; those of the images are multiples of it."""

    def check(self, shape: tuple[int, int, int], path: SpecPath) -> Iterator[Fault]:
        """Yield what is wrong with the network on patches, or that patches don't tile the images."""
        channels, height, width = shape
        if height % self.patch or width % self.patch:
            yield Fault(f"expected a divisor of {height} and {width}, the images' sides", (*path, "patch"))
        else:
            yield from super().check((channels, height // self.patch, width // self.patch), path)


ADM_HEAD = 64
"""ADM's attention has a head for so many channels."""


@frozen(kw_only=True)
class EDMUNet2D:
    """The network of EDM's checkpoints (Karras et al. 2022), after Song et al. 2021 or Dhariwal and Nichol 2021."""

    kind: Literal["edm-unet2d"]
    architecture: Literal["ddpm++", "ncsn++", "adm"]
    """ddpm++: EDM's for "VP". ncsn++, EDM's for "VE", also has filters, random frequencies of time, and a second path
    downwards. adm, EDM's for ImageNet, scales and shifts each block's hidden channels by the time, and its attention
    has a head for every 64 channels."""
    base_channels: Width
    """The time is embedded in four times this many channels. In ddpm++ and ncsn++ it is also the width of the first
    convolution; adm's is as wide as its first level."""
    channels: tuple[Width, ...]
    """Channels at each resolution level; every level but the last halves the image."""
    attention: tuple[bool, ...]
    """Whether each level has self-attention; the middle has it always. In adm it needs at least 64 channels."""
    layers_per_block: Depth
    """Residual layers at each level."""
    dropout: Dropout = 0.0
    """Optional: as in unet2d."""

    @property
    def patch(self) -> int:
        """Height and width of the pixels that are one place of its first level."""
        return 1

    def check(self, shape: tuple[int, int, int], path: SpecPath) -> Iterator[Fault]:
        """Yield what doesn't fit together, or images of `shape` (channels, height, width)."""
        if self.base_channels % 2 or self.base_channels < 4:
            message = f"expected an even number of base channels, at least 4, found {self.base_channels}"
            yield Fault(message, (*path, "base_channels"))
        for width in sorted({*self._widths()}):
            groups = min(32, width // 4)
            if not groups or width % groups:
                yield Fault(
                    f"{width} channels, of a layer or of one and what is passed to it, can't be normalised in "
                    f"{max(groups, 1)} groups: take powers of two, or multiples of 32",
                    (*path, "channels"),
                )
        for position, width in enumerate(self.channels):
            attends = self.attention[position : position + 1] == (True,) or position + 1 == len(self.channels)
            heads = width // ADM_HEAD
            if self.architecture == "adm" and attends and (not heads or width % heads):
                yield Fault(
                    f"attention in {width} channels: adm needs at least {ADM_HEAD}, and has a head for every "
                    f"{ADM_HEAD}, which have to share them evenly",
                    (*path, "channels", position),
                )
        yield from _check_levels(self.channels, self.attention, shape, path)

    def check_prediction(self, prediction: str, path: SpecPath) -> Iterator[Fault]:
        """Yield a fault where random frequencies would be told whole numbers, a code without neighbours."""
        if self.architecture == "ncsn++" and prediction != "edm":
            yield Fault("ncsn++ is made for the noise levels that the prediction `edm` tells it: use edm (a student's "
                        "`same` under such a teacher), or another network", path)  # fmt: skip

    def _widths(self) -> Iterator[int]:
        """The channels of all that is normalised, on the way down and up again."""
        width = self.channels[0] if self.channels and self.architecture == "adm" else self.base_channels
        passed = [width]
        for level, channels in enumerate(self.channels):
            yield width
            passed += [width] if level else []
            for _ in range(self.layers_per_block):
                passed.append(width := channels)
                yield width
        for channels in reversed(self.channels):
            yield width
            for _ in range(self.layers_per_block + 1):
                yield width + passed.pop()
                width = channels
                yield width


def _check_levels(
    channels: tuple[int, ...], attention: tuple[bool, ...], shape: tuple[int, int, int], path: SpecPath
) -> Iterator[Fault]:
    """Yield a fault where levels have more or fewer entries of attention, or images can't be halved for all of them."""
    if len(attention) != len(channels):
        yield Fault(f"expected {len(channels)} entries, as many as channels", (*path, "attention"))
    halvings = 2 ** max(len(channels) - 1, 0)
    if not channels or shape[1] % halvings or shape[2] % halvings:
        yield Fault(f"{shape[1]}x{shape[2]} images can't be halved that often", (*path, "channels"))


Network = UNet2D | PatchedUNet2D | EDMUNet2D
"""The architecture of a network that is trained here, or whose weights alone are in a file."""


@frozen(kw_only=True)
class LogNormal:
    """Levels whose noise is near a stated one, sigma / alpha being log-normal (Karras et al. 2022, table 1)."""

    kind: Literal["log-normal"]
    mean: Annotated[float, Bound(-20, 20)]
    """Of ln(sigma / alpha): -1.2 there."""
    deviation: Positive
    """Its standard deviation: 1.2 there. What is drawn beyond the ends counts as the last level there."""


@frozen(kw_only=True)
class Trained:
    """A teacher trained here, on the spec's own data."""

    kind: Literal["train"]
    network: Network
    training: Training
    seed: Seed
    """Seed of its weights and of everything that its training draws."""
    levels: Literal["uniform"] | LogNormal = "uniform"
    """Optional: how often each noise level is trained at: all alike, or most often those near a stated noise."""
    augmentation: Share = 0.0
    """Optional: the probability of each of five changes of an image: being put upside down (every other one of those),
    scaled, turned, stretched, moved. Half are mirrored besides. The network is told what was done, and in sampling that
    nothing was, so that its images don't show it (Karras et al. 2022, appendix F.2, where it is 0.12 for CIFAR-10). 0:
    images stay as they are."""

    def check(self, shape: tuple[int, int, int], path: SpecPath) -> Iterator[Fault]:
        """Yield what is wrong with the training, or with the network for images of `shape`."""
        yield from self.training.check((*path, "training"))
        yield from self.network.check(shape, (*path, "network"))


@frozen(kw_only=True)
class FromDiffusers:
    """A teacher in diffusers' format, from the Hugging Face hub (its cache first) or from a folder.

    Its scheduler's configuration has to say what the spec says of schedule, T and prediction.
    """

    kind: Literal["diffusers"]
    model: HubModel
    """OWNER/NAME of the hub; without a slash, a folder in `teachers` of the folder of data sets (SFDDM_DATA_ROOT)."""
    revision: Revision
    """From the hub: a commit, which stays what it is, or a tag or a branch. From a folder: the weights' SHA-256."""

    def check(self, _: tuple[int, int, int], path: SpecPath) -> Iterator[Fault]:
        """Yield a fault where a folder's revision is not a SHA-256."""
        if "/" not in self.model and SHA256_PATTERN.fault(self.revision):
            yield Fault(
                f"{self.model} has no slash, so it is a folder, whose revision is its weights' SHA-256: "
                "`sfddm teacher inspect FOLDER` prints it",
                (*path, "revision"),
            )


@frozen(kw_only=True)
class FromCheckpoint:
    """A checkpoint of denoising-diffusion-pytorch, whose network the extra `lucidrains` installs."""

    kind: Literal["checkpoint"]
    file: CheckpointFile
    """A file in `teachers` of the folder of data sets (SFDDM_DATA_ROOT)."""
    sha256: SHA256
    """The hash of that file."""
    weights: Literal["ema", "last"]
    """The moving average that the library's Trainer keeps, or the weights of the last step."""

    def check(self, _: tuple[int, int, int], path: SpecPath) -> Iterator[Fault]:
        """Yield nothing: the file says the rest."""
        yield from ()


@frozen(kw_only=True)
class FromTensors:
    """Weights alone, whose network, schedule and prediction the spec describes.

    `sfddm teacher convert` makes such a file of one of EDM's checkpoints.
    """

    kind: Literal["safetensors"]
    file: TensorFile
    """A file in `teachers` of the folder of data sets (SFDDM_DATA_ROOT)."""
    sha256: SHA256
    """The hash of that file."""
    network: Network
    """What the weights belong to."""

    def check(self, shape: tuple[int, int, int], path: SpecPath) -> Iterator[Fault]:
        """Yield what is wrong with the network for images of `shape`."""
        yield from self.network.check(shape, (*path, "network"))


Source = Trained | FromDiffusers | FromCheckpoint | FromTensors
"""Where its weights come from."""


@frozen(kw_only=True)
class OwnBetas:
    """A schedule given by its betas, for teachers that none of the names fits."""

    kind: Literal["betas"]
    beta_schedule: Literal["linear", "scaled-linear"]
    """What rises with even steps from level 1 to T: beta, or its square root."""
    beta_start: Beta
    """Beta of level 1; it is not rescaled with T."""
    beta_end: Beta
    """Beta of level T."""
    zero_terminal_snr: bool
    """Whether the schedule is then moved so that nothing of the image is left at level T (Lin et al. 2024, algorithm
    1)."""

    def check(self, timesteps: int, path: SpecPath) -> Iterator[Fault]:
        """Yield a fault where betas fall, or where float32 can't tell levels apart or the noisiest one from noise."""
        if self.beta_end < self.beta_start:
            yield Fault(f"expected at least beta_start ({self.beta_start})", (*path, "beta_end"))
        theta = angles(self, timesteps)
        if not (np.diff(theta) > 0).all() or not np.float32(math.cos(theta[-1])) > 0:
            yield Fault(
                f"over {timesteps} levels these betas add too much or too little noise: levels can't be told apart, or "
                "nothing is left of the image long before the last one",
                path,
            )

    def __str__(self) -> str:
        rescaled = ", zero terminal SNR" if self.zero_terminal_snr else ""
        return f"{self.beta_schedule} ({self.beta_start} to {self.beta_end}{rescaled})"


AnySchedule = ScheduleName | OwnBetas
"""How much of the image is left at each level. By name: linear: DDPM (Ho et al. 2020); cosine: Nichol and Dhariwal
2021; sigmoid: Jabri et al. 2022; scaled-linear: even steps in the square root of beta (Rombach et al. 2022); edm: sigma
/ alpha from .002 to 80 (Karras et al. 2022). Or by its betas, where no name fits."""


@frozen(kw_only=True)
class Teacher:
    """T noise levels, how they are spaced, what the network predicts, and where its weights come from."""

    timesteps: Levels
    """T, the number of noise levels above clean data."""
    noise_schedule: AnySchedule
    prediction: Prediction
    source: Source
    classes: Natural = 0
    """Optional: how many classes the network is told; 0: none. Noises then take turns: noise i has class i modulo this
    number."""

    def check(self, path: SpecPath) -> Iterator[Fault]:
        """Yield what is wrong with schedule and prediction."""
        if isinstance(betas := self.noise_schedule, OwnBetas):
            yield from betas.check(self.timesteps, (*path, "noise_schedule"))
            if betas.zero_terminal_snr and self.prediction in ("epsilon", "edm"):
                yield Fault(
                    "at a zero terminal SNR the noisiest level has nothing of the image, so it can't be computed from "
                    "predicted noise, and EDM's preconditioning has no such level: expected v or sample",
                    (*path, "prediction"),
                )
