"""`sfddm new`: a spec to begin with, a part of the pipeline at once."""

from pathlib import Path
from typing import Annotated

import typer

from sfddm.cli.specs import report_sync
from sfddm.cli.teachers import WHAT, Revision
from sfddm.errors import UserError

From = Annotated[
    str | None,
    typer.Option("--from", help="A spec or an example to copy; left out, the example NAME if there is one, or digits."),
]
Images = Annotated[Path | None, typer.Option(help="Your own images: a folder, with one inside for each class if any.")]
TeacherOf = Annotated[str | None, typer.Option(help=f"A teacher that others trained: {WHAT}")]


def new(
    name: Annotated[str, typer.Argument(help="What to call it.")],
    example: From = None,
    images: Images = None,
    teacher: TeacherOf = None,
    revision: Revision = "main",
) -> None:
    """Begin an experiment: write specs/NAME.yaml and list its runs for DVC. --images and --teacher go together."""
    from sfddm.pipeline.begin import begin, from_example, new_path
    from sfddm.spec.read import example_names

    path = new_path(name)
    if images is None and teacher is None:
        text = from_example(name, example or (name if name in example_names() else "digits"))
    elif example is not None:
        raise UserError("--from copies a spec: leave out --images and --teacher, and change them in the copy.")
    else:
        text = _starter(name, images, teacher, revision)
    report_sync(*begin(name, text))
    typer.echo(
        f"{path}: written. Next:\n"
        f"  sfddm plan {name}             what it will take; `sfddm spec check {name}` after a change\n"
        f"  sfddm run {name}              make what is missing, and print the comparison"
    )
    if teacher is not None and images is None:
        from sfddm.data.source import root

        typer.echo(f"Before that, put images like those that the teacher learned from into {root() / name}.")


def _starter(name: str, images: Path | None, teacher: str | None, revision: str) -> str:
    from sfddm.data.source import root
    from sfddm.pipeline.begin import data_of, linked
    from sfddm.spec.starter import SIDES, judges, starter

    if teacher is None:
        assert images is not None
        own = data_of(name, images, None, SIDES)
        typer.echo(judges(*own))
        return starter(name, *own, None, large=False)

    from sfddm.teachers.hub import FOLDER
    from sfddm.teachers.inspection import look

    seen = look(teacher, revision)
    data = None if images is None else data_of(name, images, seen.channels, seen.sides)
    if data is not None:
        typer.echo(judges(*data))
    text = seen.starter(name, *(data or ()))
    if seen.path is not None:
        found = linked(seen.path, root() / FOLDER, seen.called)
        if found != seen.called:
            raise UserError(
                f"{seen.path} is inside a folder in {root() / FOLDER}: move it up, so that it is called one name."
            )
    return text
