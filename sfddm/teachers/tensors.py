"""Weights alone in a safetensors file, of a network that the spec describes, or that the file itself does."""

from pathlib import Path

import torch
from attrs import frozen
from safetensors import SafetensorError, safe_open

from sfddm.errors import UserError
from sfddm.networks.denoiser import make_network, unet_config
from sfddm.networks.weights import put_weights, read_tensors
from sfddm.runtime.files import check_regular, digest_file, parse_json
from sfddm.spec.fields import Natural, Pixels, Width
from sfddm.spec.parse import StructureError, structure
from sfddm.spec.teacher import FromTensors, Network, Teacher
from sfddm.teachers.candidate import Found

ABOUT = "sfddm"
"""Where a file's metadata have what it says about its network, as JSON."""
REPLACE = "Replace it by a whole one"


@frozen(kw_only=True)
class About:
    """What such a file says about its network."""

    network: Network
    channels: Width
    height: Pixels
    width: Pixels
    classes: Natural = 0

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the images."""
        return self.channels, self.height, self.width


def read(path: Path, source: FromTensors, described: Teacher, shape: tuple[int, int, int]) -> Found:
    """The teacher that the spec describes, with the weights in the file.

    Args:
        path: the file.
        source: its hash, and the network.
        described: schedule, T and prediction, of which the file says nothing.
        shape: of the images.

    Raises:
        UserError: the file has another hash, is damaged, or its weights belong to another network.
    """
    check_regular(path)
    digest = digest_file(path)
    if digest != source.sha256:
        raise UserError(
            f"{path} has the SHA-256 {digest}, and the spec expects {source.sha256}: give the spec the hash of the "
            "file that you trust."
        )
    config = {**unet_config(source.network, shape, described.classes), "dropout": 0.0}
    try:
        with torch.device("meta"):
            network = make_network(config)
    except Exception as error:  # libraries raise anything on what they can't build
        raise UserError(f"teacher.source.network can't be built: {error}") from None
    put_weights(network, read_tensors(path, remedy=REPLACE), path)
    return Found(
        origin=path.name,
        pinned=digest,
        network=network,
        timesteps=described.timesteps,
        noise_schedule=described.noise_schedule,
        schedule_words=str(described.noise_schedule),
        prediction=described.prediction,
        dropout=source.network.dropout,
    )


def read_about(path: Path) -> About:
    """What the file says about its network.

    Raises:
        UserError: nothing, or it can't be read.
    """
    try:
        check_regular(path)
        with safe_open(path, framework="pt") as file:
            about = (file.metadata() or {}).get(ABOUT)
            content = None if about is None else parse_json(about.encode())
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} can't be read as safetensors ({error}). {REPLACE}.") from None
    if content is None:
        raise UserError(
            f"{path} has weights and says nothing about their network: write a spec whose teacher has `source: {{kind: "
            "safetensors, file: ..., sha256: ..., network: ...}}`, as in docs/teachers.md."
        )
    try:
        return structure(content, About)
    except StructureError as error:
        raise UserError(f"{path} says of its network what can't be ({error}). {REPLACE}.") from None
