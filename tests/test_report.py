"""What a comparison says, from figures that are known."""

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import evolve
from rich.console import Console
from sfddm.report.render import PAGE_ONLY, TERMINAL, to_markdown, to_terminal

from sfddm.errors import UserError
from sfddm.figures.distance import distance_svg, series_of
from sfddm.files import read_json, write_json
from sfddm.paths import Paths
from sfddm.report.table import COLUMNS, make_table
from sfddm.results import load_rows
from sfddm.spec.experiment import Spec, Student
from sfddm.spec.index_set import Uniform
from sfddm.spec.methods import DDIM, Method, Resampled
from tests.parts import tiny
from tests.project import Project

NOISE = (-0.02, -0.01, 0.0, 0.01, 0.02)
"""What the blocks' noises do to every row alike."""


class Experiment:
    """A spec whose students have made-up figures, stored where the pipeline stores them."""

    def __init__(self) -> None:
        self.spec: Spec = evolve(tiny(), students={})
        self.ours = tiny().students["ours-t4"].method
        self.ddim = DDIM(kind="ddim")

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
        free = isinstance(method, DDIM)
        cost = {"cache": 1000, "training": 0 if free else 2000, "folds": 0 if free else 1, "total": 0 if free else 3000}
        paths = Paths(self.spec.name)
        for seed, distance in enumerate(distances):
            figures = {
                "frechet_distance": distance,
                "frechet_blocks": [distance + 0.1 + moved for moved in noise],
                "teacher_frechet_distance": 0.25,
                "pixel_distance": 0.0625,
                "mse_to_teacher": 0.01,
                "agreement": 0.9,
                "samples": 5000,
                "real_images": 1500,
                "scorer": "classifier-2:0123abcd",
                "noise_seed": 3,
                "nfe": steps,
                "cost": cost,
            }
            write_json(paths.result(name, seed) / "metrics.json", {**figures, **metrics})
            timing = {"seconds_per_1000_images": 1.5, "speed_up": 16.0, "peak_memory_mb": 400.0, "device": "cpu"}
            write_json(paths.result(name, seed) / "timing.json", timing)
            np.save(paths.result(name, seed) / "shown.npy", np.zeros((16, 1, 8, 8), dtype=np.uint8))
            write_json(
                paths.timing(name, seed), {"seconds": 10.0 + seed, "peak_memory_mb": 500.0 + seed, "device": "cpu"}
            )

    def cells(self, column: str) -> dict[str, str]:
        """A column of the table by student."""
        rows = [row for group in make_table(self.spec).groups for row in group]
        return {row["student"].split(" ")[0]: row[column] for row in rows}


@pytest.fixture
def experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Experiment:
    monkeypatch.chdir(tmp_path)
    return Experiment()


def test_each_row_is_compared_with_the_best_of_the_same_number_of_steps(experiment: Experiment) -> None:
    experiment.add("teacher", 16, experiment.ddim, [0.25])
    experiment.add("ours-t4", 4, experiment.ours, [0.5])
    experiment.add("near-t4", 4, experiment.ours, [0.505], noise=tuple(-value for value in NOISE))
    experiment.add("ddim-t4", 4, experiment.ddim, [1.5], noise=tuple(2 * value for value in NOISE))
    experiment.add("same-t4", 4, experiment.ours, [0.5])
    # ddim-t4 differs by 1 plus NOISE, whose variance is .00025; t(.975, 4) = 2.776, and 2.776 sqrt(.00025 / 5) = .0196.
    assert experiment.cells("vs best") == {
        "teacher": "", "ours-t4": "best", "near-t4": "≈", "ddim-t4": "+1.000 ± .020", "same-t4": "≈"
    }  # fmt: skip


def test_a_free_row_can_be_the_best(experiment: Experiment) -> None:
    experiment.add("ours-t4", 4, experiment.ours, [0.5])
    experiment.add("ddim-t4", 4, experiment.ddim, [0.3])
    assert experiment.cells("vs best") == {"ours-t4": "+0.200 ± .000", "ddim-t4": "best"}


def test_training_seeds_widen_the_difference(experiment: Experiment) -> None:
    experiment.add("ours-t4", 4, experiment.ours, [0.4, 0.6])
    experiment.add("ddim-t4", 4, experiment.ddim, [0.7])
    assert experiment.cells("vs best")["ddim-t4"] == "≈", "the seeds alone: 2.78 times .1 is more than the .2"
    assert experiment.cells("distance")["ours-t4"] == "0.500 [0.400, 0.600]"
    assert experiment.cells("ratio")["ours-t4"] == "2.00 x", "of the teacher's .25, though no row is the teacher's"


def test_a_table_fits_80_columns_without_cut_cells(experiment: Experiment) -> None:
    experiment.add("a-student-with-a-long-name-t4", 4, experiment.ours, [10.4, 10.6, 10.5])
    experiment.add("published-t4", 4, experiment.ours, [78.5, 78.4, 78.6])
    experiment.add("teacher-ancestral", 16, experiment.ddim, [0.25])
    table, out = make_table(experiment.spec), io.StringIO()
    to_terminal(experiment.spec, table, Console(file=out, width=80))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 80 and "…" not in out.getvalue()
    for group in table.groups:
        for row in group:
            for column in TERMINAL[1:]:
                assert any(row[column] in line for line in lines), f"{column} is cut"
    assert set(TERMINAL) | set(PAGE_ONLY) == set(COLUMNS)
    assert "s/1000" not in out.getvalue(), "no note on what is not shown"


def test_the_page_has_every_column_the_figure_and_the_costs(experiment: Experiment) -> None:
    experiment.add("any-t16", 16, experiment.ours, [0.3, 0.32])
    experiment.add("any-t4", 4, Resampled(kind="resampled", student="any-t16"), [0.4, 0.42], mse_to_teacher=0.02)
    experiment.add("ddim-t4", 4, experiment.ddim, [1.5])
    page = to_markdown(experiment.spec, make_table(experiment.spec))
    assert f"| {' | '.join(COLUMNS)} |" in page and "(tiny-distance.svg)" in page and "(tiny.png)" in page
    assert "| any-t4 (2 seeds) | 4 | 0.410 [0.400, 0.420] | best | 1.64 x | 0.062 | 90.0 % | 0.0200 |" in page
    cost = page.split("## Cost")[1].split("## Images")[0]
    assert "| any-t16 (2 seeds) | 1 k | 2 k | 3 k | 1 | 11 | 501 | cpu |" in cost
    assert "| any-t4" not in cost and "any-t4 (of any-t16)" in cost, "the same weights cost nothing again"
    assert "| ddim-t4" not in cost


def test_nothing_trained_has_no_costs(experiment: Experiment) -> None:
    experiment.add("ddim-t4", 4, experiment.ddim, [1.5])
    assert "## Cost" not in to_markdown(experiment.spec, make_table(experiment.spec))


def test_a_resampled_students_training_is_that_of_its_weights(experiment: Experiment) -> None:
    experiment.add("any-t16", 16, experiment.ours, [0.3])
    experiment.add("any-t4", 4, Resampled(kind="resampled", student="any-t16"), [0.4])
    write_json(Paths("tiny").timing("any-t16", 0), {"seconds": 77.0, "peak_memory_mb": 1.0, "device": "cuda"})
    assert [row.training["seconds"] for row in load_rows(experiment.spec)] == [77, 77]


def test_what_was_not_evaluated_is_named(experiment: Experiment) -> None:
    experiment.add("ddim-t4", 4, experiment.ddim, [1.5])
    (Paths("tiny").timing("ddim-t4", 0)).unlink()
    with pytest.raises(UserError, match=r"timings/ddim-t4-s0/timing\.json is missing: `dvc repro`"):
        make_table(experiment.spec)


def test_students_named_alike_are_one_series(experiment: Experiment) -> None:
    experiment.add("teacher", 16, experiment.ddim, [0.25])
    experiment.add("ours-t8", 8, experiment.ours, [0.4, 0.42])
    experiment.add("ours-t2", 2, experiment.ours, [0.9])
    experiment.add("ddim-t4", 4, experiment.ddim, [1.5])
    experiment.add("ours", 4, experiment.ours, [0.5])
    found = series_of(experiment.spec, load_rows(experiment.spec))
    assert [(series.name, series.free) for series in found] == [("ours", False), ("ddim", True)]
    assert found[0].points == [(2, [0.9]), (4, [0.5]), (8, [0.4, 0.42])], "the teacher's own row is left out"


def test_the_figure_is_the_same_bytes_twice_and_names_what_it_shows(experiment: Experiment) -> None:
    experiment.add("ours-t8", 8, experiment.ours, [0.4, 0.42])
    experiment.add("ours-t2", 2, experiment.ours, [0.9, 0.95])
    experiment.add("ddim-t4", 4, experiment.ddim, [1.5])
    drawn = [distance_svg(experiment.spec, load_rows(experiment.spec)) for _ in range(2)]
    assert drawn[0] == drawn[1]
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", drawn[0])
    assert {"ours", "ddim (free)", "teacher", "2", "4", "8"} <= set(texts)
    assert "<dc:date>" not in drawn[0]


@pytest.mark.pipeline
def test_the_pipeline_measures_trainings_apart_from_students(project: Project) -> None:
    runs, reports = project.folder / "runs/tiny", project.folder / "reports"
    timing = read_json(runs / "timings/ours-t4-s0/timing.json")
    assert timing["seconds"] > 0 and timing["peak_memory_mb"] > 1 and timing["device"] in ("cpu", "cuda")
    assert "timing.json" not in {path.name for path in (runs / "students/ours-t4-s0").iterdir()}
    assert "| ours-t4 |" in (reports / "tiny.md").read_text().split("## Cost")[1]
    assert ">ddim (free)</text>" in (reports / "tiny-distance.svg").read_text()
