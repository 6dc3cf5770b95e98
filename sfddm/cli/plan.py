"""`sfddm plan`: what a spec's pipeline will do and take, before anything of it runs."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from sfddm.planning.estimate import Estimate

UNITS = ((86_400, "d"), (3600, "h"), (60, "min"))


def plan(spec: Annotated[str, typer.Argument(help="Name in specs/.")]) -> None:
    """Show the stages of a spec, which are done already, and the time, disk and memory that the others will take.

    A few steps of every network are measured on this device, which itself takes seconds to minutes.
    """
    import shutil
    from pathlib import Path

    from rich.console import Console

    from sfddm.pipeline.params import require_current
    from sfddm.planning.stages import changed_stages, stages, to_run
    from sfddm.spec.read import load_spec

    experiment = load_spec(spec)
    require_current()
    needs = stages(experiment)
    changed = changed_stages(list(needs))
    wanted = set(needs) if changed is None else to_run(needs, changed)
    if changed is None:
        typer.echo("What is done already can't be told: DVC is not installed here, or busy. All stages are listed.")
    if not wanted:
        typer.echo(f"{experiment.name}: all {len(needs)} stages are done, `dvc repro` would run nothing.")
        return
    from sfddm.planning.estimate import estimates
    from sfddm.runtime.machine import device

    console = Console()
    found: dict[str, Estimate] = {}
    with Console(stderr=True).status("measuring") as status:
        for name, estimate in estimates(experiment, wanted):
            found[name] = estimate
            status.update(f"measured {name}")
    console.print(_table(list(needs), found))
    for name, estimate in found.items():
        if estimate.note:
            typer.echo(f"{name}: {estimate.note}")
    total = _total(found)
    typer.echo(
        f"{len(found)} of {len(needs)} stages to run on {device().type}, one after another: about "
        f"{duration(total.seconds)}; {size(total.disk)} of outputs, of which DVC's cache keeps a second copy unless "
        f"the file system shares them, and {size(total.scratch)} of trajectories in scratch.\n"
        f"Free here: {size(shutil.disk_usage(Path.cwd()).free)} of disk, {_free_memory()} of memory."
    )


def _table(names: list[str], found: "dict[str, Estimate]") -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

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


def _total(found: "dict[str, Estimate]") -> "Estimate":
    from sfddm.planning.estimate import Estimate

    return Estimate(
        seconds=sum(estimate.seconds for estimate in found.values()),
        disk=sum(estimate.disk for estimate in found.values()),
        scratch=sum(estimate.scratch for estimate in found.values()),
        memory=max(estimate.memory for estimate in found.values()),
    )


def _free_memory() -> str:
    from sfddm.runtime.machine import device, free_memory

    used = device().type
    return size(free_memory(used)) + (" (GPU)" if used == "cuda" else "")


def duration(seconds: float) -> str:
    """Seconds in the unit that fits."""
    for length, unit in UNITS:
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"


def size(count: float) -> str:
    """Bytes in the unit that fits, in powers of ten."""
    for power, unit in ((12, "TB"), (9, "GB"), (6, "MB")):
        if count >= 10**power:
            return f"{count / 10**power:.1f} {unit}"
    return f"{count / 1000:.0f} kB"
