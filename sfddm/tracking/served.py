"""The registered model as MLflow loads it: code and safetensors, no pickle."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

if TYPE_CHECKING:
    from sfddm.diffusion.sampler import Sampler


class ServedStudent(PythonModel):  # type: ignore[misc]
    """Noise [N, C, H, W] to images, uint8 [N, C, H, W]; with `num` above 0, images 0..num-1 of `seed` instead.

    `index_set` (noise levels) or `steps` (that many, evenly in angle) ask for another index set than the student's own.
    """

    def load_context(self, context: Any) -> None:
        """Read the student that lies beside the model."""
        from sfddm.environment import device
        from sfddm.networks import storage
        from sfddm.networks.layout import read_sampler

        folder = Path(context.artifacts["student"])
        self.denoiser = storage.load(folder, device())
        self.sampler = read_sampler(folder)

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # MLflow reads type hints
        """Images, uint8 [N, C, H, W]."""
        from sfddm.generation import from_noise, generate

        params = params or {}
        sampler = self._asked(params.get("steps", 0), params.get("index_set"))
        if params.get("num", 0) > 0:
            return generate(self.denoiser, sampler, params["seed"], params["num"], 250, "sampling")
        noise = model_input["noise"] if isinstance(model_input, dict) else model_input
        return from_noise(self.denoiser, sampler, np.asarray(noise, dtype=np.float32))

    def _asked(self, steps: int, levels: Any) -> "Sampler":
        from sfddm.resampling import on_index_set
        from sfddm.spec.index_set import Explicit, UniformAngle

        if levels is not None and len(levels):
            asked = Explicit(kind="explicit", levels=tuple(int(level) for level in levels))
            return on_index_set(self.sampler, self.denoiser.contract, asked)
        if steps > 0:
            return on_index_set(self.sampler, self.denoiser.contract, UniformAngle(kind="uniform-angle", steps=steps))
        return self.sampler


set_model(ServedStudent())
