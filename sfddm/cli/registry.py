"""Commands on the model registry: promote, demote, history, track, reproduce."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, get_args

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sfddm.errors import USAGE_ERROR, UserError

if TYPE_CHECKING:
    from sfddm.pipeline.promotions import History

OVERRULE = "Make MLflow forget promotions that promotions.json lacks and nobody else has."
NOT_REPRODUCED = 1
"""The exit code of `sfddm reproduce` where something else came out."""
RunName = Annotated[str, typer.Argument(help="A run, as `sfddm report` and MLflow name it: SPEC-STUDENT-sSEED.")]


def promote(
    run: RunName,
    to: Annotated[str, typer.Option(help="The alias to give: champion or staging.")] = "champion",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what each gate finds.")] = False,
) -> None:
    """Hold a student against its spec's gates, and give it an alias of the registered model if it passes all."""
    from sfddm.pipeline.promotions import PROMOTIONS, Alias
    from sfddm.pipeline.rows import find_run, load_row
    from sfddm.registry.aliases import confirm
    from sfddm.registry.gates import gates
    from sfddm.registry.promote import check_artifacts, check_committed, check_marked, deciding, standing
    from sfddm.registry.promote import promote as give
    from sfddm.report.table import cautions
    from sfddm.report.text import warn
    from sfddm.spec.parse import nearest
    from sfddm.tracking.versions import require_version

    alias: Alias | None = next((word for word in get_args(Alias) if word == to), None)
    if alias is None:
        raise UserError(f"--to {to}: no such alias{nearest(to, get_args(Alias))}")
    spec, found = find_run(run)
    check_marked(spec, found)
    row, model = load_row(spec, found), spec.registry.model
    with deciding() as events:
        check_artifacts(spec, row)
        asked = events.holders().get((model, "champion")) if alias == "champion" else None
        decided = list(gates(spec, row, asked))
        rows = ((gate.name, gate.figure, gate.bound, gate.passed) for gate in decided)
        warn(cautions(row.metrics), Console())
        Console().print(_marked_table(f"{run} as {alias} of {model}", ("gate", "figure", "bound"), rows))
        if not all(gate.passed for gate in decided):
            typer.echo(f"Refused. The gates are in specs/{spec.name}.yaml, section promotion.")
            raise typer.Exit(USAGE_ERROR)
        commit = check_committed(spec, row)
        held = standing(events, row, model, alias)
        if dry_run:
            typer.echo(f"{run} {'is' if held else 'would become'} {alias}. Nothing was changed.")
        elif held is not None:
            require_version(spec, row)
            confirm(events, held)
            typer.echo(f"{run} is {alias} already, since {held.time}.")
        else:
            version = give(events, spec, row, alias, decided, commit)
            typer.echo(
                f"models:/{model}@{alias} is now version {version}: {run}, content {row.content_key}\n"
                f"Keep it: git add {PROMOTIONS} && git commit -m 'Promote {run}'"
            )


def demote(
    name: Annotated[str, typer.Argument(help="models:/NAME@ALIAS, or models:/NAME/VERSION for all aliases of it.")],
) -> None:
    """Take an alias from a student; it names nothing until the next promotion."""
    from sfddm.pipeline.promotions import PROMOTIONS
    from sfddm.registry.promote import deciding
    from sfddm.registry.promote import demote as take

    with deciding() as events:
        for event in take(events, name):
            typer.echo(f"models:/{event.model}@{event.alias} names nothing now; it was {event.run}")
    typer.echo(f"Keep it: git add {PROMOTIONS} && git commit -m 'Demote {name}'")


def history(
    model: Annotated[str | None, typer.Argument(help="A registered model; all of them when left out.")] = None,
) -> None:
    """List what was promoted and demoted, oldest first."""
    from sfddm.pipeline.git import head, uncommitted
    from sfddm.pipeline.promotions import PROMOTIONS, read_history
    from sfddm.spec.parse import nearest

    events = read_history()
    if model is not None and model not in events.models():
        raise UserError(f"nothing was promoted of a model {model!r}{nearest(model, events.models())}")
    for line in _history_lines(events, model):
        typer.echo(line)
    if not events.events:
        lost = head() is not None and not PROMOTIONS.exists() and uncommitted([str(PROMOTIONS)])
        said = (
            f"{PROMOTIONS} is gone: `git restore {PROMOTIONS}` brings it back." if lost else "Nothing was promoted yet."
        )
        typer.echo(said)
        return
    typer.echo(f"From {PROMOTIONS}; times are UTC, distances those to the first scorer.")


def track(
    specs: Annotated[list[str] | None, typer.Argument(help="Names in specs/; all of them when left out.")] = None,
    overrule: Annotated[bool, typer.Option("--overrule", help=OVERRULE)] = False,
) -> None:
    """Fill MLflow with what it lacks: runs, versions and aliases, from DVC's outputs and promotions.json."""
    from sfddm.registry.track import track as fill

    for line in fill(specs or [], overrule):
        typer.echo(line)


def reproduce(
    name: Annotated[str, typer.Argument(help="models:/NAME@ALIAS or models:/NAME/VERSION.")],
    quick: Annotated[bool, typer.Option("--quick", help="Train nothing: check hashes and evaluate again.")] = False,
) -> None:
    """Rebuild a registered version from its commit, and say whether the same came out."""
    from sfddm.registry.reproduce import reproduce as rebuild
    from sfddm.registry.reproduce import write_verdict

    if not name.startswith("models:/"):
        raise UserError(f"{name}: expected models:/NAME@ALIAS or models:/NAME/VERSION.")
    items = list(rebuild(name, quick))
    rows = ((item.name, item.verdict, item.passed) for item in items)
    Console().print(_marked_table(name, ("what", "verdict"), rows))
    typer.echo(f"{name} was {write_verdict(name, quick, items)}.")
    if not all(item.passed for item in items):
        raise typer.Exit(NOT_REPRODUCED)


def _history_lines(history: "History", model: str | None) -> Iterator[str]:
    """What happened to one model or to all, oldest first, two lines each: a table of it is wider than a terminal."""
    from sfddm.evaluation.metrics import panel, part
    from sfddm.pipeline.promotions import Promotion

    holders = list(history.holders().values())
    for event in history.events:
        if model not in (None, event.model):
            continue
        what, distance = "demoted", ""
        if isinstance(event, Promotion):
            what = "promoted, holds" if event in holders else "promoted"
            distance = f"distance {part(event.figures, panel(event.figures)[0])['frechet_distance']:.4f}, "
        time = event.time[:16].replace("T", " ")
        yield f"{time}  {event.model}@{event.alias}  {what}: {event.run}"
        yield f"    {distance}content {event.content_key}, commit {event.commit[:8]}"


def _marked_table(title: str, columns: Sequence[str], rows: Iterable[tuple[str | bool, ...]]) -> Table:
    """A table whose rows end with whether they passed."""
    table = _table(title, (*columns, ""))
    for *cells, passed in rows:
        table.add_row(*(escape(str(cell)) for cell in cells), "[green]pass[/green]" if passed else "[bold red]FAIL[/]")
    return table


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=escape(title) or None, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
