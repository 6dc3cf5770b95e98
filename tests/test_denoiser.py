"""A network under its contract: what it is told, what is stored of it, and where its first weights come from."""

from pathlib import Path
from typing import Any

import pytest
import torch

from sfddm.networks import storage
from sfddm.networks.contract import Contract
from sfddm.networks.denoiser import build, make_network, time_input, unet_config
from sfddm.spec.teacher import UNet2D
from tests.parts import CPU, PATCHED, tiny, untrained_teacher


def contract(**changes: Any) -> Contract:
    return Contract(**{"timesteps": 4, "noise_schedule": "cosine", "prediction": "v", **changes})


def test_a_network_is_told_its_level_less_one_or_its_place_in_the_index_set() -> None:
    assert time_input(contract()).tolist() == [-1, 0, 1, 2, 3]
    assert time_input(contract(index_levels=(2, 4))).tolist() == [-1, -1, 0, -1, 1]


def test_what_a_network_is_told_is_not_among_its_weights() -> None:
    teacher = untrained_teacher()
    assert {name.partition(".")[0] for name in teacher.state_dict()} == {"network"}


def test_a_configuration_has_the_shape_of_the_images_and_attention_where_it_is_described() -> None:
    described = UNet2D(
        kind="unet2d",
        channels=(8, 16, 24),
        attention=(False, True, True),
        middle_attention=False,
        head_channels=4,
        layers_per_block=3,
        norm_groups=2,
        dropout=0.1,
    )
    assert unet_config(described, (3, 16, 32)) == {
        "sample_size": [16, 32],
        "in_channels": 3,
        "out_channels": 3,
        "block_out_channels": [8, 16, 24],
        "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"],
        "up_block_types": ["AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
        "add_attention": False,
        "attention_head_dim": 4,
        "layers_per_block": 3,
        "norm_num_groups": 2,
        "dropout": 0.1,
    }
    wide = build(unet_config(described, (3, 16, 32)), contract(), 0)
    assert wide.image_shape == (3, 16, 32)
    assert wide(torch.zeros(1, 3, 16, 32), torch.ones(1, dtype=torch.int64)).output.shape == (1, 3, 16, 32)


def test_first_weights_are_drawn_from_their_seed_and_leave_all_other_draws_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those of GPUs included, which are not even asked: here are none, though torch is made to think so."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    config = unet_config(tiny().teacher.source.network, (1, 8, 8))
    state = torch.get_rng_state()
    first = build(config, contract(), 3).state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(1)
    again = build(config, contract(), 3).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_a_network_on_patches_is_the_plain_one_between_an_unshuffle_and_a_shuffle(tmp_path: Path) -> None:
    """By hand: the pixels of a patch, line by line, are channels next to each other."""
    patched = untrained_teacher(network=PATCHED)
    on_patches = {"sample_size": [4, 4], "in_channels": 4, "out_channels": 4}
    plain = make_network({**unet_config(tiny().teacher.source.network, (1, 8, 8)), **on_patches})
    plain.load_state_dict(patched.network.state_dict())
    x, level = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([1, 30, 60])
    unshuffled = torch.stack([x[:, 0, i::2, j::2] for i in (0, 1) for j in (0, 1)], dim=1)
    output = plain(unshuffled, level - 1, return_dict=False)[0]
    shuffled = torch.zeros_like(x)
    for place, (i, j) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
        shuffled[:, 0, i::2, j::2] = output[:, place]
    storage.write(tmp_path, patched)
    for network in (patched, storage.load(tmp_path, CPU)):
        found = network(x, level)
        assert torch.equal(found.output, shuffled)
        assert network.image_shape == (1, 8, 8) and network.feature_shape == found.features.shape[1:] == (8, 4, 4)
