"""`sfddm spec`: check, show and expand specs, and describe them to editors."""

from collections.abc import Collection
from pathlib import Path
from typing import Annotated

import typer

from sfddm.errors import SpecError, UserError

app = typer.Typer(no_args_is_help=True)
Names = Annotated[list[str] | None, typer.Argument(help="Names in specs/, or paths; all of specs/ when left out.")]


@app.command()
def check(
    names: Names = None,
    gallery: Annotated[bool, typer.Option("--gallery", help="Check the examples in specs/gallery/ instead.")] = False,
) -> None:
    """Say what is wrong with specs, all of it at once, with file, line and path."""
    from sfddm.pipeline.params import NOT_CURRENT, is_current
    from sfddm.spec.checks import remarks
    from sfddm.spec.read import GALLERY, example_names, load_spec, spec_names

    if names and gallery:
        raise UserError("--gallery checks all examples: leave the names out, or give paths instead.")
    examples = (str(GALLERY / f"{name}.yaml") for name in example_names())
    faults = []
    for name in examples if gallery else names or spec_names():
        try:
            spec = load_spec(name)
        except SpecError as error:
            faults.append(str(error))
        else:
            typer.echo(f"{spec.name}: {len(spec.students)} students, {len(spec.runs())} runs, valid")
            for remark in remarks(spec):
                typer.echo(f"  note: {remark}.")
    active = not gallery and not any("." in name for name in names or ())
    if active and not faults and not is_current():
        typer.echo(NOT_CURRENT)
    if faults:
        raise SpecError("\n".join(faults))


@app.command()
def show(name: Annotated[str, typer.Argument(help="Name in specs/, or path.")]) -> None:
    """Print a spec as it is understood, with anchors resolved, and every student's levels and cost."""
    from sfddm.runtime.files import to_yaml
    from sfddm.spec.parse import unstructure
    from sfddm.spec.read import load_spec

    spec = load_spec(name)
    typer.echo(to_yaml(unstructure(spec)), nl=False)
    typer.echo("# Cost in forward-equivalents: a forward pass of one image is 1, forward and backward 3.")
    typer.echo("# A student's own network counts in full here, and by its share of multiply-adds once trained.")
    for name, student in spec.students.items():
        levels = spec.levels(name)
        total = student.cost(levels, spec.teacher.noise_schedule, spec.teacher.timesteps).total
        typer.echo(f"# {name}: {f'cost {total}' if total else 'free'}, levels {', '.join(map(str, levels))}")


@app.command()
def sync() -> None:
    """Write what DVC goes by: the runs of active specs (params.yaml) and fingerprints of the code (code.yaml)."""
    from sfddm.pipeline.params import sync as write

    report_sync(*write())


@app.command()
def schema() -> None:
    """Write specs/schema.json, which editors complete and check specs by, and docs/spec.md, the same for people."""
    from sfddm.spec.schema import write_generated

    for path in write_generated():
        typer.echo(f"{path}: written")


def report_sync(changed: Collection[Path], faults: Collection[str]) -> None:
    """Print what `sync` did."""
    from sfddm.pipeline.params import CODE, PARAMS

    for path in (PARAMS, CODE):
        typer.echo(f"{path}: {'written anew' if path in changed else 'already current'}")
    report_left_out(faults)


def report_left_out(faults: Collection[str]) -> None:
    """Print which specs `sync` left out, and why."""
    for fault in faults:
        typer.echo(f"left out until it is mended: {fault}", err=True)
