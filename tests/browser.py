"""A real Chromium without a network, and what a page in it did."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

SWITCHES = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
            "--disable-component-update", "--disable-sync")  # fmt: skip


def chromium() -> Iterator[Browser]:
    """The Chromium that the system has; tests that need it are skipped where it has none."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no Chromium here: `apt-get install chromium` lets this test open pages in a browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(SWITCHES))
        yield browser
        browser.close()


class Visit:
    """A page that is open, with every error that it made and every request that left it."""

    def __init__(self, browser: Browser, path: Path, scheme: Any = "light", width: int = 1280) -> None:
        context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 844}, offline=True)
        self.page: Page = context.new_page()
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self._hear(message.type, message.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.resolve().as_uri())
        self.page.wait_for_load_state("networkidle")

    def ask(self, script: str) -> Any:
        """What a script says of the page."""
        return self.page.evaluate(script)

    def strayed(self) -> list[str]:
        """Requests for anything but files of this machine and what the page itself holds."""
        return [url for url in self.requests if not url.startswith(("file:", "data:"))]

    def _hear(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.errors.append(text)
