"""The report's page and DVC's own plots, in a real browser without a network."""

import json
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser

from sfddm.pipeline.rows import Row, load_rows
from sfddm.report.contents import contents_of
from sfddm.report.page import to_html
from sfddm.spec.students import Resampled
from tests.browser import Visit
from tests.experiment import Experiment
from tests.project import Project

EVIL = "<img src=x onerror=alert(1)>\"'&{{ 7 * 7 }}"
LARGEST = 3_000_000
"""Bytes of a report of 20 students."""
SCROLLS = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Row]]:
    """A page of students that were trained, resampled and free, one with an infinite figure; and their rows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("page"))
        experiment = Experiment()
        experiment.add("teacher", 16, experiment.ddim, [0.25], psnr=None, scorer=EVIL)
        experiment.add("ours-t4", 4, experiment.ours, [0.5, 0.625], scorer=EVIL)
        experiment.add("near-t4", 4, experiment.ours, [0.573], psnr=9.0, scorer=EVIL)
        experiment.add("ddim-t4", 4, experiment.ddim, [1.5], psnr=9.5, scorer=EVIL)
        dear = {"search": 0, "cache": 0, "training": 9000, "folds": 1, "total": 9000}
        experiment.add("dear-t4", 4, experiment.ours, [0.5], psnr=9.25, cost=dear, scorer=EVIL)
        experiment.add("half-t2", 2, Resampled(kind="resampled", student="ours-t4"), [0.75], scorer=EVIL)
        experiment.add("ddim-t2", 2, experiment.ddim, [10.0], psnr=8.5, scorer=EVIL)
        return write(experiment), load_rows(experiment.spec)


@pytest.fixture
def path(made: tuple[Path, list[Row]]) -> Path:
    """The page alone."""
    return made[0]


def write(experiment: Experiment) -> Path:
    path = Path("report.html").resolve()
    path.write_text(to_html(contents_of(experiment.spec)), encoding="utf-8")
    return path


def column(visit: Visit, number: int) -> list[str]:
    found: list[str] = visit.ask(
        f"[...document.querySelectorAll('table.students tbody')].map((body) => body.rows[0].cells[{number}].innerText)"
    )
    return found


def heading(visit: Visit, name: str) -> int:
    names: list[str] = visit.ask(
        "[...document.querySelectorAll('table.students thead tr:last-child th')].map((cell) => cell.innerText)"
    )
    return [re.sub(r" [↑↓]$", "", text) for text in names].index(name)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_shows_every_figure_and_asks_nothing_of_a_network(
    path: Path, browser: Browser, scheme: str, width: int
) -> None:
    visit = Visit(browser, path, scheme, width)
    pictures = visit.ask("[...document.images].map((image) => [image.naturalWidth, image.width, image.alt])")
    assert len(pictures) == 15 and all(natural > 0 and shown > 0 and alt for natural, shown, alt in pictures)
    charts = visit.ask(
        "[...document.querySelectorAll('.chart svg')].map((svg) => {"
        " const { width, height } = svg.getBoundingClientRect();"
        " return [width, height, svg.querySelectorAll('path').length]; })"
    )
    assert len(charts) == 3 and all(wide > 300 and high > 80 and paths > 5 for wide, high, paths in charts)
    scrolled, seen = visit.ask(SCROLLS)
    assert scrolled <= seen == width, "no scrolling sideways"
    assert visit.errors == [] and visit.strayed() == []


def test_dark_and_light_differ_in_paper_and_in_the_ink_of_figures(path: Path, browser: Browser) -> None:
    ask = (
        "['html', '.chart text', '.is-free td'].map((place) => {"
        " const style = getComputedStyle(document.querySelector(place));"
        " return place === '.chart text' ? style.fill : style.backgroundColor; })"
    )
    light, dark = (Visit(browser, path, scheme).ask(ask) for scheme in ("light", "dark"))
    assert all(one != other for one, other in zip(light, dark, strict=True))
    brightness = [sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in (*light[:2], *dark[:2])]
    assert brightness[0] > 600 > 200 > brightness[1] and brightness[2] < 200 < 600 < brightness[3]


def test_a_heading_sorts_the_table_by_its_figures_and_turns_the_order_round(path: Path, browser: Browser) -> None:
    visit = Visit(browser, path)
    ratio = heading(visit, "pixels")
    assert [name.split()[0] for name in column(visit, 0)] == [
        "teacher", "dear-t4", "ours-t4", "near-t4", "ddim-t4", "half-t2", "ddim-t2"
    ]  # fmt: skip
    button = visit.page.get_by_role("button", name="pixels", exact=True)
    button.click()
    rising = [float(text) for text in column(visit, ratio)]
    assert rising == [1.0, 2.0, 2.25, 2.29, 3.0, 6.0, 40.0], "as numbers: as text 40 is below 6"
    button.focus()
    visit.page.keyboard.press("Enter")
    assert [float(text) for text in column(visit, ratio)] == rising[::-1]
    sorts = visit.ask("[...document.querySelectorAll('th[aria-sort]')].map((cell) => cell.ariaSort)")
    assert sorts[ratio] == "descending" and set(sorts) == {"descending", "none"} and sorts.count("none") > 10


def test_words_are_sorted_from_better_to_worse(path: Path, browser: Browser) -> None:
    visit = Visit(browser, path)
    visit.page.get_by_role("button", name="vs best", exact=True).click()
    found = column(visit, heading(visit, "vs best"))
    assert found == ["best", "best", "≈, over budget", "≈", "≈", "worse", ""]


def test_what_has_no_finite_figure_is_last_either_way(path: Path, browser: Browser) -> None:
    visit = Visit(browser, path)
    finite = ["8.5", "9.0", "9.2", "9.5", "26.0", "26.0"]
    for order in ([*finite, "–"], [*finite[::-1], "–"]):
        visit.page.get_by_role("button", name="PSNR", exact=True).click()
        assert column(visit, heading(visit, "PSNR")) == order


def test_every_scorer_has_a_table_of_its_own_with_what_it_depends_on(path: Path, browser: Browser) -> None:
    texts = Visit(browser, path).ask(
        "[...document.querySelectorAll('section[aria-labelledby=scorers] h3')].map((title) =>"
        " [title, title.nextElementSibling, title.nextElementSibling.nextElementSibling].map((part) => part.innerText))"
    )
    (first, said, table), (second, saids, tables) = texts
    assert (first, second) == ("convolutional", "pixels")
    assert "5000 images are at 0.250" in said and "5000 images are at 2.500" in saids
    assert "agrees" in table and "agrees" not in tables
    assert "0.562 [0.500, 0.625]" in table and "5.625 [5.000, 6.250]" in tables


def test_a_name_opens_its_part_of_the_spec_with_content_keys(made: tuple[Path, list[Row]], browser: Browser) -> None:
    visit = Visit(browser, made[0])
    name = visit.page.get_by_role("button", name="ours-t4 (2 seeds)")
    more = visit.page.locator(f"#{name.get_attribute('aria-controls')}")
    assert not more.is_visible() and name.get_attribute("aria-expanded") == "false"
    name.focus()
    visit.page.keyboard.press("Enter")
    assert more.is_visible() and name.get_attribute("aria-expanded") == "true"
    shown = more.inner_text()
    keys = [row.content_key for row in made[1] if row.run.student == "ours-t4"]
    assert len(keys) == 2 and all(key in shown for key in keys)
    assert "kind: sfddm" in shown and "weighting: snr+1" in shown
    scrolled, seen = visit.ask(SCROLLS)
    assert scrolled <= seen


def test_text_is_shown_as_it_is_and_never_run(path: Path, browser: Browser) -> None:
    visit = Visit(browser, path)
    assert visit.page.locator(".facts").inner_text().count(EVIL) == 2, "a scorer's name each"
    assert visit.ask("document.querySelectorAll('img:not([alt])').length") == 0 and visit.errors == []
    assert EVIL not in path.read_text() and EVIL in unescape(path.read_text())


def test_what_to_use_at_each_number_of_steps_is_said_above(made: tuple[Path, list[Row]], browser: Browser) -> None:
    """One that is over budget is not among them, though it has the lowest distance."""
    texts = Visit(browser, made[0]).ask("[...document.querySelectorAll('.best li')].map((item) => item.innerText)")
    assert len(texts) == 3 and "half-t2" in texts[0] and "ddim-t2, free: 40.00 · 40.00" in texts[0]
    assert "better than every free sampler" in texts[0]
    assert "ddim-t4" in texts[1] and "convolutional 6.00 · pixels 6.00 × teacher" in texts[1]
    assert "no student is shown to be better" in texts[1], "the seeds of one are too far apart"
    assert "no student has as many steps" in texts[2]


def test_free_rows_are_marked(path: Path, browser: Browser) -> None:
    names = column(Visit(browser, path), 0)
    assert [("free" in name.split(), name.split()[0]) for name in names] == [
        (True, "teacher"), (False, "dear-t4"), (False, "ours-t4"), (False, "near-t4"), (True, "ddim-t4"),
        (False, "half-t2"), (True, "ddim-t2"),
    ]  # fmt: skip


@pytest.mark.heavy
def test_twenty_students_of_noise_stay_under_three_megabytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images of noise can't be compressed: no others of that size take more."""
    (tmp_path / "large").mkdir()
    monkeypatch.chdir(tmp_path / "large")
    experiment = Experiment((3, 64, 64))
    for steps in (16, 8, 4, 2, 1):
        experiment.add(f"ddim-t{steps}", steps, experiment.ddim, [1.0])
        for name in ("ours", "published", "other"):
            experiment.add(f"{name}-t{steps}", steps, experiment.ours, [0.5])
    assert len(experiment.spec.students) == 20 and np.ptp(experiment.images) == 255
    assert write(experiment).stat().st_size <= LARGEST


def test_the_pipelines_report_opens_alone(project: Project, browser: Browser, tmp_path: Path) -> None:
    alone = tmp_path / "tiny.html"
    alone.write_bytes((project.folder / "reports/tiny.html").read_bytes())
    visit = Visit(browser, alone)
    assert column(visit, 0) and visit.errors == [] and visit.strayed() == []
    assert visit.ask("[...document.images].every((image) => image.naturalWidth > 0)")


def test_dvc_plots_are_drawn_without_a_network(project: Project, browser: Browser, tmp_path: Path) -> None:
    project.run("dvc", "plots", "show", "--out", str(tmp_path / "plots"))
    visit = Visit(browser, tmp_path / "plots" / "index.html")
    visit.page.wait_for_selector("canvas.marks")
    inked = visit.ask(
        "[...document.querySelectorAll('canvas.marks')].map((canvas) => {"
        " const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);"
        " let inked = 0; for (let i = 0; i < data.length; i += 4) inked += data[i] < 200; return inked; })"
    )
    assert len(inked) == 2 and min(inked) > 500, "distance and curves"
    names = visit.page.inner_text("body")
    assert all(f"reports/tiny/figures/{name}" in names for name in ("distance.svg", "curves.svg"))
    assert visit.ask("[...document.images].every((image) => image.naturalWidth > 0)")
    assert visit.errors == [] and visit.strayed() == []


def test_dvc_metrics_show_a_line_per_run_with_every_scorers_distance(project: Project) -> None:
    heading, _, *lines = project.run("dvc", "metrics", "show", "--md").strip().splitlines()
    columns = {cell.strip() for cell in heading.strip("|").split("|")}
    assert columns == {"Path", "nfe", "distance.convolutional", "distance.pixels", "mse_to_teacher", "cost"}
    assert len(lines) == 2


@pytest.fixture(scope="module")
def changed(project: Project) -> Iterator[str]:
    """A tag on the project as it was; what stands in it now has a student that was changed and evaluated again."""
    with project.tag("earlier", ".dvc", "dvc.yaml", "dvc.lock", "params.yaml", "specs") as name:
        student = "  ddim-t4:\n    index_set: {kind: uniform, "
        with project.edit("specs/tiny.yaml", f"{student}steps: 4}}", f"{student}steps: 2}}"):
            project.run("dvc", "repro", "report@tiny")
            project.run("git", "update-ref", "HEAD", name)  # DVC compares nothing on a branch without commits
            yield name
            project.run("git", "update-ref", "-d", "HEAD")
        project.run("dvc", "repro", "report@tiny")


def test_dvc_metrics_diff_names_the_figures_that_changed(project: Project, changed: str) -> None:
    found = json.loads(project.run("dvc", "metrics", "diff", changed, "--json"))
    figures = found["runs/tiny/results/ddim-t4-s0/summary.json"]
    assert (figures["nfe"]["old"], figures["nfe"]["new"], figures["nfe"]["diff"]) == (4, 2, -2)
    assert all(figures[f"distance.{scorer}"]["diff"] > 0 for scorer in ("convolutional", "pixels"))
    assert set(found) == {"runs/tiny/results/ddim-t4-s0/summary.json"}


def test_dvc_plots_diff_shows_both_revisions_without_a_network(
    project: Project, changed: str, browser: Browser, tmp_path: Path
) -> None:
    project.run("dvc", "plots", "diff", changed, "--out", str(tmp_path / "plots"))
    visit = Visit(browser, tmp_path / "plots" / "index.html")
    visit.page.wait_for_selector("canvas.marks")
    text = visit.page.inner_text("body")
    assert changed in text and "workspace" in text
    assert visit.ask("[...document.images].every((image) => image.naturalWidth > 0)")
    assert visit.errors == [] and visit.strayed() == []
