"""The one place that adapts networks: prediction type and time input, on top of a diffusers UNet2DModel."""

from typing import Any

import torch
from attrs import asdict, frozen
from diffusers.models.unets.unet_2d import UNet2DModel
from torch import Tensor, nn

from sfddm.diffusion.prediction import Output, to_sample, to_v
from sfddm.diffusion.schedule import NoiseSchedule
from sfddm.spec.fields import Level, Levels
from sfddm.spec.teacher import Schedule, UNet2D


@frozen(kw_only=True)
class Contract:
    """What a network's numbers mean; stored beside its weights.

    `index_levels` is empty for a network that is told the teacher's noise level (level t is timestep t - 1 of
    diffusers), and holds phi_1..phi_T' for one that is told its own index k - 1. A network of `two_times` is also told
    the level where its jump should land (level s as s - 1 too).
    """

    timesteps: Levels
    noise_schedule: Schedule
    prediction: Output
    index_levels: tuple[Level, ...] = ()
    two_times: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "index_levels": list(self.index_levels)}


@frozen
class Evaluated:
    """One evaluation of a network at states x [B, C, H, W]."""

    output: Tensor
    """As the network put it out, [B, C, H, W], or [B, 2C, H, W] where it predicts noise and image."""
    features: Tensor
    """Input of the last normalisation, [B, channels, H, W]."""


class Denoiser(nn.Module):
    """A network under the contract that samplers, objectives and evaluation know."""

    def __init__(self, network: UNet2DModel, contract: Contract) -> None:
        super().__init__()
        self.network = network
        self.contract = contract
        self.schedule = NoiseSchedule(contract.noise_schedule, contract.timesteps)
        self.register_buffer("time_input", _time_input(contract), persistent=False)
        self._features: Tensor | None = None
        network.conv_norm_out.register_forward_pre_hook(self._keep_features)

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
    def device(self) -> torch.device:
        """Where the network is."""
        return self.time_input.device

    def forward(self, x: Tensor, level: Tensor, landing: Tensor | None = None) -> Evaluated:
        """Evaluate at states x [B, C, H, W] and levels (int [B], 1..T).

        `landing` (int [B], 0..T) is where the jump from there should end; only a network of two times asks for it.
        """
        told = None if landing is None or not self.contract.two_times else landing - 1
        output = self.network(x, self.time_input[level], class_labels=told, return_dict=False)[0]
        assert self._features is not None
        features, self._features = self._features, None
        return Evaluated(output, features)

    def compile(self, *arguments: Any, **options: Any) -> None:
        """Have torch.compile make the network's forward pass, in place; what is around it is traced by nobody."""
        self.network.compile(*arguments, **options)

    @property
    def computing(self) -> dict[str, Any]:
        """What decides the last bits of an evaluation, beside weights and device."""
        compiled = getattr(self.network, "_compiled_call_impl", None) is not None
        return {"compiled": compiled, "strides": list(self.network.conv_in.weight.stride())}

    def predict(self, x: Tensor, level: Tensor, landing: Tensor) -> tuple[Tensor, Tensor]:
        """The predicted image [B, C, H, W], in fp32, and the features [B, channels, H, W]."""
        evaluated = self(x, level, landing)
        return self.sample(evaluated, x, level), evaluated.features

    def sample(self, evaluated: Evaluated, x: Tensor, level: Tensor) -> Tensor:
        """The image [B, C, H, W], in fp32, that an evaluation at x and level stands for."""
        alpha, sigma = self.schedule.at(level, x)
        return to_sample(self.contract.prediction, evaluated.output.float(), x, alpha, sigma)

    def v(self, evaluated: Evaluated, x: Tensor, level: Tensor) -> Tensor:
        """The v [B, C, H, W], in fp32, that an evaluation at x and level stands for."""
        alpha, sigma = self.schedule.at(level, x)
        return to_v(self.contract.prediction, evaluated.output.float(), x, alpha, sigma)

    def _keep_features(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._features = inputs[0]


def unet_config(network: UNet2D, shape: tuple[int, int, int]) -> dict[str, Any]:
    """diffusers' configuration of a described network for images of `shape` (channels, height, width)."""
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
        "layers_per_block": network.layers_per_block,
        "norm_num_groups": network.norm_groups,
    }


def build(config: dict[str, Any], contract: Contract, seed: int) -> Denoiser:
    """A network of diffusers' configuration with fresh weights drawn from `seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Denoiser(UNet2DModel(**config), contract)


def _time_input(contract: Contract) -> Tensor:
    """What the network is told at each level 0..T, int64 [T + 1]; -1 where it was never trained."""
    if not contract.index_levels:
        return torch.arange(contract.timesteps + 1) - 1
    told = torch.full((contract.timesteps + 1,), -1)
    told[list(contract.index_levels)] = torch.arange(len(contract.index_levels))
    return told
