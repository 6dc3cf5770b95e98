"""Denoisers to and from folders; the layout is described in `sfddm.networks.layout`."""

from pathlib import Path

import torch
from diffusers.models.unets.unet_2d import UNet2DModel

from sfddm.files import read_json, write_json
from sfddm.networks.denoiser import Contract, Denoiser
from sfddm.networks.layout import CONFIG, CONTRACT, WEIGHTS
from sfddm.networks.weights import load_weights, write_weights


def write(folder: Path, denoiser: Denoiser) -> None:
    """Write a denoiser into an existing folder."""
    config = {key: value for key, value in denoiser.network.config.items() if not key.startswith("_")}
    write_json(folder / CONFIG, {"_class_name": "UNet2DModel", **config})
    write_json(folder / CONTRACT, denoiser.contract.to_json())
    write_weights(folder / WEIGHTS, denoiser.network)


def load(folder: Path, device: torch.device) -> Denoiser:
    """Read a denoiser, for inference, onto `device`.

    Raises:
        UserError: a file is missing or damaged, or the weights don't fit the network.
    """
    config = {key: value for key, value in read_json(folder / CONFIG).items() if not key.startswith("_")}
    network = UNet2DModel(**config)
    load_weights(network, folder / WEIGHTS)
    contract = Contract.from_json(read_json(folder / CONTRACT))
    return Denoiser(network, contract).to(device).eval().requires_grad_(False)
