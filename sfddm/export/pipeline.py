"""The diffusers pipeline of an exported student.

`sfddm.export.folder` puts it into the exported folder, with the modules that it imports from here in its own file.
"""

import inspect
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline, ImagePipelineOutput, UNet2DModel
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from sfddm.diffusion.sampling import sample
from sfddm.diffusion.solvers import SOLVERS
from sfddm.export.bare import Bare, sampler_of


class StudentPipeline(DiffusionPipeline):  # type: ignore[misc]
    """Images from noise in the T' steps of a distilled student, in the precision that its network is in."""

    def __init__(self, unet: UNet2DModel, student: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.register_modules(unet=unet)
        self.register_to_config(student=student)

    @torch.no_grad()
    def __call__(
        self,
        batch_size: int = 1,
        generator: torch.Generator | list[torch.Generator] | None = None,
        noise: Tensor | None = None,
        step_noise: Tensor | None = None,
        class_labels: list[int] | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
    ) -> Any:
        """Draw images (`student` has a default in the constructor only because diffusers asks for one).

        Args:
            batch_size: how many, where no noise is given.
            generator: where noise comes from that is not given.
            noise: the state at the noisiest level, [B, C, H, W].
            step_noise: what a stochastic solver adds after each step but the last, [T' - 1, B, C, H, W].
            class_labels: the class of each image, where the student is told classes; left out, image i of the batch
                has class i, and they begin anew after the last.
            output_type: pil, np ([B, H, W, C]) or pt ([B, C, H, W]), both in [0, 1], or raw ([B, C, H, W] as the
                student makes them, in [-1, 1] if it clips).
            return_dict: an ImagePipelineOutput, or a tuple of the images.
        """
        student = self.config.student
        bare, sampler = Bare(self.unet, student).to(self.device), sampler_of(student)
        if noise is None:
            patch, (height, width) = bare.patch, self.unet.config.sample_size
            shape = (batch_size, self.unet.config.in_channels // patch**2, height * patch, width * patch)
            noise = randn_tensor(shape, generator=generator, device=self.device)
        noise = noise.to(self.device, torch.float32)  # only the network computes in another precision
        steps = (len(sampler.levels) - 1) * SOLVERS[sampler.solver].stochastic
        if step_noise is None:
            drawn = [randn_tensor(noise.shape, generator, self.device, noise.dtype) for _ in range(steps)]
        else:
            drawn = list(step_noise.to(self.device))
        if class_labels is None:
            class_labels = [number % bare.classes for number in range(len(noise))] if bare.classes else []
        if len(class_labels) != bool(bare.classes) * len(noise) or not set(class_labels) <= set(range(bare.classes)):
            raise ValueError(f"expected a class for each of {len(noise)} images, of {bare.classes} classes")
        bare.labels = torch.tensor(class_labels, device=self.device) if bare.classes else None
        images = sample(bare, noise, sampler, iter(drawn))
        drawn_images: Any = images
        if output_type != "raw":
            drawn_images = (images / 2 + 0.5).clamp(0, 1)
        if output_type in ("np", "pil"):
            drawn_images = drawn_images.cpu().permute(0, 2, 3, 1).numpy()
        if output_type == "pil":
            drawn_images = self.numpy_to_pil(drawn_images)
        return ImagePipelineOutput(images=drawn_images) if return_dict else (drawn_images,)

    def save_pretrained(self, save_directory: str | Path, **options: Any) -> None:
        """Write the pipeline into a folder that loads like the one it came from; diffusers leaves out its file."""
        super().save_pretrained(save_directory, **options)
        source, index = Path(inspect.getfile(type(self))), Path(save_directory) / "model_index.json"
        shutil.copyfile(source, Path(save_directory) / "pipeline.py")
        named = {**json.loads(index.read_text()), "_class_name": ["pipeline", type(self).__name__]}
        index.write_text(json.dumps(named, indent=2) + "\n")
