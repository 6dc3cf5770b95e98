"""The architectures of the `classifier` scorer, which have nothing in common but their last two layers."""

import torch
from torch import Tensor, nn

from sfddm.spec.evaluation import Convolutions, Transformer


class Network(nn.Module):
    """A body, one hidden layer, whose activations are the features, and a linear layer to the classes."""

    def __init__(
        self, shape: tuple[int, int, int], described: Convolutions | Transformer, features: int, classes: int
    ) -> None:
        super().__init__()
        if isinstance(described, Convolutions):
            layers, width = _convolutions(shape, described)
        else:
            layers, width = _transformer(shape, described)
        # SiLU never dies: a feature that is constant on real images would make every distance meaningless.
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Linear(width, features), nn.SiLU())
        self.head = nn.Linear(features, classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features [B, D] and class scores [B, classes] of images [B, C, H, W] in [-1, 1]."""
        features = self.body(images)
        return features, self.head(features)


def _convolutions(shape: tuple[int, int, int], described: Convolutions) -> tuple[list[nn.Module], int]:
    """3x3 convolutions with group normalisation, and how many numbers they make of an image."""
    layers: list[nn.Module] = []
    before, (_, height, width) = shape[0], shape
    for position, after in enumerate(described.channels):
        stride = 1 if position == 0 else 2
        layers += [nn.Conv2d(before, after, 3, stride, 1), nn.GroupNorm(1, after), nn.SiLU()]
        height, width = -(-height // stride), -(-width // stride)
        before = after
    return layers, before * height * width


class _Embedding(nn.Module):
    """Patches of images [B, C, H, W] as tokens [B, patches, width], each with a learned mark of its position."""

    def __init__(self, channels: int, patches: int, described: Transformer) -> None:
        super().__init__()
        self.patch = nn.Conv2d(channels, described.width, described.patch, described.patch)
        self.position = nn.Parameter(0.02 * torch.randn(patches, described.width))

    def forward(self, images: Tensor) -> Tensor:
        tokens: Tensor = self.patch(images).flatten(2).mT
        return tokens + self.position


def _transformer(shape: tuple[int, int, int], described: Transformer) -> tuple[list[nn.Module], int]:
    """A vision transformer (Dosovitskiy et al. 2021) with its norms first, and how many numbers it makes of an image.

    All tokens go on to the features: a mean over them learns too slowly for a few hundred images.
    """
    width, patches = described.width, described.patches(shape)
    blocks = [
        nn.TransformerEncoderLayer(
            width, described.heads, 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        for _ in range(described.depth)
    ]
    return [_Embedding(shape[0], patches, described), *blocks, nn.LayerNorm(width)], patches * width
