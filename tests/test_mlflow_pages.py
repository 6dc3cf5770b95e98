"""MLflow's pages of a tracked pipeline in a real Chromium: what is there at the first click.

`SFDDM_SCREENSHOTS=folder` keeps what the pages look like, as docs/mlflow.md shows them.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.project import Project
from tests.servers import free_port, printed_links, stop

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

DISTANCE = "frechet_distance/convolutional"
CLOSED = '[["mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", "true"], ["mlflow.assistant.panelOpen_v1", "false"]]'
"""What MLflow's page remembers of its assistant."""


@pytest.fixture(scope="module")
def links(released: Project) -> Iterator[dict[str, str]]:
    """What `sfddm ui` prints, while it serves."""
    served = released.start("sfddm", "ui", "tiny", "--port", str(free_port()))
    try:
        yield printed_links(served)
    finally:
        stop(served)


@pytest.fixture
def page(browser: "Browser") -> "Iterator[Page]":
    """A page that reaches this machine alone; MLflow's assistant, which covers a third of it, is closed."""
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    context.route("**/*", lambda route: route.continue_() if "//127.0.0.1:" in route.request.url else route.abort())
    context.add_init_script(f"for (const [key, value] of {CLOSED}) localStorage.setItem(key, value)")
    page = context.new_page()
    page.set_default_timeout(60_000)
    yield page
    context.close()


def test_the_experiment_opens_with_charts_over_steps_weights_and_quality(page: "Page", links: dict[str, str]) -> None:
    page.set_viewport_size({"width": 1280, "height": 3600})  # what is below the window is not drawn
    page.goto(links["charts"])
    axes = page.locator(".parcoords svg text")
    for name in ("NFE", "Weight.output", "Weight.hidden", "Weight.feature", "speed_up", DISTANCE):
        axes.filter(has_text=name).first.wait_for(state="attached")
    for title in ("Comparison", "Against T'"):
        page.get_by_text(title).first.wait_for()
    for line in ("tiny-ours", "tiny-ddim", "tiny-teacher"):
        page.get_by_text(line, exact=True).first.wait_for()
    page.locator(".js-plotly-plot").nth(1).wait_for()
    page.locator(".js-plotly-plot .point").first.wait_for(state="attached")
    assert page.get_by_text("share key").count() == 0
    wait_for_image(page)
    page.set_viewport_size({"width": 1280, "height": 1000})
    keep(page, "mlflow-charts")


def test_the_comparison_opens_with_weights_and_distance(page: "Page", links: dict[str, str]) -> None:
    page.goto(links["comparison"])
    page.get_by_text("Comparing 2 Runs from 1 Experiment").wait_for()
    for name in ("Weight.feature", "Weight.hidden", DISTANCE):
        page.locator(".js-plotly-plot svg text").filter(has_text=name).first.wait_for(state="attached")
    keep(page, "mlflow-compare")


def test_a_model_shows_its_champion_and_a_version_its_card(page: "Page", links: dict[str, str]) -> None:
    page.goto(links["versions"])
    page.get_by_text("@ champion").wait_for()
    page.goto(f"{links['versions']}/versions/1")
    for words in ("Frechet distance to real images (convolutional)", "(pixels)", "Licence", "Limits", "champion"):
        page.get_by_text(words).first.wait_for()
    wait_for_image(page)
    keep(page, "mlflow-version")


def test_a_run_shows_its_note_and_its_data(page: "Page", links: dict[str, str]) -> None:
    page.goto(links["comparison"])
    page.get_by_role("link", name=re.compile("^[0-9a-f]{32}$")).first.click()
    page.get_by_text(re.compile("dvc repro evaluate@tiny-")).first.wait_for()
    page.get_by_text("digits (").first.wait_for()


def wait_for_image(page: "Page") -> None:
    """Until one of the run's own pictures is shown."""
    ours = "/get-artifact|blob:/.test(image.src) && image.naturalWidth > 60"
    page.wait_for_function(f"() => [...document.images].some(image => {ours})")


def keep(page: "Page", name: str) -> None:
    folder = os.environ.get("SFDDM_SCREENSHOTS")
    if folder:
        page.wait_for_timeout(3000)
        page.screenshot(path=Path(folder) / f"{name}.png")
