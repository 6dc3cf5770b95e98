"""`sfddm spec`: check, show and expand specs, and describe them to editors."""

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True)
Names = Annotated[list[str] | None, typer.Argument(help="Names in specs/, or paths; all of specs/ when left out.")]


@app.command()
def check(names: Names = None) -> None:
    """Say what is wrong with specs, all of it at once, with file, line and path."""
    from sfddm.errors import SpecError
    from sfddm.spec.read import load_spec, spec_names

    faults = []
    for name in names or spec_names():
        try:
            spec = load_spec(name)
        except SpecError as error:
            faults.append(str(error))
        else:
            typer.echo(f"{spec.name}: {len(spec.students)} students, {len(spec.runs())} runs, valid")
    if faults:
        raise SpecError("\n".join(faults))


@app.command()
def show(name: Annotated[str, typer.Argument(help="Name in specs/, or path.")]) -> None:
    """Print a spec as it is understood, with anchors resolved, and every student's levels and cost."""
    import sys

    from ruamel.yaml import YAML

    from sfddm.spec.parse import unstructure
    from sfddm.spec.read import load_spec

    spec = load_spec(name)
    yaml = YAML()
    yaml.default_flow_style = None
    yaml.width = 120
    yaml.dump(unstructure(spec), sys.stdout)
    typer.echo("# Cost in forward-equivalents: a forward pass of one image is 1, forward and backward 3.")
    for name, student in spec.students.items():
        levels = spec.levels(name)
        total = student.method.cost(levels, spec.teacher.noise_schedule, spec.teacher.timesteps).total
        typer.echo(f"# {name}: {f'cost {total}' if total else 'free'}, levels {', '.join(map(str, levels))}")


@app.command()
def sync() -> None:
    """Write what DVC goes by: the runs of all specs (params.yaml) and fingerprints of the code (code.yaml)."""
    from sfddm.pipeline.params import CODE, PARAMS
    from sfddm.pipeline.params import sync as write

    changed = write()
    for path in (PARAMS, CODE):
        typer.echo(f"{path}: {'written anew' if path in changed else 'already current'}")


@app.command()
def schema() -> None:
    """Write specs/schema.json, which editors complete and check specs by."""
    from sfddm.spec.schema import write_schema

    typer.echo(f"{write_schema()}: written")
