"""`sfddm list`: the active specs and their runs, and where each stands."""

from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from sfddm.pipeline.standing import Standing


def list_specs(
    spec: Annotated[
        str | None, typer.Argument(help="Name in specs/: each of its runs. All specs when left out.")
    ] = None,
) -> None:
    """List specs, or one spec's runs: what is made, what is out of date and why, and what was promoted."""
    from sfddm.pipeline.params import NOT_CURRENT, active, is_current
    from sfddm.pipeline.promotions import read_history
    from sfddm.pipeline.standing import standings
    from sfddm.spec.read import load_spec

    history = read_history()
    specs, faults = active() if spec is None else ([load_spec(spec)], [])
    found = {each.name: standings(each, history) for each in specs}
    Console().print(_specs(found) if spec is None else _runs(found[specs[0].name]))
    for fault in faults:
        typer.echo(f"not in the pipeline until it is mended: {fault}", err=True)
    if not is_current():
        typer.echo(NOT_CURRENT, err=True)
    to_do = [f"report@{name}" for name, each in found.items() if any(standing.state != "made" for standing in each)]
    if to_do:
        typer.echo(f"`dvc repro {' '.join(to_do)}` makes what is missing or out of date.")


def _specs(found: "dict[str, list[Standing]]") -> Table:
    table = Table(box=SIMPLE_HEAD)
    for column in ("spec", "runs", "made", "out of date", "not made", "promoted"):
        table.add_column(column, overflow="fold")
    for name, each in found.items():
        counts = Counter(standing.state for standing in each)
        numbers = (len(each), counts["made"], counts["out of date"], counts["not made"])
        promoted = [f"{standing.run.name}: {', '.join(standing.aliases)}" for standing in each if standing.aliases]
        table.add_row(escape(name), *map(str, numbers), escape("\n".join(promoted)))
    return table


def _runs(found: "list[Standing]") -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("run", "state", "why", "promoted"):
        table.add_column(column, overflow="fold", no_wrap=column in ("run", "state"))
    for each in found:
        table.add_row(*map(escape, (each.run.name, each.state, each.why, "\n".join(each.aliases))))
    return table
