"""Commands on finished students: report, advise, compare, sample, export, ui."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape

from sfddm.errors import UserError
from sfddm.export import Format, require_new

if TYPE_CHECKING:
    from sfddm.diffusion.sampler import Sampler
    from sfddm.spec.index_set import IndexSet

BATCH = 250
Spacing = Literal["uniform-angle", "uniform", "quadratic", "uniform-log-snr"]
"""How a number of steps is spread over the noise levels."""
Source = Annotated[str, typer.Argument(help="A run's name, a student's folder, or models:/NAME@ALIAS.")]
Steps = Annotated[int | None, typer.Option(min=1, help="Number of steps, instead of the student's own set.")]
Spaced = Annotated[
    Spacing | None,
    typer.Option(help="How --steps are spaced; left out, as the student's own if it has as many, or evenly in angle."),
]
LevelsAsked = Annotated[
    str | None, typer.Option(help="Any index set: noise levels as in 256,512,768,1024, up to the noisiest.")
]

NAMES = "Two or more of: SPEC-STUDENT-sSEED, models:/NAME@ALIAS, models:/NAME/VERSION."


def report(
    spec: Annotated[str, typer.Argument(help="Name in specs/.")],
    markdown: Annotated[bool, typer.Option("--markdown", help="All columns, as Markdown.")] = False,
) -> None:
    """Print the comparison of a spec's students, and what to do next."""
    from sfddm.pipeline.rows import load_rows
    from sfddm.spec.read import load_spec

    experiment = load_spec(spec)
    rows = load_rows(experiment)

    from sfddm.registry.next_steps import next_steps
    from sfddm.report.table import make_table
    from sfddm.report.text import to_markdown, to_terminal

    table = make_table(experiment, rows)
    if markdown:
        typer.echo(to_markdown(experiment, table))
        return
    to_terminal(experiment.name, table, Console())
    typer.echo(f"The same with pictures: reports/{experiment.name}.html\n")
    steps = list(next_steps(experiment, table))
    if steps:
        typer.echo("Next:")
    width = max((len(command) for command, _ in steps), default=0)
    for command, does in steps:
        typer.echo(f"  {command:<{width}}  # {does}")


def advise(spec: Annotated[str, typer.Argument(help="Name in specs/.")]) -> None:
    """Say what to use at each number of steps: a free sampler, wherever no student is shown to be better."""
    from rich.table import Table

    from sfddm.pipeline.rows import load_rows
    from sfddm.report.advice import COLUMNS, advice, headline
    from sfddm.report.table import make_table
    from sfddm.report.text import warn
    from sfddm.spec.read import load_spec

    experiment = load_spec(spec)
    table = make_table(experiment, load_rows(experiment))
    warn(table.warnings, Console())
    shown = Table(title=experiment.name, caption=headline(experiment, table), caption_justify="left", box=SIMPLE_HEAD)
    for column in COLUMNS:
        shown.add_column(column, overflow="fold", justify="right" if column in ("steps", "cost") else "left")
    for each in advice(table):
        shown.add_row(*map(escape, each.cells()))
    Console().print(shown)


def compare(names: Annotated[list[str], typer.Argument(help=NAMES)]) -> None:
    """Say which fields of their specs and which figures differ between students, beyond their spread."""
    from sfddm.report.compare import LETTERS, find, show
    from sfddm.tracking.versions import registered

    if not 2 <= len(names) <= len(LETTERS):
        raise UserError(f"compare takes 2 to {len(LETTERS)} students, found {len(names)}: {NAMES}")
    show([registered(name) if name.startswith("models:/") else find(name) for name in names], Console())


def sample(
    source: Source,
    out: Annotated[Path, typer.Option(help="Where to write: .png for a grid, .npz for arrays.")] = Path("samples.png"),
    num: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many images.")] = 64,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Seed of the noises.")] = 0,
    steps: Steps = None,
    spacing: Spaced = None,
    levels: LevelsAsked = None,
    class_label: Annotated[
        int | None, typer.Option("--class", help="The class of all images; they take turns if left out.")
    ] = None,
) -> None:
    """Draw images from a student."""
    if out.suffix not in (".png", ".npz"):
        raise UserError(f"--out {out}: expected a name that ends in .png or .npz.")
    folder = student_folder(source)
    sampler = asked_sampler(folder, levels, steps, spacing)

    import numpy as np

    from sfddm.images import grid, png
    from sfddm.networks import storage
    from sfddm.networks.generation import generate
    from sfddm.runtime.files import atomic_file
    from sfddm.runtime.machine import device

    denoiser = storage.load(folder, device())
    denoiser.contract.require_class(class_label)
    images = generate(denoiser, sampler, seed, num, BATCH, "sampling", class_label)
    with atomic_file(out) as partial:
        if out.suffix == ".png":
            partial.write_bytes(png(grid(images, min(num, 16))))
        else:
            with partial.open("wb") as file:
                np.savez(file, images=images)
    each = f"{sampler.nfe} network evaluation{'' if sampler.nfe == 1 else 's'} each"
    typer.echo(f"{out}: {num} images, {each}, seed {seed}")


def export(
    source: Source,
    out: Annotated[Path, typer.Argument(help="A new folder.")],
    form: Annotated[Format, typer.Option("--format", help="Whose format.")],
    steps: Steps = None,
    spacing: Spaced = None,
    levels: LevelsAsked = None,
) -> None:
    """Write a student for diffusers, torch.export or ONNX, and compare what was written with the student."""
    require_new(out)
    folder = student_folder(source)
    sampler = asked_sampler(folder, levels, steps, spacing)

    from sfddm.export.export import IMAGES
    from sfddm.export.export import export as write

    written = write(folder, sampler, out, form, identity(source))
    typer.echo(
        f"{out}: {written.size / 2**20:.2f} MiB, {sampler.nfe} network evaluations per image. Of {IMAGES} images from "
        f"the same noises no pixel differs from the student's own by more than {written.difference:.1e}."
    )


def ui(
    spec: Annotated[str, typer.Argument(help="The spec whose comparison to open.")],
    port: Annotated[int, typer.Option(min=1, max=65535)] = 5000,
) -> None:
    """Serve MLflow on 127.0.0.1 and print the links of the comparison."""
    from sfddm.spec.read import load_spec
    from sfddm.tracking.ui import serve

    serve(load_spec(spec), port)


def student_folder(source: str) -> Path:
    """The folder of the student that a run, a folder or a registered version is the name of.

    Raises:
        UserError: there is none, with the nearest name; or it can't be there, as DVC doesn't know of it.
    """
    from sfddm.pipeline.params import require_current
    from sfddm.pipeline.paths import Paths
    from sfddm.pipeline.rows import find_run

    if source.startswith("models:/"):
        from sfddm.tracking.versions import download

        return download(source).student
    if Path(source).is_dir():
        return Path(source)
    spec, run = find_run(source)
    folder = Paths(spec.name).student(run.student, run.seed)
    if not folder.is_dir():
        require_current()
        raise UserError(f"{source} has not been made: run `sfddm run {spec.name}`.")
    return folder


def identity(source: str) -> dict[str, str]:
    """A student's name, and the content key that model versions have too, if it is registered or evaluated."""
    from sfddm.pipeline.rows import find_run, has_results, load_row
    from sfddm.tracking.versions import content_key

    if source.startswith("models:/"):
        return {"source": source, "content_key": content_key(source)}
    if Path(source).is_dir():
        return {"source": Path(source).name}
    spec, run = find_run(source)
    return {"source": source, **({"content_key": load_row(spec, run).content_key} if has_results(spec, run) else {})}


def asked_sampler(folder: Path, levels: str | None, steps: int | None, spacing: Spacing | None) -> "Sampler":
    """The sampler of the student in `folder`, on the index set that the options ask for.

    Raises:
        UserError: options that exclude each other, levels that are not numbers, or no index set for this student.
    """
    from sfddm.networks.contract import on_index_set, read_contract
    from sfddm.networks.layout import read_sampler

    asked, sampler = _asked(levels, steps, spacing), read_sampler(folder)
    return sampler if asked is None else on_index_set(sampler, read_contract(folder), asked)


def _asked(levels: str | None, steps: int | None, spacing: Spacing | None) -> "IndexSet | int | None":
    """The index set that the options ask for, or the number of its steps; None is the student's own."""
    from sfddm.spec.index_set import Explicit

    if levels is not None and steps is not None:
        raise UserError("--levels and --steps exclude each other: give one of them.")
    if spacing is not None and steps is None:
        raise UserError(f"--spacing {spacing} says how --steps are spaced: give their number too.")
    if levels is not None:
        if not re.fullmatch(r"[0-9]{1,9}(,[0-9]{1,9})*", levels):
            raise UserError(f"--levels {levels}: expected noise levels as in 256,512,768,1024.")
        return Explicit(kind="explicit", levels=tuple(map(int, levels.split(","))), search=0)
    return steps if steps is None or spacing is None else spaced(spacing, steps)


def spaced(spacing: Spacing, steps: int) -> "IndexSet":
    """The index set of so many steps."""
    from sfddm.spec.index_set import Quadratic, Uniform, UniformAngle, UniformLogSNR

    match spacing:
        case "uniform":
            return Uniform(kind=spacing, steps=steps)
        case "quadratic":
            return Quadratic(kind=spacing, steps=steps)
        case "uniform-log-snr":
            return UniformLogSNR(kind=spacing, steps=steps)
        case "uniform-angle":
            return UniformAngle(kind=spacing, steps=steps)
