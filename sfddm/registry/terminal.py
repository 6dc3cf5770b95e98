"""Gates, history and verdicts on the terminal."""

from collections.abc import Iterable, Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from sfddm.evaluation.metrics import panel, part
from sfddm.pipeline.promotions import Event, Gate, History, Promotion

WHAT = {"promotion": "promoted", "demotion": "demoted"}


def gates_table(title: str, gates: Sequence[Gate]) -> Table:
    """Each gate with its value and its bound."""
    rows = ((gate.name, gate.figure, gate.bound, gate.passed) for gate in gates)
    return marked_table(title, ("gate", "figure", "bound"), rows)


def history_table(history: History, model: str | None) -> Table:
    """What happened to one model or to all, oldest first."""
    table = _table("", ("time (UTC)", "model", "alias", "what", "run", "distance", "content", "commit"))
    holders = list(history.holders().values())
    for event in history.events:
        if model in (None, event.model):
            table.add_row(*map(escape, _cells(event, event in holders)))
    return table


def marked_table(title: str, columns: Sequence[str], rows: Iterable[tuple[str | bool, ...]]) -> Table:
    """A table whose rows end with whether they passed."""
    table = _table(title, (*columns, ""))
    for *cells, passed in rows:
        table.add_row(*(escape(str(cell)) for cell in cells), "[green]pass[/green]" if passed else "[bold red]FAIL[/]")
    return table


def _cells(event: Event, holds: bool) -> Iterator[str]:
    yield event.time[:16].replace("T", " ")
    yield event.model
    yield event.alias
    yield WHAT[event.kind] + (", holds" if holds else "")
    yield event.run
    yield _distance(event) if isinstance(event, Promotion) else ""
    yield event.content_key
    yield event.commit[:8]


def _distance(event: Promotion) -> str:
    """To the first scorer."""
    return f"{part(event.figures, panel(event.figures)[0])['frechet_distance']:.4f}"


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=escape(title) or None, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
