"""`sfddm run`: everything of a spec, its runs side by side."""

import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from sfddm.pipeline.side_by_side import Work

PAUSE = 0.5
"""Seconds between two looks."""


def run(
    spec: Annotated[str, typer.Argument(help="Name in specs/.")],
    jobs: Annotated[
        int, typer.Option(help="Runs at once, each on a GPU or a share of the processors; 0: one per device.")
    ] = 1,
) -> None:
    """Make everything of a spec, as `dvc repro` does, with several runs side by side, and print the comparison."""
    from sfddm.cli.models import report
    from sfddm.cli.specs import report_left_out
    from sfddm.pipeline.params import sync
    from sfddm.pipeline.side_by_side import DONE, SideBySide, faults, places, works
    from sfddm.runtime.locks import locked
    from sfddm.runtime.machine import scratch
    from sfddm.runtime.signals import SIGNALS, Interrupted, interrupt
    from sfddm.spec.read import load_spec

    experiment = load_spec(spec)
    report_left_out(sync()[1])
    every, where = works(experiment), places(jobs)
    for number in SIGNALS:
        signal.signal(number, interrupt)
    alone = locked(scratch() / "locks" / f"run-{experiment.name}.lock", wait=False)
    try:
        with alone, _shown(every) as look, SideBySide(every, where) as going:
            while going.look():
                look()
                time.sleep(PAUSE)
            look()
    except Interrupted as interrupted:
        by = signal.Signals(interrupted.exit_code - 128).name
        typer.echo(f"ended by {by}: trainings kept a checkpoint; `sfddm run {spec}` goes on from there.", err=True)
        sys.exit(interrupted.exit_code)
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    for fault in faults(every):
        typer.echo(f"error: {fault}", err=True)
    if any(work.state != DONE for work in every):
        sys.exit(1)
    report(spec)


@contextmanager
def _shown(works: "Sequence[Work]") -> Iterator[Callable[[], None]]:
    """Show how works go on: on a terminal as a table that changes, elsewhere as a line for each change."""
    console, before = Console(stderr=True), dict[str, str]()
    if console.is_terminal:
        with Live(console=console, auto_refresh=False) as live:
            yield lambda: live.update(_table(works), refresh=True)
        return

    def look() -> None:
        for work in works:
            if before.get(work.name, "waits") != work.state:
                typer.echo(f"{work.name}: {work.state}", err=True)
            before[work.name] = work.state

    yield look


def _table(works: "Sequence[Work]") -> Table:
    from sfddm.pipeline.side_by_side import DONE

    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("run", "on", "state"):
        table.add_column(column, no_wrap=True, min_width=8)
    table.add_column("said last", no_wrap=True, overflow="ellipsis")
    for work in works:
        table.add_row(
            escape(work.name), work.place.name, work.state, "" if work.state == DONE else escape(work.last_line())
        )
    return table
