"""An experiment whose students have made-up results, stored where the pipeline stores them."""

import json
from typing import Any

import numpy as np
from attrs import evolve

from sfddm.evaluation.metrics import JACKKNIFE, METRICS, SCORERS
from sfddm.images import grid, png
from sfddm.pipeline.paths import Paths
from sfddm.pipeline.promotions import Promotion
from sfddm.pipeline.rows import Row, load_row, load_rows
from sfddm.registry.gates import remembered
from sfddm.report.columns import columns_of, columns_of_scorer
from sfddm.report.table import Table, make_table
from sfddm.runtime.files import write_json
from sfddm.spec.evaluation import Gates
from sfddm.spec.experiment import Spec
from sfddm.spec.index_set import Uniform
from sfddm.spec.read import parse_spec
from sfddm.spec.students import Free, Method, Student
from tests.project import ROOT

PANEL = {"convolutional": 1.0, "pixels": 10.0}
"""tiny's scorers, and the unit of each one's distances."""
TEACHERS = 0.25
"""The teacher's distance, in these units."""
ERROR = 0.02
"""Its standard error, and every row's unless a test says otherwise: the noises move all of them together."""
BLOCKS = tuple(step / 8**0.5 for step in (-2, -1, 0, 1, 2))
"""What leaving out each of five blocks of noises does: a standard error of 1, by the jackknife."""
WRONG = "256 images are fewer than the 256 features: Frechet distances are wrong"
"""What notes say of a scorer whose distances mean nothing, after its name."""
SHARED = {"samples": 5000, "reference": "4567cdef", "noise_seed": 3, "notes": []}
"""What is the same in the metrics of all students."""
OWN = {
    **{metric.key: 0.5 for metric in METRICS if not metric.timed and not metric.judged},
    "mse_to_teacher": 0.01,
    "psnr": 26.02,
    "ssim": 0.875,
    "weights": "89ab89ab89ab89ab",
}
"""What every student has of its own, unless a test says otherwise."""
JUDGED = {
    **{metric.key: 0.5 for metric in METRICS if metric.judged},
    "train_distance": 0.375,
    "kernel_distance": 0.004,
    "precision": 0.75,
    "recall": 0.625,
    "agreement": 0.9,
    "feature_cosine": 0.9375,
    "path_length": 3.0,
    "teacher_path_length": 2.0,
    "floor": 0.125,
    "floor_images": 750,
    "real_images": 1500,
    "held_out": True,
    "scorer": "classifier-2:0123abcd",
    "scorer_version": "2",
    "real": "abcd0123",
}
"""What a scorer says of it."""


def jackknife(whole: float, error: float) -> dict[str, list[float]]:
    """A metric without each block of noises, of this standard error; the real images add nothing to it."""
    images = [whole + error * block for block in BLOCKS]
    return {"images": images, "real": [whole] * len(BLOCKS), "both": images}


def judged(distance: float, error: float = ERROR, unit: float = 1.0) -> dict[str, Any]:
    """A scorer's part of metrics.json. An error other than the teacher's is by how much they don't move together."""
    distances = {
        "frechet_distance": (distance, error * unit),
        "teacher_frechet_distance": (TEACHERS * unit, ERROR * unit),
    }
    return {
        **JUDGED,
        **{key: whole for key, (whole, _) in distances.items()},
        **{JACKKNIFE[key]: jackknife(*of) for key, of in distances.items()},
        "frechet_distance_at_floor": distance + 0.05 * unit,
        "floor": JUDGED["floor"] * unit,
    }


def figures(distance: float, pixels: float | None = None, error: float = ERROR, **changed: Any) -> dict[str, Any]:
    """metrics.json of a student that both scorers see as far away, or the pixels otherwise.

    Args:
        distance: to the scorer that has classes.
        pixels: to the one that has none, in its own unit.
        error: its standard error, in the scorers' units.
        changed: other metrics than the usual ones. Those that scorers have are changed for all that have them.
    """
    scorers = {
        name: judged(distance * unit if pixels is None or unit == 1 else pixels, error, unit)
        for name, unit in PANEL.items()
    }
    del scorers["pixels"]["agreement"]
    scorers = {name: {key: changed.get(key, value) for key, value in says.items()} for name, says in scorers.items()}
    others = {key: value for key, value in changed.items() if key not in scorers["convolutional"]}
    return {**SHARED, **OWN, "panel": list(PANEL), SCORERS: scorers, **others}


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
        pixels: list[float] | None = None,
        **metrics: Any,
    ) -> None:
        """A student with a distance per seed; see `figures`."""
        seeds = tuple(range(len(distances)))
        student = Student(index_set=Uniform(kind="uniform", steps=steps), clip_sample=True, method=method, seeds=seeds)
        self.spec = evolve(self.spec, students={**self.spec.students, name: student})
        free = isinstance(method, Free)
        trained = {"search": 0, "cache": 1000, "training": 2000, "folds": 1, "total": 3000}
        cost = dict.fromkeys(trained, 0) if free else trained
        own = {"nfe": steps, "levels": list(self.spec.levels(name)), "cost": cost, **metrics}
        for seed, distance in enumerate(distances):
            self.write(name, seed, figures(distance, pixels[seed] if pixels else None, **own))
            if method.kind == "sfddm":
                self._curve(name, seed)

    def table(self) -> Table:
        """The comparison as it is."""
        return make_table(self.spec, load_rows(self.spec))

    def cells(self, column: str, scorer: str | None = None) -> dict[str, str]:
        """A column of the table, or of a scorer's, by student."""
        table = self.table()
        columns = columns_of_scorer(table, scorer) if scorer else columns_of(table)
        text = next(some.text for some in columns if some.name == column)
        return {entry.student: text(entry) for entry in table.entries}

    def write(self, name: str, seed: int, metrics: dict[str, Any]) -> None:
        """Store one training seed's results."""
        paths = Paths(self.spec.name)
        folder = paths.result(name, seed)
        write_json(folder / "metrics.json", metrics)
        measured = {metric.key: 0.5 for metric in METRICS if metric.timed}
        timing = {**measured, "seconds_per_1000_images": 1.5 * metrics["nfe"], "speed_up": 16.0, "latency_ms": 7.5,
                  "teacher_seconds_per_1000_images": 24.0 + seed, "peak_memory_mb": 400.0, "device": "cpu"}  # fmt: skip
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


OPEN = Gates(
    samples=2, agreement=0.0, speed_up=0.001, against_teacher="any", against_free="any", against_champion="any"
)
"""Gates that let everything pass."""


def row(experiment: Experiment, student: str = "ours") -> Row:
    spec = experiment.spec
    return load_row(spec, spec.run(student, "0"))


def promotion(of: Row, alias: str = "champion", **changed: Any) -> Promotion:
    fields = {
        "kind": "promotion", "time": "2026-01-01T00:00:00+00:00", "model": "sfddm-tiny", "alias": alias, "spec": "tiny",
        "run": of.run.name, "content_key": of.content_key, "commit": "0123456789abcdef", "gates": (),
        "figures": remembered(of.metrics),
    }  # fmt: skip
    return Promotion(**{**fields, **changed})
