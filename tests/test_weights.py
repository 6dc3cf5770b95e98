"""Weights that are put into a network: as torch would have made them, whatever they were read from."""

from pathlib import Path

import pytest
import torch
from torch import nn

from sfddm.errors import UserError
from sfddm.networks.weights import put_weights


def on_meta() -> nn.Conv2d:
    with torch.device("meta"):
        return nn.Conv2d(2, 3, 3)


def test_they_are_copies_in_float32_and_in_the_usual_order() -> None:
    given = {
        "weight": torch.randn(3, 2, 3, 3).double().to(memory_format=torch.channels_last),
        "bias": torch.randn(3).double(),
    }
    network = on_meta()
    put_weights(network, given, Path("mine"))
    assert network.weight.dtype == torch.float32 and network.weight.is_contiguous() and network.weight.requires_grad
    assert torch.equal(network.weight, given["weight"].float())
    same = {name: tensor.float() for name, tensor in given.items()}
    put_weights(network, same, Path("mine"))
    same["bias"].zero_()
    assert torch.equal(network.bias, given["bias"].float()), "they share no memory with what was read"


def test_what_does_not_fit_leaves_the_network_without_memory() -> None:
    network = on_meta()
    with pytest.raises(UserError, match=r"mine: its weights don't fit the network: 'bias' is float32 \[2\], expected"):
        put_weights(network, {"weight": torch.ones(3, 2, 3, 3), "bias": torch.ones(2)}, Path("mine"))
    assert network.weight.is_meta
