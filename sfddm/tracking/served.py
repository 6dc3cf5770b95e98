"""The registered model as MLflow loads it: code and safetensors, no pickle."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

BATCH = 250


class ServedStudent(PythonModel):  # type: ignore[misc]
    """One request of `sfddm.tracking.request`, as {"seed": 3, "num": 8, "steps": 4}, to images, uint8 [N, C, H, W]."""

    def load_context(self, context: Any) -> None:
        """Read the student that is stored with the model."""
        from sfddm.networks import storage
        from sfddm.networks.layout import read_sampler
        from sfddm.runtime.machine import device

        folder = Path(context.artifacts["student"])
        self.denoiser = storage.load(folder, device())
        self.sampler = read_sampler(folder)

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # MLflow reads type hints
        """Images, uint8 [N, C, H, W].

        Raises:
            MlflowException: the request is not valid; a server answers with 400 and the sentence.
        """
        from sfddm.networks.generation import generate
        from sfddm.tracking.request import asked_sampler, read_request

        with _refusals():
            request = read_request(_one_record(model_input))
            sampler = asked_sampler(request, self.sampler, self.denoiser.contract)
            label = request.asked_class(self.denoiser.contract)
            return generate(self.denoiser, sampler, request.seed, request.num, BATCH, "sampling", label)


def _one_record(model_input: Any) -> dict[str, Any]:
    """The request in the table that MLflow makes of it, a row per request, in plain values; None for empty cells."""
    from sfddm.errors import UserError

    if len(model_input) > 1:
        raise UserError(f"expected one request, found {len(model_input)}.")
    return {str(key): _plain(model_input[key].iloc[0]) for key in model_input.columns if len(model_input)}


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value != value:
        return None
    return value.tolist() if hasattr(value, "tolist") else value  # numpy's numbers and arrays


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn errors that a caller can correct into the one that MLflow's server answers with 400."""
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

    from sfddm.errors import UserError

    try:
        yield
    except UserError as error:
        raise MlflowException(str(error), error_code=INVALID_PARAMETER_VALUE) from None


set_model(ServedStudent())
