"""Denoisers to and from folders; the layout is described in `sfddm.networks.layout`."""

from pathlib import Path

import torch
from diffusers.models.unets.unet_2d import UNet2DModel

from sfddm.errors import UserError
from sfddm.files import read_json, write_json
from sfddm.networks.denoiser import Contract, Denoiser
from sfddm.networks.layout import CONFIG, CONTRACT, WEIGHTS
from sfddm.networks.weights import load_weights, write_weights


def write(folder: Path, denoiser: Denoiser) -> None:
    """Write a denoiser into an existing folder."""
    write_json(folder / CONFIG, {"_class_name": "UNet2DModel", **denoiser.config})
    write_json(folder / CONTRACT, denoiser.contract.to_json())
    write_weights(folder / WEIGHTS, denoiser.network)


def load(folder: Path, device: torch.device) -> Denoiser:
    """Read a denoiser, for inference, onto `device`.

    Raises:
        UserError: a file is missing or damaged, or the weights don't fit the network.
    """
    config = {key: value for key, value in read_json(folder / CONFIG).items() if not key.startswith("_")}
    described = read_json(folder / CONTRACT)
    try:
        network, contract = UNet2DModel(**config), Contract.from_json(described)
    except (TypeError, ValueError, KeyError) as error:
        raise UserError(f"{folder} does not describe a network of this project: {error}") from None
    load_weights(network, folder / WEIGHTS)
    return Denoiser(network, contract).to(device).eval().requires_grad_(False)
