"""What a comparison says, from figures that are known."""

import io
import re

import pytest
from rich.console import Console

from sfddm.errors import UserError
from sfddm.pipeline.paths import Paths
from sfddm.pipeline.rows import load_rows
from sfddm.report.charts import curves_svg, pareto_front
from sfddm.report.columns import COLUMNS, TERMINAL
from sfddm.report.contents import Contents, contents_of
from sfddm.report.markdown import to_markdown
from sfddm.report.plots import curve_points, distance_points
from sfddm.report.style import THEME, inline, series_of
from sfddm.report.terminal import to_terminal
from sfddm.runtime.files import read_json, write_json
from sfddm.spec.students import Resampled
from tests.experiment import NOISE, Experiment
from tests.project import Project


def page(experiment: Experiment) -> str:
    return to_markdown(contents_of(experiment.spec))


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
    table, out = experiment.table(), io.StringIO()
    to_terminal(experiment.spec.name, table, Console(file=out, width=80))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 80 and "…" not in out.getvalue()
    for entry in table.entries:
        for column in TERMINAL:
            assert any(column.text(entry) in line for line in lines), f"{column.name} is cut"
    assert "s/1000" not in out.getvalue(), "no note on what is not shown"


def test_the_best_stands_first_among_equal_numbers_of_steps(experiment: Experiment) -> None:
    experiment.add("ddim-t2", 2, experiment.ddim, [2.0])
    experiment.add("ddim-t4", 4, experiment.ddim, [1.5])
    experiment.add("ours-t4", 4, experiment.ours, [0.5])
    assert [entry.student for entry in experiment.table().entries] == ["ours-t4", "ddim-t4", "ddim-t2"]


def test_the_page_has_every_column_the_figures_and_the_costs(experiment: Experiment) -> None:
    experiment.add("any-t16", 16, experiment.ours, [0.3, 0.32])
    experiment.add("any-t4", 4, Resampled(kind="resampled", student="any-t16"), [0.4, 0.42], mse_to_teacher=0.02)
    experiment.add("ddim-t4", 4, experiment.ddim, [1.5])
    contents = contents_of(experiment.spec)
    text = to_markdown(contents)
    assert f"| student | {' | '.join(column.name for column in COLUMNS)} | content key |" in text
    assert "| any-t4 (2 seeds) | 4 | 0.410 [0.400, 0.420] | best | 1.64 x | 0.460 | 0.0040 | 0.750 | 0.625 |" in text
    assert all(row.content_key in text for row in load_rows(experiment.spec))
    referred = set(re.findall(r"\(tiny/figures/([^)]*)\)", text))
    assert referred == set(contents.figures()) and "distance.svg" in referred and "samples-any-t4.png" in referred
    cost = text.split("## Cost")[1]
    assert "| any-t16 (2 seeds) | 1 k | 2 k | 3 k | 1 | 11 | 501 | cpu |" in cost
    assert "| any-t4" not in cost and "any-t4 (of any-t16)" in cost, "the same weights cost nothing again"
    assert "| ddim-t4" not in cost


def test_notes_say_what_the_figures_rest_on_and_what_is_amiss(experiment: Experiment) -> None:
    experiment.add("ddim-t4", 4, experiment.ddim, [1.5], notes=["200 images are fewer than 512 features"])
    text = page(experiment)
    for words in ("1500 real images", "classifier-2:0123abcd", "n = 5000", "seed 3", "only 750 images", "at 0.125 from",
                  "Beware: 200 images are fewer than 512 features."):  # fmt: skip
        assert words in text


def test_a_figure_without_a_finite_value_is_a_dash(experiment: Experiment) -> None:
    experiment.add("teacher", 16, experiment.ddim, [0.25], psnr=None)
    assert experiment.cells("PSNR") == {"teacher": "–"}


def test_nothing_trained_has_no_costs_and_no_strips_of_students(experiment: Experiment) -> None:
    experiment.add("ddim-t4", 4, experiment.ddim, [1.5])
    contents = contents_of(experiment.spec)
    assert "## Cost" not in to_markdown(contents)
    assert [gallery.name for gallery in contents.galleries] == ["samples"]
    assert [chart.name for chart in contents.charts] == ["distance", "quality-time", "index-sets"]
    assert curve_points(contents.spec, contents.rows) == []


def test_strips_hold_the_teacher_ddim_on_the_same_levels_and_the_best_student(experiment: Experiment) -> None:
    experiment.add("ddim-t4", 4, experiment.ddim, [1.5])
    experiment.add("worse-t4", 4, experiment.ours, [0.9])
    experiment.add("ours-t4", 4, experiment.ours, [0.5])
    samples, consistency, interpolation = contents_of(experiment.spec).galleries
    assert [strip.label for strip in consistency.groups[0][1]] == ["teacher", "ddim-t4", "ours-t4"]
    assert [strip.label for strip in interpolation.groups[0][1]] == ["teacher", "ours-t4"]
    assert [heading for heading, _ in samples.groups] == ["the teacher's reference", "ours", "worse", "ddim"]


def test_a_resampled_students_training_is_that_of_its_weights(experiment: Experiment) -> None:
    experiment.add("any-t16", 16, experiment.ours, [0.3])
    experiment.add("any-t4", 4, Resampled(kind="resampled", student="any-t16"), [0.4])
    write_json(Paths("tiny").timing("any-t16", 0), {"seconds": 77.0, "peak_memory_mb": 1.0, "device": "cuda"})
    assert [row.training["seconds"] for row in load_rows(experiment.spec)] == [77, 77]


def test_what_was_not_evaluated_is_named(experiment: Experiment) -> None:
    experiment.add("ddim-t4", 4, experiment.ddim, [1.5])
    (Paths("tiny").timing("ddim-t4", 0)).unlink()
    with pytest.raises(UserError, match=r"timings/ddim-t4-s0/timing\.json is missing: `dvc repro`"):
        load_rows(experiment.spec)


def test_students_named_alike_are_one_series(experiment: Experiment) -> None:
    experiment.add("teacher", 16, experiment.ddim, [0.25])
    experiment.add("ours-t8", 8, experiment.ours, [0.4, 0.42])
    experiment.add("ours-t2", 2, experiment.ours, [0.9])
    experiment.add("ddim-t4", 4, experiment.ddim, [1.5])
    experiment.add("ours", 4, experiment.ours, [0.5])
    rows = load_rows(experiment.spec)
    found = series_of(experiment.spec, rows)
    assert [(series.name, series.free) for series in found] == [("ours", False), ("ddim", True)]
    steps = [seeds[0].metrics["nfe"] for seeds in found[0].students]
    assert steps == [2, 4, 8] and len(found[0].students[2]) == 2, "the teacher's own row is left out"
    points = distance_points(experiment.spec, rows)
    assert [(point["series"], point["steps"]) for point in points] == [
        ("ours", 2), ("ours", 4), ("ours", 8), ("ddim (free)", 4)
    ]  # fmt: skip
    assert points[2]["distance"] == pytest.approx(0.41) and points[2]["lowest"] == 0.4 and points[2]["highest"] == 0.42


def test_the_front_holds_what_no_other_point_beats_in_both() -> None:
    points = [(2.0, 1.0), (1.0, 3.0), (3.0, 2.0), (4.0, 0.5), (1.0, 4.0)]
    assert pareto_front(points) == [(1.0, 3.0), (2.0, 1.0), (4.0, 0.5)]


@pytest.fixture
def drawn(experiment: Experiment) -> Contents:
    experiment.add("ours-t8", 8, experiment.ours, [0.4, 0.42])
    experiment.add("ours-t2", 2, experiment.ours, [0.9, 0.95])
    experiment.add("ddim-t4", 4, experiment.ddim, [1.5])
    return contents_of(experiment.spec)


def test_figures_are_the_same_bytes_twice_and_name_what_they_show(drawn: Contents) -> None:
    assert drawn.figures() == contents_of(drawn.spec).figures()
    svg = {chart.name: chart.svg.decode() for chart in drawn.charts}
    texts = {name: set(re.findall(r"<text[^>]*>([^<]*)</text>", text)) for name, text in svg.items()}
    assert {"ours", "ddim (free)", "teacher", "real images", "2", "4", "8"} <= texts["distance"]
    assert {"ours", "ddim (free)", "none better in both"} <= texts["quality-time"]
    assert {"ours", "T' = 8", "T' = 2"} <= texts["curves"] and "ours-t8, T' = 8" in texts["index-sets"]
    assert all("<dc:date>" not in text and 'id="figure_1"' not in text for text in svg.values())


@pytest.mark.filterwarnings("error")
def test_a_loss_that_is_always_0_can_be_drawn(experiment: Experiment) -> None:
    experiment.add("published-t4", 4, experiment.ours, [0.5])
    (row,) = load_rows(experiment.spec)
    assert b">0.00</text>" in curves_svg([(row, [{"step": step, "loss": 0.0} for step in (1, 2)])])


def test_figures_take_their_ink_from_the_page_they_stand_in(drawn: Contents) -> None:
    for chart in drawn.charts:
        assert THEME in chart.svg.decode() and "currentColor" in chart.svg.decode()
        assert THEME not in inline(chart.svg) and inline(chart.svg).startswith("<svg ")
        assert "#ffffff" not in chart.svg.decode() and "#000000" not in chart.svg.decode()


def test_the_pipeline_measures_trainings_apart_from_students(project: Project) -> None:
    runs, reports = project.folder / "runs/tiny", project.folder / "reports"
    timing = read_json(runs / "timings/ours-t4-s0/timing.json")
    assert timing["seconds"] > 0 and timing["peak_memory_mb"] > 1 and timing["device"] in ("cpu", "cuda")
    assert "timing.json" not in {path.name for path in (runs / "students/ours-t4-s0").iterdir()}
    assert "| ours-t4 |" in (reports / "tiny.md").read_text().split("## Cost")[1]
    assert ">ddim (free)</text>" in (reports / "tiny/figures/distance.svg").read_text()
