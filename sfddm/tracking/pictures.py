"""A run's images as MLflow's image charts show them, on white."""

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from sfddm.data.store import BYTES, read_array
from sfddm.errors import damaged
from sfddm.images import grid, reduced
from sfddm.pipeline.paths import Paths
from sfddm.pipeline.rows import Row

if TYPE_CHECKING:
    from mlflow import MlflowClient

SHOWN, COLUMNS = 16, 4
"""Images of the grid, the same noises for every run."""
MOST_PIXELS = 64
"""A side of an image; larger ones are reduced."""


def log_pictures(client: "MlflowClient", run_id: str, row: Row) -> None:
    """Log a run's images from the first noises, and its way between two noises under the teacher's."""
    folder = Paths(row.run.spec).result(row.run.student, row.run.seed)
    shown = read_array(folder / "shown.npy", BYTES, 4)
    client.log_image(run_id, _picture(shown[:SHOWN], COLUMNS), key="samples", step=0)
    strips = read_array(folder / "interpolation.npy", BYTES, 6)
    if len(strips) != 2:
        raise damaged(folder / "interpolation.npy", "expected strips of the teacher and of the student")
    first = np.concatenate([strips[0, 0], strips[1, 0]])
    client.log_image(run_id, _picture(first, strips.shape[2]), key="interpolation", step=0)


def _picture(images: np.ndarray, columns: int) -> Image.Image:
    picture = grid(reduced(np.asarray(images), MOST_PIXELS), columns).convert("RGBA")
    white = Image.new("RGBA", picture.size, "white")
    white.alpha_composite(picture)
    return white.convert("RGB")
