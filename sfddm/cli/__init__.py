"""The command line. Every command imports what it needs when it runs, so that `--help` costs nothing."""

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from sfddm.cli import index_sets, models, registry, specs, teachers
from sfddm.cli.cleaning import clean
from sfddm.cli.judging import judge
from sfddm.cli.listing import list_specs
from sfddm.cli.new import new
from sfddm.cli.plan import plan
from sfddm.cli.run import run
from sfddm.cli.sweep import sweep
from sfddm.errors import USAGE_ERROR, UserError, shown
from sfddm.runtime.machine import calm_threads

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Distil diffusion models from one declarative spec. `sfddm run` or `dvc repro` runs the pipeline.",
)
app.add_typer(specs.app, name="spec", help="Check and show specs, and list their runs for DVC.")
app.add_typer(index_sets.app, name="index-set", help="Show and search the noise levels where students stop.")
app.add_typer(teachers.app, name="teacher", help="Look at teachers that others trained.")
COMMANDS = (
    new, plan, run, sweep, models.report, models.advise, models.compare, models.sample, models.export, judge, models.ui,
    clean,
    registry.promote, registry.demote, registry.history, registry.track, registry.reproduce,
)  # fmt: skip
for command in COMMANDS:
    app.command()(command)
app.command("list")(list_specs)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sfddm {version('sfddm')}")
        raise typer.Exit


@app.callback()
def every(
    _: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    if not Path("specs").is_dir() and "--help" not in sys.argv:
        _require_outside()


def _require_outside() -> None:
    """Raises: UserError: this is a folder inside a project, whose root alone has what commands look for."""
    here = Path.cwd()
    for folder in here.parents:
        if (folder / "specs").is_dir() and (folder / "dvc.yaml").is_file():
            raise UserError(f"{here} is inside a project, and commands run in its root: `cd {folder}` first.")


def main() -> None:
    """Run the command line; a user's error is shown as it is, with exit code 2."""
    calm_threads()
    try:
        app()
    except (UserError, OSError) as error:
        Console(stderr=True, soft_wrap=True).print(Text.assemble(("error: ", "bold red"), shown(error)))
        sys.exit(USAGE_ERROR)
