"""`sfddm teacher`: teachers that others trained."""

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True)
Revision = Annotated[str, typer.Option(help="A commit, tag or branch of a teacher on the hub.")]
WHAT = "OWNER/NAME of the Hugging Face hub, a folder in diffusers' format, or a checkpoint (.pt)."


@app.callback()
def teachers() -> None:
    """Look at teachers that others trained."""


@app.command()
def inspect(
    source: Annotated[str, typer.Argument(help=WHAT)],
    revision: Revision = "main",
) -> None:
    """Print a teacher's schedule, T, prediction, image size and parameters, and a spec that begins with it."""
    from sfddm.teachers.inspection import inspect as describe

    typer.echo(describe(source, revision))
