"""Weights that others trained and publish as PyTorch files: found, checked by their hash, and only then read.

A `.pth` file is a pickle. It is read once, when the scorer is made, with a reader that builds tensors and nothing else;
from then on the weights lie beside the other outputs as safetensors.
"""

import hashlib
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from sfddm.errors import UserError


def read_published(variable: str, names: Sequence[str], sha256: str) -> dict[str, Any]:
    """The state dict in the file that the environment variable names, or else in one of torch's cache of these names.

    Raises:
        UserError: there is no such file, its content has another SHA-256, or it holds no tensors; nothing of a file
            with another hash is read.
    """
    path = _find(variable, names)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror or error}.") from None
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise UserError(
            f"{path} has the SHA-256 {found}, and the spec expects {sha256}.\n"
            "Nothing of it was loaded. Give the file that the spec means, or the spec the hash of the file you trust."
        )
    try:
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zip and torch each have errors of their own
        raise UserError(f"{path} holds more than tensors, or is damaged: {str(error).splitlines()[0]}") from None
    if not isinstance(state, dict):
        raise UserError(f"{path} holds no named tensors: expected a network's state dict.")
    return state


def load_published(network: torch.nn.Module, state: dict[str, Any]) -> None:
    """Put a published state dict into its network.

    Raises:
        UserError: it belongs to another network.
    """
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()]
        raise UserError(f"the scorer's weights are of another network: {' '.join(lines[1:2])[:200]}") from None


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
