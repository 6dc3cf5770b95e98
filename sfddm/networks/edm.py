"""The networks that EDM trains, as Karras et al. 2022 have them, which diffusers does not have: DDPM++ and NCSN++ (Song
et al. 2021), and ADM (Dhariwal and Nichol 2021). `python -m bench.edm` holds them against EDM's own code."""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import (
    avg_pool2d,
    conv2d,
    conv_transpose2d,
    interpolate,
    one_hot,
    scaled_dot_product_attention,
    silu,
)

from sfddm.spec.teacher import ADM_HEAD

EDM = "edm"
"""What configurations call this kind of network."""
TAPS = (1.0, 3.0, 3.0, 1.0)
"""NCSN++'s filter for halving and doubling images."""
MEAN = (1.0, 1.0)
"""DDPM++'s, which takes means and repeats pixels."""
LONGEST_PERIOD = 10_000
FOURIER_SCALE = 16
"""The standard deviation of NCSN++'s random frequencies."""
NEARLY_ZERO = 1e-5
"""The factor on the first weights of every block's last layer; ADM's are zero."""


class Style(NamedTuple):
    """How ADM's blocks differ from those of the other two. What differs outside of blocks is asked of `self.adm`."""

    sum_factor: float
    """What each sum of two paths is multiplied by."""
    epsilon: float
    """Of the group normalisation."""
    head_channels: int | None
    """Attention has a head for so many channels; None: a single one."""
    adaptive: bool
    """Whether the time scales a block's hidden channels and shifts them (after normalisation), or is added (before)."""
    projected: bool
    """Whether a block that changes the size of images has a convolution beside it even where channels stay."""


SONG = Style(math.sqrt(0.5), 1e-6, None, adaptive=False, projected=True)
STYLES = {
    "ddpm++": SONG,
    "ncsn++": SONG,
    "adm": Style(1.0, 1e-5, ADM_HEAD, adaptive=True, projected=False),
}


class EDMUNet2DModel(nn.Module):
    """A U-Net under the calls and, where they mean the same, the words of diffusers' configurations.

    Times are embedded in four times `base_channels`. A network with `class_embed_type: timestep` is also told where a
    jump lands, and one with `num_class_embeds` classes.
    """

    def __init__(self, **config: Any) -> None:
        super().__init__()
        self.config = config
        """What it was made of."""
        base, widths = config["base_channels"], config["block_out_channels"]
        style, embedded = STYLES[config["architecture"]], 4 * base
        self.plus, self.adm = (config["architecture"] == name for name in ("ncsn++", "adm"))
        self.times = times = base * (2 if self.plus else 1)
        if self.plus:
            self.register_buffer("frequencies", FOURIER_SCALE * torch.randn(times // 2))
        self.time_embedding = Embedding(times, embedded)
        self.class_embedding = Embedding(times, embedded) if config.get("class_embed_type") else None
        self.classes = config.get("num_class_embeds") or 0
        self.label_embedding = self._label_embedding(embedded) if self.classes else None

        def block(inputs: int, outputs: int, attention: bool = False, resample: nn.Module | None = None) -> Block:
            return Block(inputs, outputs, embedded, config["dropout"], attention, resample, style)

        width = widths[0] if self.adm else base
        self.conv_in = nn.Conv2d(config["in_channels"], width, 3, padding=1)
        self.down, self.up, skips, aside = nn.ModuleList(), nn.ModuleList(), [width], config["in_channels"]
        for level, (out, attention) in enumerate(zip(widths, config["attention"], strict=True)):
            stage = Stage(block(width, width, resample=Resample(0.5, self.plus)) if level else None)
            if level and self.plus:
                stage.aside = nn.Sequential(nn.Conv2d(aside, width, 3, padding=2, bias=False), Smooth(width))
                aside = width
            skips += [width] if level else []
            for _ in range(config["layers_per_block"]):
                stage.blocks.append(block(width, out, attention))
                width = out
                skips.append(width)
            self.down.append(stage)
        self.middle = nn.ModuleList([block(width, width, True), block(width, width)])
        for level, (out, attention) in reversed([*enumerate(zip(widths, config["attention"], strict=True))]):
            last = level + 1 == len(widths)
            stage = Stage(None if last else block(width, width, resample=Resample(2.0, self.plus)))
            for number in range(config["layers_per_block"] + 1):
                attends = attention and (self.adm or number == config["layers_per_block"])
                stage.blocks.append(block(width + skips.pop(), out, attends))
                width = out
            self.up.append(stage)
        self.conv_norm_out = _norm(width, style)
        self.conv_out = nn.Conv2d(width, config["out_channels"], 3, padding=1)
        self._draw_weights()

    frequencies: Tensor

    def forward(
        self,
        x: Tensor,
        time: Tensor,
        class_labels: Tensor | None = None,
        classes: Tensor | None = None,
        return_dict: bool = False,
    ) -> tuple[Tensor]:
        """The output [B, out_channels, H, W] at states x [B, C, H, W] and times ([B]).

        `class_labels` ([B]) is the time where a jump lands, as in diffusers' networks, and `classes` (int64 [B]) what
        each image is of.
        """
        embedded, aside = self._embedded(time, class_labels, classes), x
        x = self.conv_in(x)
        skips = [x]
        for stage in cast(Iterable[Stage], self.down):
            if stage.resized is not None:
                x = stage.resized(x, embedded)
                if stage.aside is not None:
                    x = aside = SONG.sum_factor * (x + stage.aside(aside))
                skips.append(x)
            for block in stage.blocks:
                x = block(x, embedded)
                skips.append(x)
        for block in self.middle:
            x = block(x, embedded)
        for stage in cast(Iterable[Stage], self.up):
            if stage.resized is not None:
                x = stage.resized(x, embedded)
            for block in stage.blocks:
                x = block(torch.cat([x, skips.pop()], dim=1), embedded)
        return (self.conv_out(silu(self.conv_norm_out(x))),)

    def _embedded(self, time: Tensor, landing: Tensor | None, classes: Tensor | None) -> Tensor:
        """All that blocks are told, [B, embedded]."""
        told: Tensor | float = 0.0
        if self.label_embedding is not None:
            assert classes is not None
            shown = one_hot(classes, self.classes).float()
            told = self.label_embedding(shown if self.adm else math.sqrt(self.classes) * shown)
        features = self._features(time)
        embedded = self.time_embedding(features) + told if self.adm else self.time_embedding(features + told)
        if self.class_embedding is not None and landing is not None:
            embedded = embedded + self.class_embedding(self._features(landing))
        return silu(embedded)

    def _features(self, time: Tensor) -> Tensor:
        """Sines and cosines of times, [B, times]."""
        if self.plus:
            frequencies = 2 * math.pi * self.frequencies
        else:
            last = self.times // 2 - (0 if self.adm else 1)
            places = torch.arange(self.times // 2, dtype=torch.float32, device=time.device) / last
            frequencies = LONGEST_PERIOD**-places
        phases = time.float()[:, None] * frequencies
        return torch.cat([phases.sin(), phases.cos()], dim=1)

    def _label_embedding(self, embedded: int) -> nn.Linear:
        """What is told classes: its output is added to the features of times, in ADM to what becomes of those."""
        return nn.Linear(self.classes, embedded, bias=False) if self.adm else nn.Linear(self.classes, self.times)

    def _draw_weights(self) -> None:
        """First weights: uniform (Glorot and Bengio 2010), those of each block's last layers nearly zero.

        ADM keeps PyTorch's, but each block's last layers start at zero, and weights of classes are standard normal.
        """
        for name, layer in self.named_modules():
            if not isinstance(layer, nn.Conv2d | nn.Linear):
                continue
            ends = name.endswith(("conv2", "attention.out", "conv_out"))
            if self.adm and layer is self.label_embedding:
                nn.init.normal_(layer.weight)
            elif ends or not self.adm:
                gain = math.sqrt(0.2) if name.endswith("attention.qkv") else 1.0
                nn.init.xavier_uniform_(layer.weight, (0.0 if self.adm else NEARLY_ZERO) if ends else gain)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)


class Embedding(nn.Module):
    """Two layers, of which the second one's activation is left to the sum of embeddings."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear_1, self.linear_2 = nn.Linear(inputs, outputs), nn.Linear(outputs, outputs)

    def forward(self, features: Tensor) -> Tensor:
        """[B, inputs] to [B, outputs]."""
        embedded: Tensor = self.linear_2(silu(self.linear_1(features)))
        return embedded


class Stage(nn.Module):
    """The blocks of one resolution, and the one that comes to it from the resolution before."""

    def __init__(self, resized: nn.Module | None) -> None:
        super().__init__()
        self.resized, self.blocks = resized, nn.ModuleList()
        self.aside: nn.Module | None = None
        """NCSN++'s second path, from the images downwards, past all blocks."""


class Block(nn.Module):
    """A residual block, whose input and output may have different sizes, and self-attention after it."""

    def __init__(
        self, inputs: int, outputs: int, embedded: int, dropout: float, attention: bool, resample: nn.Module | None,
        style: Style,
    ) -> None:  # fmt: skip
        super().__init__()
        self.style = style
        self.norm1, self.conv1 = _norm(inputs, style), nn.Conv2d(inputs, outputs, 3, padding=1)
        self.time = nn.Linear(embedded, outputs * (2 if style.adaptive else 1))
        self.norm2, self.conv2 = _norm(outputs, style), nn.Conv2d(outputs, outputs, 3, padding=1)
        self.dropout = nn.Dropout(dropout)
        self.resample = nn.Identity() if resample is None else resample
        direct = inputs == outputs and (resample is None or not style.projected)
        self.shortcut = nn.Identity() if direct else nn.Conv2d(inputs, outputs, 1)
        self.attention = Attention(outputs, style) if attention else nn.Identity()

    def forward(self, x: Tensor, embedded: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, outputs, H', W']."""
        hidden = self.conv1(self.resample(silu(self.norm1(x))))
        time = self.time(embedded)[:, :, None, None]
        if self.style.adaptive:
            scale, shift = time.chunk(2, dim=1)
            hidden = self.norm2(hidden) * (1 + scale) + shift
        else:
            hidden = self.norm2(hidden + time)
        hidden = self.conv2(self.dropout(silu(hidden)))
        attended: Tensor = self.attention(self.style.sum_factor * (hidden + self.shortcut(self.resample(x))))
        return attended


class Attention(nn.Module):
    """Every pixel looks at all others."""

    def __init__(self, channels: int, style: Style) -> None:
        super().__init__()
        self.heads, self.sum_factor = channels // (style.head_channels or channels), style.sum_factor
        self.norm, self.qkv = _norm(channels, style), nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to the same."""
        pixels = self.qkv(self.norm(x)).flatten(2).unflatten(1, (3, self.heads, -1)).transpose(3, 4)
        found = scaled_dot_product_attention(*pixels.unbind(1)).transpose(2, 3).reshape(x.shape)
        added: Tensor = self.sum_factor * (x + self.out(found))
        return added


class Resample(nn.Module):
    """Images of half or twice the size."""

    def __init__(self, scale: float, filtered: bool) -> None:
        super().__init__()
        self.scale, self.filtered = scale, filtered
        if filtered:
            self.register_buffer("kernel", kernel_of("ncsn++"))

    kernel: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to [B, C, scale H, scale W]."""
        if not self.filtered:
            return avg_pool2d(x, 2) if self.scale < 1 else interpolate(x, scale_factor=2.0, mode="nearest")
        channels = x.shape[1]
        kernel = self.kernel.to(x.dtype).expand(channels, 1, -1, -1)
        if self.scale < 1:
            return conv2d(x, kernel, stride=2, padding=1, groups=channels)
        return conv_transpose2d(x, 4 * kernel, stride=2, padding=1, groups=channels)


class Smooth(nn.Module):
    """Images of about half the size, their borders included, and a bias: after a convolution that keeps borders."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("kernel", kernel_of("ncsn++"))

    kernel: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H + 2, W + 2] to [B, C, H / 2, W / 2]."""
        kernel = self.kernel.to(x.dtype).expand(x.shape[1], 1, -1, -1)
        return conv2d(x, kernel, self.bias.to(x.dtype), stride=2, groups=x.shape[1])


def _norm(channels: int, style: Style) -> nn.GroupNorm:
    return nn.GroupNorm(min(32, channels // 4), channels, eps=style.epsilon)


def kernel_of(architecture: str) -> Tensor:
    """The filter by which images are halved, for rows and columns, whose numbers add up to 1; [1, 1, N, N]."""
    line = torch.tensor(TAPS if architecture == "ncsn++" else MEAN)
    return (line[:, None] * line / line.sum() ** 2)[None, None]
