"""Networks that others trained and publish as PyTorch files: found, checked by their hash, and only then read.

A `.pth` file is a pickle. It is read once, when the scorer is made; from then on the weights are stored next to the
other outputs, as safetensors.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sfddm.errors import UserError
from sfddm.networks.weights import read_pickled


def read_published(variable: str, names: Sequence[str], sha256: str) -> dict[str, Any]:
    """The state dict in the file that an environment variable names, or else in one of torch's cache of these names.

    Raises:
        UserError: there is no such file, its content has another SHA-256, or it holds no tensors; nothing of a file
            with another hash is read.
    """
    return read_pickled(_find(variable, names), sha256)


def load_published(network: nn.Module, state: dict[str, Any]) -> None:
    """Put a published state dict into its network.

    Raises:
        UserError: it belongs to another network.
    """
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()]
        raise UserError(f"the scorer's weights belong to another network: {' '.join(lines[1:2])[:200]}") from None


def _find(variable: str, names: Sequence[str]) -> Path:
    named = os.environ.get(variable)
    if named:
        if not Path(named).is_file():
            raise UserError(f"{variable} is {named!r}: there is no such file.")
        return Path(named)
    cache = Path(torch.hub.get_dir()) / "checkpoints"
    for name in names:
        if (cache / name).is_file():
            return cache / name
    known = " or ".join(names) or "its weights"
    raise UserError(
        f"the scorer's weights are not on this machine: set {variable} to the path of {known}, or put the file into "
        f"{cache}. Nothing is downloaded for a scorer; where there is a network, torch.hub gets files into that folder."
    )
