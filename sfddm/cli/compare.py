"""`sfddm compare`: which fields and which metrics of students differ."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sfddm.report.compare import Subject

NAMES = "Two or more of: SPEC-STUDENT-sSEED, models:/NAME@ALIAS, models:/NAME/VERSION, REVISION:SPEC-STUDENT-sSEED."


def compare(
    names: Annotated[list[str], typer.Argument(help=NAMES)],
    out: Annotated[Path | None, typer.Option(help="Write their images side by side: a name that ends in .png.")] = None,
) -> None:
    """Say which fields of their specs and which figures differ between students, beyond their spread."""
    from rich.console import Console

    from sfddm.errors import UserError
    from sfddm.report.terminal import LETTERS, show
    from sfddm.runtime.files import atomic_file

    if not 2 <= len(names) <= len(LETTERS):
        raise UserError(f"compare takes 2 to {len(LETTERS)} students, found {len(names)}: {NAMES}")
    if out is not None and out.suffix != ".png":
        raise UserError(f"--out {out}: expected a name that ends in .png.")
    subjects = [_find(name) for name in names]
    show(subjects, Console())
    if out is None:
        typer.echo("`--out FILE.png` writes their images side by side.")
        return
    from sfddm.report.compare import side_by_side

    with atomic_file(out) as partial:
        partial.write_bytes(side_by_side(subjects))
    typer.echo(f"{out}: {len(subjects)} students' images side by side")


def _find(name: str) -> "Subject":
    from sfddm.report.compare import find
    from sfddm.tracking.versions import registered

    return registered(name) if name.startswith("models:/") else find(name)
