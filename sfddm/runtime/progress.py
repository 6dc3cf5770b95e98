"""One status line for long work: a progress bar on a terminal, a line every ten seconds elsewhere."""

import sys
import time
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from sfddm.runtime.processes import is_main

SECONDS = 10
"""Between lines where there is no terminal."""


class Status:
    """Shows how far work has come, at which rate, and the time that is left; of several processes one shows it."""

    def __init__(self, label: str, total: int, unit: str, units_per_step: int = 1) -> None:
        """`total` steps of `units_per_step` units (img, say) each."""
        self._label, self._total, self._unit, self._units_per_step = label, total, unit, units_per_step
        self._started = self._shown = time.monotonic()
        self._before = 0
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[status]}"))
        self._bar = Progress(
            *columns,
            TimeRemainingColumn(),
            console=console,
            disable=not (console.is_terminal and is_main()),
            transient=True,
        )
        self._task = self._bar.add_task(label, total=total, status="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def go_on(self, done: int) -> None:
        """Say that `done` steps were behind already; the rate is that of those to come."""
        self._before, self._started = done, time.monotonic()

    def update(self, done: int, note: str = "") -> None:
        """Say that `done` steps are behind, with a note in front of the rate."""
        now = time.monotonic()
        per_step = (now - self._started) / max(done - self._before, 1)
        rate = self._units_per_step / max(per_step, 1e-9)
        status = f"{note}{rate:.{0 if rate >= 10 else 2}f} {self._unit}/s"
        self._bar.update(self._task, completed=done, status=status)
        if self._bar.disable and is_main() and now - self._shown > SECONDS:
            self._shown = now
            left = (self._total - done) * per_step
            print(f"{self._label}: {done}/{self._total}, {status}, {left:.0f} s left", file=sys.stderr, flush=True)
