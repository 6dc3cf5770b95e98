"""`sfddm plan`: what a spec's pipeline will do and take, before anything of it runs."""

import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.filesize import decimal as size
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from sfddm.pipeline.plan import Estimate

UNITS = ((86_400, "d"), (3600, "h"), (60, "min"))


def plan(spec: Annotated[str, typer.Argument(help="Name in specs/.")]) -> None:
    """Show the stages of a spec, which are done already, and about what time, disk and memory the others will take."""
    from sfddm.cli.specs import report_left_out
    from sfddm.pipeline.params import sync
    from sfddm.spec.read import load_spec

    experiment = load_spec(spec)
    report_left_out(sync()[1])

    from sfddm.pipeline.pending import stages, to_run
    from sfddm.pipeline.plan import estimates
    from sfddm.runtime.machine import device
    from sfddm.runtime.memory import free_memory

    names, wanted = stages(experiment), to_run(experiment)
    if wanted is None:
        typer.echo("What is done already can't be told: DVC is not installed here, or busy. All stages are listed.")
    elif not wanted:
        name = experiment.name
        typer.echo(f"{name}: all {len(names)} stages are done, `sfddm run {name}` would make nothing anew.")
        return
    with Console(stderr=True).status("timing networks"):
        found = dict(estimates(experiment, names if wanted is None else wanted))
    Console().print(_table(names, found))
    where, free, every = device().type, free_memory(device().type), found.values()
    typer.echo(
        f"{len(found)} of {len(names)} stages to run on {where}, one after another: about "
        f"{duration(sum(each.seconds for each in every))}; {size(sum(each.disk for each in every))} of outputs, of "
        "which DVC's cache keeps a second copy unless the file system shares them, and "
        f"{size(sum(each.scratch for each in every))} of trajectories in scratch.\n"
        f"Free here: {size(shutil.disk_usage(Path.cwd()).free)} of disk, {size(free)} of memory ({where})."
    )
    if dominant := _costliest_scorer(found):
        typer.echo(dominant)
    large = [f"{name} ({size(each.memory)})" for name, each in found.items() if each.memory > free]
    if large:
        typer.echo(f"warning: more memory than is free will be needed by {', '.join(large)}. Lower their batch_size.")


def _costliest_scorer(found: "dict[str, Estimate]") -> str:
    """Where evaluations take most of the time: which scorer takes most of theirs."""
    spent = sum(each.seconds for name, each in found.items() if name.startswith("evaluate@"))
    scoring = sum((Counter(each.scoring) for each in found.values()), Counter())
    if not scoring or 2 * spent < sum(each.seconds for each in found.values()):
        return ""
    name, seconds = scoring.most_common(1)[0]
    return f"{duration(spent)} of it are evaluations, {duration(seconds)} in the scorer {name}, the costliest."


def _table(names: list[str], found: "dict[str, Estimate]") -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("stage", "time", "disk", "trajectories", "memory"):
        table.add_column(column, justify="left" if column == "stage" else "right", no_wrap=column != "stage")
    for name in names:
        if (estimate := found.get(name)) is None:
            table.add_row(escape(name), "done", style="dim")
        else:
            cells = (size(amount) if amount else "" for amount in (estimate.disk, estimate.scratch, estimate.memory))
            table.add_row(escape(name), duration(estimate.seconds), *cells)
    return table


def duration(seconds: float) -> str:
    """Seconds in the unit that fits."""
    for length, unit in UNITS:
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"
