"""Students for programs that know nothing of this library: diffusers, torch.export, ONNX."""

from typing import Literal

Format = Literal["diffusers", "torch-export", "onnx"]
"""What a student can be exported to."""
