"""What a comparison says, from figures that are known."""

import io
import re
from html import unescape
from pathlib import Path

import pytest
from rich.console import Console

from sfddm.errors import UserError
from sfddm.pipeline.paths import Paths
from sfddm.pipeline.rows import load_rows
from sfddm.report.charts import curves_svg, distance_svg
from sfddm.report.columns import columns_of, terminal_columns
from sfddm.report.contents import Contents, contents_of, curve_points, distance_points
from sfddm.report.page import to_html
from sfddm.report.style import THEME, inline, series_of
from sfddm.report.text import to_markdown, to_terminal
from sfddm.runtime.files import read_json, write_json
from sfddm.spec.students import Resampled
from tests.experiment import ERROR, WRONG, Experiment, jackknife
from tests.parts import only_spec
from tests.project import Project
from tests.typed import sfddm


def page(contents: Contents) -> str:
    """The words of the page, a line for each row of a table, its cells between bars."""

    def row(found: re.Match[str]) -> str:
        cells = (re.sub(r"<[^>]*>", "", cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", found[1], re.S))
        return f"| {' | '.join(cell.strip() for cell in cells)} |"

    html = re.sub(r"<(style|script|svg)\b.*?</\1>", "", to_html(contents), flags=re.DOTALL)
    html = re.sub(r"<tr>(.*?)</tr>", row, html, flags=re.DOTALL)
    return unescape(re.sub(r"<[^>]*>", "", html))


def printed(experiment: Experiment, width: int) -> str:
    out = io.StringIO()
    to_terminal(experiment.spec.name, experiment.table(), Console(file=out, width=width))
    return out.getvalue()


def test_a_table_fits_80_columns_without_cut_cells(experiment: Experiment) -> None:
    """Long names, headings and words may be broken, figures never."""
    cost = {"search": 0, "cache": 0, "training": 9_999_000, "folds": 1, "total": 9_999_000}
    experiment.add("a-student-with-a-long-name-t4", 4, experiment.ours, [0.3, 0.32, 0.31], cost=cost)
    experiment.add("published-t4", 4, experiment.ours, [78.5, 78.4, 78.6], pixels=[2.0, 2.0, 2.0], cost=cost)
    experiment.add("ddim-t4", 4, experiment.ddim, [0.9])
    experiment.add("teacher-ancestral", 16, experiment.ddim, [0.25])
    text, table = printed(experiment, 80), experiment.table()
    assert max(map(len, text.splitlines())) <= 80 and "…" not in text
    for entry in table.entries:
        for column in terminal_columns(table):
            whole = column.text(entry).split() if column.words else [column.text(entry)]
            assert all(word in text for word in whole), f"{column.name} is cut"
    said = " ".join(text.split())
    assert all(name in said for name in ("convolutional, pixels: ", "vs best", "vs teacher"))
    assert "published-" in text, "names keep room for ten letters"
    assert "s/1000" not in text, "no note on what is not shown"


def test_the_terminal_says_what_all_scorers_say(experiment: Experiment) -> None:
    experiment.add("ours-t4", 4, experiment.ours, [0.26])
    experiment.add("ddim-t4", 4, experiment.ddim, [0.5], pixels=[2.0])
    experiment.add("worse-t4", 4, experiment.ours, [0.6])
    text = printed(experiment, 200)
    shown = [re.split(r"  +", line.strip()) for line in text.splitlines() if "-t4" in line]
    assert shown == [
        ["ours-t4", "4", "1.04", "1.04", "scorers differ", "as good", "0.0100", "3 k"],
        ["ddim-t4", "4", "2.00", "0.80", "scorers differ", "scorers differ", "0.0100", "free"],
        ["worse-t4", "4", "2.40", "2.40", "worse", "worse", "0.0100", "3 k"],
    ]
    said = " ".join(text.split())
    assert "Rows are of 5000 images. The teacher's distances: convolutional 0.250 (standard error 0.020)" in said


def test_warnings_come_first_below_the_table_and_the_legend_is_short(experiment: Experiment) -> None:
    notes = ["convolutional: one thing", "pixels: another"]
    experiment.add("ours-t4", 4, experiment.ours, [0.26], notes=notes)
    *_, warnings, legend = printed(experiment, 80).strip().split("\n\n")
    assert warnings.splitlines()[-2:] == [f"Beware: {note}." for note in notes]
    assert len(legend.splitlines()) <= 10 and "docs/guide.md" in legend


def test_advice_comes_after_what_is_amiss(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    only_spec(Path())
    notes = [f"pixels: {WRONG}", "convolutional: 256 images are few"]
    for name in ("ddim-t4", "ours-t4"):
        experiment.add(name, 4, experiment.ours, [0.26], notes=notes)
    assert sfddm(monkeypatch, "advise", "tiny") == 0
    first, *others = capsys.readouterr().out.splitlines()
    assert first == "Beware: verdicts, advice and gates are without pixels."
    assert f"Beware: {notes[1]}." in others[:4]


def test_what_is_worse_than_the_teacher_is_not_green(experiment: Experiment) -> None:
    for distance, green in ((0.26, True), (8.5, False)):
        experiment.add("ours-t4", 4, experiment.ours, [distance])
        experiment.add("ddim-t4", 4, experiment.ddim, [9.0])
        html = to_html(contents_of(experiment.spec))
        assert ('class="is-best"' in html) is green and ('class="figures is-worse"' in html) is not green


def test_the_page_has_every_column_the_figures_and_the_costs(experiment: Experiment) -> None:
    experiment.add("any-t16", 16, experiment.ours, [0.3, 0.32])
    experiment.add("any-t4", 4, Resampled(kind="resampled", student="any-t16"), [0.4, 0.42], mse_to_teacher=0.02)
    experiment.add("ddim-t4", 4, experiment.ddim, [1.5])
    contents = contents_of(experiment.spec)
    text = page(contents)
    assert f"| student | {' | '.join(column.name for column in columns_of(contents.table))} |" in text
    assert "| any-t4 (2 seeds) | 4 | 1.64 | 1.64 | best | worse | 0.0200 |" in text
    assert all(row.content_key in text for row in load_rows(experiment.spec))
    assert all(chart.title in text and chart.caption in text for chart in contents.charts)
    cost = text.split("What the trainings took")[1]
    assert "| any-t16 (2 seeds) | 0 k | 1 k | 2 k | 3 k | 1 | 11 | 501 | cpu |" in cost
    assert "| any-t4" not in cost and "any-t4 (of any-t16)" in cost, "the same weights cost nothing again"
    assert "| ddim-t4" not in cost


def test_the_tables_can_be_had_for_a_document(experiment: Experiment) -> None:
    experiment.add("ours-t4", 4, experiment.ours, [0.5, 0.52])
    experiment.add("ddim-t4", 4, experiment.ddim, [1.5])
    table = experiment.table()
    text = to_markdown(experiment.spec, table)
    assert f"| student | {' | '.join(column.name for column in columns_of(table))} |" in text
    assert "\n| 4 | ours-t4 | " in text and "\n| ours-t4 (2 seeds) | 4 | " in text
    assert re.findall("## Scorer (.*)", text) == ["convolutional", "pixels"] and text.count("\n| ddim-t4 | ") == 3


def test_every_scorer_has_a_table_of_its_own(experiment: Experiment) -> None:
    experiment.add("ours-t4", 4, experiment.ours, [0.5, 0.625], error=ERROR + 0.02)
    experiment.add("ddim-t4", 4, experiment.ddim, [1.5])
    text = page(contents_of(experiment.spec))
    _, *found = text.partition("Scorer by scorer")[2].split("distances are to ")
    parts = dict(zip(("convolutional", "pixels"), found, strict=True))
    assert (
        "at 0.250 (standard error 0.020). With the bias of 750 images that would be about 0.250, where 750 other real "
        "images, the floor, are at 0.125." in parts["convolutional"]
    )
    assert (
        "at 2.500 (standard error 0.200). With the bias of 750 images that would be about 2.500, where 750 other real "
        "images, the floor, are at 1.250." in parts["pixels"]
    )
    assert "| ddim-t4 | 1.500 | +0.938 ± " in parts["convolutional"]
    assert "| ddim-t4 | 15.000 | +9.375 ± " in parts["pixels"]
    assert "| ours-t4 (2 seeds) | 5.625 [5.000, 6.250] |  | +3.125 ± " in parts["pixels"]
    assert "| agrees |" in parts["convolutional"] and "| agrees |" not in parts["pixels"]
    assert text.count("KID: kernel distance") == 1, "explained once"


def test_notes_say_what_the_figures_depend_on_and_what_is_amiss(experiment: Experiment) -> None:
    experiment.add("ddim-t4", 4, experiment.ddim, [1.5], notes=["pixels: 200 images are fewer than 512 features"])
    text = page(contents_of(experiment.spec))
    for words in ("1500 held-out images", "classifier-2:0123abcd", "The teacher's 5000 images", "margin of 10%",
                  "Beware: pixels: 200 images are fewer than 512 features."):  # fmt: skip
        assert words in text


def test_nothing_trained_has_no_costs_and_no_strips_of_students(experiment: Experiment) -> None:
    experiment.add("ddim-t4", 4, experiment.ddim, [1.5])
    contents = contents_of(experiment.spec)
    assert "What the trainings took" not in page(contents)
    assert [gallery.name for gallery in contents.galleries] == ["samples"]
    assert [chart.name for chart in contents.charts] == ["distance", "index-sets"]
    assert curve_points(contents.spec, contents.rows) == []


def test_strips_hold_the_teacher_every_student_and_between_noises_the_best_one(experiment: Experiment) -> None:
    experiment.add("ddim-t4", 4, experiment.ddim, [1.5])
    experiment.add("worse-t4", 4, experiment.ours, [0.9])
    experiment.add("ours-t4", 4, experiment.ours, [0.5])
    samples, interpolation = contents_of(experiment.spec).galleries
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


@pytest.fixture
def drawn(experiment: Experiment) -> Contents:
    experiment.add("ours-t8", 8, experiment.ours, [0.4, 0.42])
    experiment.add("ours-t2", 2, experiment.ours, [0.9, 0.95])
    experiment.add("ddim-t4", 4, experiment.ddim, [1.5])
    return contents_of(experiment.spec)


def test_times_compare_only_where_the_same_computation_took_about_as_long_beside_every_row(drawn: Contents) -> None:
    assert not drawn.table.warnings_of_times
    path = Paths("tiny").result("ddim-t4", 0) / "timing.json"
    for seconds, words in ((1.6 * 24, "took 24 to 38.4 s"), (2345.6, "took 24 to 2346 s")):
        write_json(path, {**read_json(path), "teacher_seconds_per_1000_images": seconds})
        table = contents_of(drawn.spec).table
        (said,) = table.warnings_of_times
        assert f"timed beside each of them, {words}" in said and "was busy" in said
        assert said in to_markdown(drawn.spec, table) and said in page(contents_of(drawn.spec))
        assert not table.warnings, "only where times are shown"


def test_figures_are_the_same_bytes_twice_and_name_what_they_show(drawn: Contents) -> None:
    assert drawn.charts == contents_of(drawn.spec).charts
    svg = {chart.name: chart.svg.decode() for chart in drawn.charts}
    texts = {name: set(re.findall(r"<text[^>]*>([^<]*)</text>", text)) for name, text in svg.items()}
    assert {"ours", "ddim (free)", "teacher", "convolutional", "pixels", "2", "4", "8"} <= texts["distance"]
    assert {"ours", "T' = 8", "T' = 2"} <= texts["curves"] and "ours-t8, T' = 8" in texts["index-sets"]
    assert all("<dc:date>" not in text and 'id="figure_1"' not in text for text in svg.values())


def test_no_line_is_drawn_where_the_teacher_is_not_told_from_real_images(experiment: Experiment) -> None:
    experiment.add("ours-t4", 4, experiment.ours, [0.4])
    (row,) = load_rows(experiment.spec)
    marks = []
    for teachers in (0.21, 0.19):
        row.metrics["scorers"]["pixels"] |= {
            "teacher_frechet_distance": teachers,
            "teacher_frechet_distance_jackknife": jackknife(teachers, 0.2),
        }
        marks.append(distance_svg(experiment.spec, [row]).decode().count("<use"))
    assert marks[1] < marks[0]


def test_who_is_as_far_as_the_teacher_is_on_its_line_in_every_scorers_panel(experiment: Experiment) -> None:
    experiment.add("equal-t2", 2, experiment.ours, [0.25], pixels=[2.5])
    experiment.add("far-t4", 4, experiment.ours, [0.5], pixels=[10.0])
    svg = distance_svg(experiment.spec, load_rows(experiment.spec)).decode()
    marks = re.findall(r'<use [^>]* y="([0-9.]+)" style="fill: #0072b2', svg)[:2]
    lines = re.findall(r'd="M [0-9.]+ ([0-9.]+) [^>]*stroke-dasharray: 4', svg)[:2]
    assert len(marks) == 2 and marks == lines


def test_no_two_words_of_the_chart_are_in_one_place(drawn: Contents) -> None:
    """The legend is below the axes' names."""
    svg = drawn.charts[0].svg.decode()
    places = {text: float(y) for y, text in re.findall(r'<text [^>]* y="([0-9.]+)"[^>]*>([^<]+)<', svg)}
    assert places["ours"] - places["T', network evaluations per image"] > 10


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
    assert ">ours-t4</th>" in (reports / "tiny.html").read_text().split("What the trainings took")[1]
    assert ">ddim (free)</text>" in (reports / "tiny/figures/distance.svg").read_text()
