"""`sfddm run`: everything of a spec, its runs side by side."""

import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleDimensions
from rich.live import Live
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from sfddm.pipeline.side_by_side import Work

PAUSE = 0.5
"""Seconds between two looks."""
LEAST, BORDERS, FRAME = 20, 5, 7
"""Characters of what a run said last, and of a row that are in no cell; lines in and around a table without a run."""


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
    from sfddm.pipeline.pending import to_run
    from sfddm.pipeline.side_by_side import SideBySide, exit_code, faults, places, works
    from sfddm.runtime.locks import locked
    from sfddm.runtime.machine import scratch
    from sfddm.runtime.signals import SIGNALS, Interrupted, interrupt
    from sfddm.spec.read import load_spec

    experiment = load_spec(spec)
    report_left_out(sync()[1])
    where, every = places(jobs), works(experiment, to_run(experiment))
    for number in SIGNALS:
        signal.signal(number, interrupt)
    alone = locked(scratch() / "locks" / f"run-{experiment.name}.lock", wait=False)
    try:
        with alone, _shown(experiment.name, every) as look, SideBySide(every, where) as going:
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
    if code := exit_code(every):
        sys.exit(code)
    report(spec)


@contextmanager
def _shown(spec: str, works: "Sequence[Work]") -> Iterator[Callable[[], None]]:
    """Show how works go on: on a terminal as a table that changes, elsewhere as a line for each change."""
    console, before, began = Console(stderr=True), dict[str, str](), time.monotonic()
    if console.is_terminal:
        with Live(console=console, auto_refresh=False) as live:
            yield lambda: live.update(_table(spec, works, time.monotonic() - began, console.size), refresh=True)
        return

    def look() -> None:
        for work in works:
            if before.get(work.name, "waits") != work.state:
                typer.echo(f"{work.name}: {work.state}", err=True)
            before[work.name] = work.state

    yield look


def _table(spec: str, works: "Sequence[Work]", seconds: float, size: ConsoleDimensions) -> Table:
    """How works go on, in a terminal of this size: without those that are done or wait, where not all have room."""
    from sfddm.cli.plan import duration
    from sfddm.pipeline.side_by_side import DONE, LEFT, WAITS

    done = sum(work.state == DONE for work in works)
    names = [work.name.removeprefix(spec).lstrip("-, ") for work in works]
    widths = [max(map(len, names)), max(len("on"), *(len(work.place.name) for work in works)), len(LEFT)]
    room = max(size.width - sum(widths) - BORDERS, LEAST)
    caption = f"{done} of {len(works)} done after {duration(seconds)}"
    table = Table(box=SIMPLE_HEAD, padding=0, caption=caption, caption_justify="left")
    for column, width in zip(("run", "on", "state", "said last"), (*widths, room), strict=True):
        table.add_column(column, width=width, no_wrap=True)
    short = len(works) > size.height - FRAME
    for name, work in zip(names, works, strict=True):
        if not (short and work.state in (DONE, WAITS)):
            said = "" if work.state == DONE else work.last_line()
            end = said if len(said) <= room else f"…{said[1 - room :]}"  # the rate and the time that is left
            table.add_row(escape(name), work.place.name, work.state, escape(end))
    return table
