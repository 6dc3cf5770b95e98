"""`sfddm clean`: disk space that no result needs."""

from pathlib import Path
from typing import Annotated

import typer

MIB = 2**20


def clean(
    parts: Annotated[list[str] | None, typer.Argument(help="Which parts; all of them when left out.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Delete them, instead of saying what there is.")] = False,
) -> None:
    """Say which caches can be deleted without losing a result, and delete them with --yes."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from sfddm.pipeline.cleaning import removable, remove, size_of

    found = removable(parts or ())
    if not found:
        typer.echo("There is nothing to delete.")
        return
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("part", "MiB", "what it is"):
        table.add_column(column, justify="right" if column == "MiB" else "left")
    for part in found:
        table.add_row(part.name, f"{part.size / MIB:.1f}", part.meaning)
    Console().print(table)
    total = f"{sum(part.size for part in found) / MIB:.1f} MiB"
    if yes:
        remove(found)
        typer.echo(f"{total} deleted.")
    else:
        typer.echo(f"Nothing was deleted: `sfddm clean{' '.join(['', *(parts or ())])} --yes` frees {total}.")
    if cached := size_of(Path(".dvc/cache")):
        typer.echo(
            f"DVC's cache has another {cached / MIB:.1f} MiB of outputs. `dvc gc --workspace` keeps what dvc.lock has; "
            "afterwards promoted versions can't be rebuilt without training."
        )
