"""`sfddm export`: a student for programs that know nothing of this library."""

from pathlib import Path
from typing import Annotated

import typer

from sfddm.cli.models import LevelsAsked, Source, Spaced, Steps, asked_index_set, student_folder
from sfddm.export import Format


def export(
    source: Source,
    out: Annotated[Path, typer.Argument(help="A new folder.")],
    form: Annotated[Format, typer.Option("--format", help="Whose format.")],
    steps: Steps = None,
    spacing: Spaced = "uniform-angle",
    levels: LevelsAsked = None,
) -> None:
    """Write a student for diffusers, torch.export or ONNX, and compare what was written with the student."""
    from sfddm.export.export import IMAGES
    from sfddm.export.export import export as write
    from sfddm.networks.generation import on_index_set
    from sfddm.networks.layout import read_sampler
    from sfddm.networks.storage import read_contract

    folder = student_folder(source)
    sampler = read_sampler(folder)
    if asked := asked_index_set(levels, steps, spacing):
        sampler = on_index_set(sampler, read_contract(folder), asked)
    written = write(folder, sampler, out, form)
    typer.echo(
        f"{out}: {written.size / 2**20:.2f} MiB, {sampler.nfe} network evaluations per image. Of {IMAGES} images from "
        f"the same noises no pixel differs from the student's own by more than {written.difference:.1e}."
    )
