"""The registered model as MLflow loads it: code and safetensors, no pickle."""

from pathlib import Path
from typing import Any

import numpy as np
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel


class ServedStudent(PythonModel):  # type: ignore[misc]
    """Noise [N, C, H, W] to images, uint8 [N, C, H, W]; with `num` above 0, images 0..num-1 of `seed` instead."""

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
        if params.get("num", 0) > 0:
            return generate(self.denoiser, self.sampler, params["seed"], params["num"], 250, "sampling")
        noise = model_input["noise"] if isinstance(model_input, dict) else model_input
        return from_noise(self.denoiser, self.sampler, np.asarray(noise, dtype=np.float32))


set_model(ServedStudent())
