"""An experiment whose students have made-up results, stored where the pipeline stores them."""

import json
from typing import Any

import numpy as np
from attrs import evolve

from sfddm.evaluation.metrics import METRICS
from sfddm.images import grid, png
from sfddm.pipeline.paths import Paths
from sfddm.pipeline.rows import load_rows
from sfddm.report.columns import COLUMNS
from sfddm.report.table import Entry, Table, make_table
from sfddm.runtime.files import write_json
from sfddm.spec.experiment import Spec
from sfddm.spec.index_set import Uniform
from sfddm.spec.read import parse_spec
from sfddm.spec.students import Free, Method, Student
from tests.project import ROOT

NOISE = (-0.02, -0.01, 0.0, 0.01, 0.02)
"""What the blocks' noises do to every row alike."""
SHARED = {
    "teacher_frechet_distance": 0.25,
    "real_distance": 0.125,
    "real_distance_samples": 750,
    "samples": 5000,
    "real_images": 1500,
    "scorer": "classifier-2:0123abcd",
    "scorer_version": 2,
    "real": "abcd0123",
    "reference": "4567cdef",
    "noise_seed": 3,
    "notes": [],
}
"""What is the same in the metrics of all students."""
OWN = {
    **{metric.key: 0.5 for metric in METRICS if not metric.timed},
    "kernel_distance": 0.004,
    "precision": 0.75,
    "recall": 0.625,
    "pixel_distance": 0.0625,
    "mse_to_teacher": 0.01,
    "psnr": 26.02,
    "ssim": 0.875,
    "feature_cosine": 0.9375,
    "path_length": 3.0,
    "teacher_path_length": 2.0,
    "agreement": 0.9,
    "weights": "89ab89ab89ab89ab",
}
"""What every student has of its own, unless a test says otherwise."""


class Experiment:
    """The students of a spec, with a distance for each training seed."""

    def __init__(self, shape: tuple[int, int, int] = (1, 8, 8)) -> None:
        tiny = parse_spec((ROOT / "tests/tiny.yaml").read_text(), "tiny.yaml")
        self.spec: Spec = evolve(tiny, students={})
        self.ours = tiny.students["ours-t4"].method
        self.ddim = Free(kind="free", solver="ddim")
        self.images = np.random.default_rng(0).integers(0, 256, (64, *shape), dtype=np.uint8)
        self.grid = png(grid(self.images, 16))
        reference = Paths(self.spec.name).reference
        reference.mkdir(parents=True)
        np.save(reference / "images.npy", self.images)

    def add(
        self,
        name: str,
        steps: int,
        method: Method,
        distances: list[float],
        noise: tuple[float, ...] = NOISE,
        **metrics: Any,
    ) -> None:
        """A student with a distance a seed; its block distances are .1 larger, and the noise moves them."""
        seeds = tuple(range(len(distances)))
        student = Student(index_set=Uniform(kind="uniform", steps=steps), clip_sample=True, method=method, seeds=seeds)
        self.spec = evolve(self.spec, students={**self.spec.students, name: student})
        free = isinstance(method, Free)
        cost = {"cache": 1000, "training": 0 if free else 2000, "folds": 0 if free else 1, "total": 0 if free else 3000}
        for seed, distance in enumerate(distances):
            found = {
                **SHARED,
                **OWN,
                "frechet_distance": distance,
                "frechet_blocks": [distance + 0.1 + moved for moved in noise],
                "frechet_distance_at_floor": distance + 0.05,
                "nfe": steps,
                "levels": list(self.spec.levels(name)),
                "cost": cost,
            }
            self._write(name, seed, {**found, **metrics})
            if method.kind == "sfddm":
                self._curve(name, seed)

    def table(self) -> Table:
        """The comparison as it stands."""
        return make_table(self.spec, load_rows(self.spec))

    def cells(self, column: str) -> dict[str, str]:
        """A column of the table by student."""
        text = next(some.text for some in COLUMNS if some.name == column)
        entries: list[Entry] = self.table().entries
        return {entry.student: text(entry) for entry in entries}

    def _write(self, name: str, seed: int, metrics: dict[str, Any]) -> None:
        paths = Paths(self.spec.name)
        folder = paths.result(name, seed)
        write_json(folder / "metrics.json", metrics)
        measured = {metric.key: 0.5 for metric in METRICS if metric.timed}
        timing = {**measured, "seconds_per_1000_images": 1.5 * metrics["nfe"], "speed_up": 16.0, "latency_ms": 7.5,
                  "peak_memory_mb": 400.0, "device": "cpu"}  # fmt: skip
        write_json(folder / "timing.json", timing)
        np.save(folder / "shown.npy", self.images)
        np.save(folder / "interpolation.npy", np.stack([self.images[:32]] * 2).reshape(2, 4, 8, *self.images.shape[1:]))
        (folder / "grid.png").write_bytes(self.grid)
        trained = {"seconds": 10.0 + seed, "peak_memory_mb": 500.0 + seed, "device": "cpu"}
        write_json(paths.timing(name, seed), trained)

    def _curve(self, name: str, seed: int) -> None:
        folder = Paths(self.spec.name).student(name, seed)
        folder.mkdir(parents=True, exist_ok=True)
        points = [{"step": step, "loss": 1 / step} for step in range(1, 101)]
        (folder / "curve.jsonl").write_text("".join(f"{json.dumps(point)}\n" for point in points))
