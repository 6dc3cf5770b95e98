"""The one place that adapts networks: prediction type and time input, on top of a diffusers UNet2DModel.

What other libraries train, denoising-diffusion-pytorch and EDM, is given the same calls and names first.
"""

import math
from collections.abc import Mapping
from copy import copy
from typing import Any, TypeAlias, cast

import torch
from attrs import frozen
from torch import Tensor, nn

from sfddm.diffusion.levels import log_snr
from sfddm.diffusion.prediction import to_input, to_sample, to_v
from sfddm.diffusion.schedule import NoiseSchedule
from sfddm.errors import UserError
from sfddm.networks.contract import Contract
from sfddm.networks.edm import EDM, EDMUNet2DModel
from sfddm.networks.unet import UNet2DModel
from sfddm.spec.teacher import EDMUNet2D, PatchedUNet2D
from sfddm.spec.teacher import Network as Described

LUCIDRAINS = "denoising-diffusion-pytorch"
"""What configurations call the networks of that library."""


@frozen
class Evaluated:
    """One evaluation of a network at states x [B, C, H, W]."""

    output: Tensor
    """As the network put it out, [B, C, H, W], or [B, 2C, H, W] where it predicts noise and image."""
    features: Tensor
    """Input of the last normalisation (of the last convolution, where none is before it): `Denoiser.feature_shape`."""


class LucidrainsUNet(nn.Module):
    """denoising-diffusion-pytorch's Unet behind the calls that diffusers' networks have.

    Its configuration has diffusers' names where they mean the same. `block_out_channels` starts with the width of the
    first convolution; `dim` is the width that the time embedding is four times of.
    """

    def __init__(self, **config: Any) -> None:
        """Raises: UserError: the extra `lucidrains` is not installed."""
        super().__init__()
        try:
            from denoising_diffusion_pytorch import Unet
        except ImportError as error:
            raise UserError(
                f"a network of {LUCIDRAINS} needs that library ({error}): pip install 'sfddm[lucidrains]'."
            ) from None
        self.config = config
        first, *widths = config["block_out_channels"]
        self.unet = Unet(
            dim=config["dim"],
            init_dim=first,
            out_dim=config["out_channels"],
            dim_mults=tuple(width // config["dim"] for width in widths),
            channels=config["in_channels"],
            full_attn=tuple(config["full_attn"]),
            attn_heads=tuple(config["attn_heads"]),
            attn_dim_head=tuple(config["attn_dim_head"]),
        )

    def forward(self, x: Tensor, time: Tensor, class_labels: None = None, return_dict: bool = False) -> tuple[Tensor]:
        """The output [B, out_channels, H, W] at states x [B, C, H, W] and times (int [B])."""
        return (self.unet(x, time),)


class PatchedUNet2DModel(UNet2DModel):  # type: ignore[misc]
    """diffusers' UNet2DModel on patches of `patch` x `patch` pixels; its configuration is in terms of the images."""

    def __init__(self, patch: int, **config: Any) -> None:
        """Raises: ValueError: patches don't tile the images."""
        super().__init__(**of_patches({**config, "patch": patch}))
        self.register_to_config(patch=patch, **config)

    def forward(
        self, x: Tensor, time: Tensor, class_labels: Tensor | None = None, return_dict: bool = False
    ) -> tuple[Tensor]:
        """The output [B, out_channels, H, W] at states x [B, C, H, W] and times (int [B])."""
        patches = nn.functional.pixel_unshuffle(x, self.config["patch"])
        output = super().forward(patches, time, class_labels=class_labels, return_dict=False)[0]
        return (nn.functional.pixel_shuffle(output, self.config["patch"]),)


def of_patches(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of the plain network that is given patches, whose pixels are channels.

    Raises:
        ValueError: patches don't tile the images.
    """
    inner = dict(config)
    patch, size = inner.pop("patch"), inner["sample_size"]
    if patch < 1 or any(side % patch for side in size):
        raise ValueError(f"patches of {patch} don't tile images of {size}")
    channels = {key: patch**2 * inner[key] for key in ("in_channels", "out_channels")}
    return {**inner, **channels, "sample_size": [side // patch for side in size]}


Network: TypeAlias = UNet2DModel | EDMUNet2DModel | LucidrainsUNet


class Denoiser(nn.Module):
    """A network under the contract that samplers, objectives and evaluation know."""

    def __init__(self, network: Network, contract: Contract) -> None:
        super().__init__()
        self.network = network
        self.contract = contract
        self.schedule = NoiseSchedule(contract.noise_schedule, contract.timesteps)
        self.register_buffer("time_input", time_input(contract), persistent=False)
        self.labels: Tensor | None = None
        self.augmentation: nn.Linear | None = None
        self._features: list[Tensor] = []
        self._changes: list[Tensor] = []
        _layer_of_features(network).register_forward_pre_hook(self._keep_features)

    time_input: Tensor

    @property
    def config(self) -> dict[str, Any]:
        """diffusers' configuration of the network."""
        return {key: value for key, value in self.network.config.items() if not key.startswith("_")}

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the images."""
        height, width = self.network.config["sample_size"]
        return self.network.config["in_channels"], height, width

    @property
    def feature_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the features."""
        patch, (_, height, width) = self.network.config.get("patch", 1), self.image_shape
        return self.network.config["block_out_channels"][0], height // patch, width // patch

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.time_input.device

    def forward(
        self, x: Tensor, level: Tensor, landing: Tensor | None = None, changes: Tensor | None = None
    ) -> Evaluated:
        """Evaluate at states x [B, C, H, W] and levels (int [B], 1..T).

        `landing` (int [B], 0..T) is where the jump from there should end; only a network of two times asks for it.
        `changes` ([B, numbers]) is for one that learns augmentations: what was done to the images; None: nothing.
        """
        self._changes[:] = [] if changes is None else [changes]
        shown = to_input(self.contract.prediction, x, *self.schedule.at(level, x))
        output = self.network(shown, self.time_input[level], **self._told(landing), return_dict=False)[0]
        return Evaluated(output, self._features.pop())

    def given(self, labels: Tensor | None) -> "Denoiser":
        """The same network, which is told these classes of the images, int64 [B], whenever it is evaluated."""
        if labels is None:
            return self
        told = copy(self)  # shares everything else
        told.labels = labels
        return told

    def learn_augmentations(self, numbers: int) -> None:
        """Have so many numbers of each image's changes added to the embedding of time, which begins by ignoring them.

        What they are multiplied by is no part of the network: one that is told zeros, or nothing, needs none of it.
        """
        embedding = self.network.get_submodule("time_embedding")
        self.augmentation = nn.Linear(numbers, cast(nn.Linear, embedding.linear_2).out_features, bias=False)
        nn.init.zeros_(self.augmentation.weight)
        embedding.register_forward_hook(self._add_changes)

    def _told(self, landing: Tensor | None) -> dict[str, Tensor]:
        """What the network is told besides the level."""
        told = {}
        if self.contract.two_times and landing is not None:
            told["class_labels"] = self.time_input[landing]
        if self.contract.classes:
            assert self.labels is not None, "a network of classes is evaluated as `given` some"
            told[class_argument(self.config)] = self.labels
        return told

    def compile(self, *arguments: Any, **options: Any) -> None:
        """Have torch.compile make the network's forward pass, in place; what is around it is traced by nobody."""
        self.network.compile(*arguments, **options)

    @property
    def computing(self) -> dict[str, Any]:
        """What decides the last bits of an evaluation, apart from weights and device."""
        compiled = getattr(self.network, "_compiled_call_impl", None) is not None
        strides = self.network.get_parameter(f"{last_layer(self.network)}.weight").stride()
        return {"compiled": compiled, "strides": list(strides)}

    def predict(self, x: Tensor, level: Tensor, landing: Tensor) -> tuple[Tensor, Tensor]:
        """The predicted image [B, C, H, W], in fp32, and the features."""
        evaluated = self(x, level, landing)
        return self.sample(evaluated, x, level), evaluated.features

    def sample(self, evaluated: Evaluated, x: Tensor, level: Tensor) -> Tensor:
        """The image [B, C, H, W], in fp32, predicted by an evaluation at x and level."""
        alpha, sigma = self.schedule.at(level, x)
        return to_sample(self.contract.prediction, evaluated.output.float(), x, alpha, sigma)

    def v(self, evaluated: Evaluated, x: Tensor, level: Tensor) -> Tensor:
        """The v [B, C, H, W], in fp32, predicted by an evaluation at x and level."""
        alpha, sigma = self.schedule.at(level, x)
        return to_v(self.contract.prediction, evaluated.output.float(), x, alpha, sigma)

    def _add_changes(self, _: nn.Module, __: tuple[Tensor, ...], embedded: Tensor) -> Tensor:
        assert self.augmentation is not None
        return embedded + self.augmentation(self._changes.pop()) if self._changes else embedded

    def _keep_features(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._features[:] = inputs[:1]


def classes_of(config: Mapping[str, Any]) -> int:
    """How many classes the network of a configuration is told; 0: none."""
    return config.get("num_class_embeds") or 0


def class_argument(config: Mapping[str, Any]) -> str:
    """The argument by which the network of a configuration is told classes; EDM's has the usual one for landings."""
    return "classes" if config.get("library") == EDM else "class_labels"


def class_of(contract: Contract, numbers: Tensor) -> Tensor | None:
    """The classes of the noises of these numbers, int64 [B]: they take turns. None where the network is told none."""
    return numbers % contract.classes if contract.classes else None


def unet_config(network: Described, shape: tuple[int, int, int], classes: int = 0) -> dict[str, Any]:
    """The configuration of a described network, in diffusers' words.

    Args:
        network: what the spec says.
        shape: channels, height and width of the images.
        classes: how many it is told; 0: none.
    """
    told = {"num_class_embeds": classes} if classes else {}
    if isinstance(network, EDMUNet2D):
        return {**_edm_config(network, shape), **told}
    down = ["AttnDownBlock2D" if attention else "DownBlock2D" for attention in network.attention]
    up = ["AttnUpBlock2D" if attention else "UpBlock2D" for attention in reversed(network.attention)]
    return {
        "sample_size": list(shape[1:]),
        "in_channels": shape[0],
        "out_channels": shape[0],
        "block_out_channels": list(network.channels),
        "down_block_types": down,
        "up_block_types": up,
        "add_attention": network.middle_attention,
        "attention_head_dim": network.head_channels,
        "layers_per_block": network.layers_per_block,
        "norm_num_groups": network.norm_groups,
        "dropout": network.dropout,
        **({"patch": network.patch} if isinstance(network, PatchedUNet2D) else {}),
        **told,
    }


def _edm_config(network: EDMUNet2D, shape: tuple[int, int, int]) -> dict[str, Any]:
    return {
        "library": EDM,
        "sample_size": list(shape[1:]),
        "in_channels": shape[0],
        "out_channels": shape[0],
        "base_channels": network.base_channels,
        "block_out_channels": list(network.channels),
        "attention": list(network.attention),
        "layers_per_block": network.layers_per_block,
        "architecture": network.architecture,
        "dropout": network.dropout,
    }


def build(config: dict[str, Any], contract: Contract, seed: int) -> Denoiser:
    """A network of a configuration with fresh weights drawn from `seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Denoiser(make_network(config), contract)


def make_network(config: dict[str, Any]) -> Network:
    """The network that a configuration describes: diffusers', on patches or not, unless it names another library."""
    if config.get("library") == LUCIDRAINS:
        return LucidrainsUNet(**config)
    if config.get("library") == EDM:
        return EDMUNet2DModel(**config)
    return PatchedUNet2DModel(**config) if "patch" in config else UNet2DModel(**config)


def last_layer(network: Network) -> str:
    """The name of the convolution that puts out the prediction."""
    return "unet.final_conv" if isinstance(network, LucidrainsUNet) else "conv_out"


def _layer_of_features(network: Network) -> nn.Module:
    layer: nn.Module = network.unet.final_conv if isinstance(network, LucidrainsUNet) else network.conv_norm_out
    return layer


def time_input(contract: Contract) -> Tensor:
    """What the network is told at each level 0..T, [T + 1]: int64, and -1 where it was never trained.

    EDM's preconditioning tells a quarter of the logarithm of sigma / alpha, float32; at clean data, where a jump may
    land, that of a level with a hundredth of level 1's noise.
    """
    if contract.prediction == "edm" and not contract.index_levels:
        known = -log_snr(contract.noise_schedule, contract.timesteps) / 8
        return torch.tensor([known[0] - math.log(100) / 4, *known], dtype=torch.float32)
    if not contract.index_levels:
        return torch.arange(contract.timesteps + 1) - 1
    told = torch.full((contract.timesteps + 1,), -1)
    told[list(contract.index_levels)] = torch.arange(len(contract.index_levels))
    return told
