"""`sfddm teacher`: teachers that others trained."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True)
Revision = Annotated[str, typer.Option(help="A commit, tag or branch of a teacher on the hub.")]
WHAT = "OWNER/NAME of the Hugging Face hub, a folder in diffusers' format, or a checkpoint (.pt, .safetensors)."


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


@app.command()
def convert(
    pickled: Annotated[Path, typer.Argument(help="A network-snapshot of EDM (.pkl).")],
    out: Annotated[Path, typer.Argument(help="The file to write (.safetensors).")],
) -> None:
    """Take the weights out of a pickle that EDM's training wrote; nothing in it is run."""
    from sfddm.teachers.edm import convert as take_out

    take_out(pickled, out)
    typer.echo(f"{out}: written. `sfddm new NAME --teacher {out}` begins an experiment with it.")
