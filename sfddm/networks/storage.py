"""Denoisers to and from folders; the layout is described in `sfddm.networks.layout`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from attrs import fields_dict, frozen

from sfddm.errors import UserError, damaged
from sfddm.networks.contract import Contract, read_contract
from sfddm.networks.denoiser import Denoiser, Network, classes_of, make_network
from sfddm.networks.layout import CONFIG, CONTRACT, WEIGHTS, rises_within, weights_file
from sfddm.networks.weights import load_weights, write_weights
from sfddm.runtime.files import write_json
from sfddm.spec.fields import Depth, Pixels, Width
from sfddm.spec.parse import as_stored, read_mapping

MOST_BLOCKS = 16
"""Resolution levels of a network."""


def write(folder: Path, denoiser: Denoiser, others: Mapping[str, Denoiser] | None = None) -> None:
    """Write a denoiser, with other averages of its weights by their names, into an existing folder."""
    write_json(folder / CONFIG, {"_class_name": type(denoiser.network).__name__, **denoiser.config})
    write_json(folder / CONTRACT, denoiser.contract.to_json())
    write_weights(folder / WEIGHTS, denoiser.network)
    for name, other in (others or {}).items():
        write_weights(folder / weights_file(name), other.network)


@frozen(kw_only=True)
class _Size:
    """The fields of a diffusers config that determine sizes."""

    sample_size: tuple[Pixels, ...]
    in_channels: Width
    out_channels: Width
    block_out_channels: tuple[Width, ...]
    layers_per_block: Depth


def load(folder: Path, device: torch.device) -> Denoiser:
    """Read a denoiser, for inference, onto `device`.

    Raises:
        UserError: a file is missing or damaged, or the weights don't fit the network.
    """
    return Denoiser(*load_network(folder)).to(device).eval().requires_grad_(False)


def load_network(folder: Path) -> tuple[Network, Contract]:
    """Read a network as its library made it, and its contract.

    Raises:
        UserError: as `load`.
    """
    contract = read_contract(folder)
    config = {key: value for key, value in read_mapping(folder / CONFIG).items() if not key.startswith("_")}
    size = as_stored(folder / CONFIG, {key: config.get(key) for key in fields_dict(_Size)}, _Size)
    channels = size.in_channels * (2 if contract.prediction == "epsilon-sample" else 1)
    second_time = "timestep" if contract.two_times else None
    described = (size.out_channels, len(size.sample_size), config.get("class_embed_type"))
    if described != (channels, 2, second_time) or classes_of(config) != contract.classes:
        raise damaged(folder / CONFIG, f"it is not the network that {CONTRACT} describes")
    if not rises_within(contract.index_levels, contract.timesteps):
        raise damaged(folder / CONTRACT, f"expected index_levels that increase within 1..{contract.timesteps}")
    network = network_without_memory(folder / CONFIG, config)
    load_weights(network, folder / WEIGHTS)
    return network, contract


def network_without_memory(path: Path, config: dict[str, Any]) -> Network:
    """The network that a file describes on torch's meta device: what a damaged description asks for is not allocated.

    Raises:
        UserError: it describes no network, or one of a library that is not installed.
    """
    if len(config["block_out_channels"]) > MOST_BLOCKS:
        raise damaged(path, f"more than {MOST_BLOCKS} blocks")
    try:
        with torch.device("meta"):
            return make_network(config)
    except UserError:
        raise
    except Exception as error:  # libraries raise anything on a configuration that is not theirs
        raise damaged(path, f"it describes no network: {error}") from None
