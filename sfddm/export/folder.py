"""A student as a folder of diffusers: its network as diffusers stores one, and a pipeline in one file of Python.

No scheduler of diffusers supports any index set, an image next to the noise, a second time and clipping, so the
folder brings a pipeline along. Its mathematics is that of `sfddm.diffusion`, source and all: nothing is written twice.
"""

import ast
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import diffusers
import torch

from sfddm.diffusion import prediction, process, sampling, solvers, steps
from sfddm.export import bare, pipeline
from sfddm.networks.denoiser import of_patches
from sfddm.networks.layout import CONFIG, WEIGHTS
from sfddm.networks.weights import write_weights
from sfddm.runtime.files import write_json, write_text

MODULES = (prediction, process, solvers, steps, sampling, bare, pipeline)
"""The modules that make up the pipeline's file, each after those that it imports."""
HEADER = '''"""A distilled student as a pipeline of diffusers; needs torch and diffusers alone.

Load it with DiffusionPipeline.from_pretrained(FOLDER, trust_remote_code=True).
"""

from __future__ import annotations

'''


def write_folder(folder: Path, network: Any, student: Mapping[str, Any]) -> None:
    """Write a student into an existing folder: diffusers' network, and a description that `sfddm.export.bare` reads."""
    about = {"_diffusers_version": diffusers.__version__}
    config = {name: value for name, value in network.config.items() if not name.startswith("_")}
    if "patch" in config:  # diffusers has no such network: the pipeline makes the patches
        student, config = {**student, "patch": config["patch"]}, of_patches(config)
    (folder / "unet").mkdir()
    write_json(folder / "unet" / CONFIG, {**about, "_class_name": "UNet2DModel", **config})
    write_weights(folder / "unet" / WEIGHTS, network)
    write_text(folder / "pipeline.py", HEADER + "\n".join(_source(module) for module in MODULES))
    named = {"_class_name": ["pipeline", pipeline.StudentPipeline.__name__], "unet": ["diffusers", "UNet2DModel"]}
    write_json(folder / "model_index.json", {**about, **named, "student": dict(student)})


def draw_from_folder(folder: Path, noise: torch.Tensor, step_noise: torch.Tensor | None) -> torch.Tensor:
    """The images that the folder's own pipeline makes of given noises."""
    diffusers.utils.logging.disable_progress_bar()
    loaded = diffusers.DiffusionPipeline.from_pretrained(folder, trust_remote_code=True)
    images: torch.Tensor = loaded(noise=noise, step_noise=step_noise, output_type="raw").images
    return images


def _source(module: ModuleType) -> str:
    """A module's text without its docstring and without what it imports from this library."""
    text = Path(str(module.__file__)).read_text(encoding="utf-8")
    lines = text.splitlines()
    for node in ast.parse(text).body:
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and node.lineno == 1
        ours = isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "sfddm"
        if docstring or ours:
            lines[node.lineno - 1 : node.end_lineno] = [""] * (int(node.end_lineno or node.lineno) - node.lineno + 1)
    return "\n".join(lines).strip() + "\n\n"
