"""Students for programs that know nothing of this library: diffusers, torch.export, ONNX."""

from pathlib import Path
from typing import Literal

from sfddm.errors import UserError

Format = Literal["diffusers", "torch-export", "onnx"]
"""What a student can be exported to."""


def require_new(folder: Path) -> None:
    """Raises: UserError: something is at `folder` already that is not an empty folder."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is there already: give the name of a new folder.")
