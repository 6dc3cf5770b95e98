"""`sfddm index-set`: the noise levels where students stop, shown and searched for."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sfddm.cli.models import Spacing, spaced
from sfddm.diffusion.solvers import Teaching
from sfddm.errors import SpecError, UserError

if TYPE_CHECKING:
    from torch import Tensor

    from sfddm.diffusion.search import Walk
    from sfddm.networks.denoiser import Denoiser
    from sfddm.spec.experiment import Spec

app = typer.Typer(no_args_is_help=True)
SpecName = Annotated[str, typer.Argument(help="Name in specs/.")]
GRID = 64
"""Levels that a search chooses from, where the teacher has as many."""
LINE = 6
"""Levels on a line of the table."""


@app.command()
def show(
    spec: SpecName,
    student: Annotated[str | None, typer.Argument(help="One student; all of the spec's when left out.")] = None,
) -> None:
    """Print each student's levels with their angles and log-SNR."""
    from sfddm.spec.parse import nearest
    from sfddm.spec.read import load_spec

    experiment = load_spec(spec)
    if student and student not in experiment.students:
        raise SpecError(f"{spec} has no student {student!r}{nearest(student, experiment.students)}")
    sets = {name: experiment.levels(name) for name in ([student] if student else experiment.students)}
    Console().print(_levels_table(experiment, sets))


@app.command()
def search(
    spec: SpecName,
    steps: Annotated[int, typer.Argument(min=1, help="T', how many levels to find.")],
    grid: Annotated[
        int | None, typer.Option(min=1, help=f"Levels to choose from, evenly in angle ({GRID}, or T if fewer).")
    ] = None,
    noises: Annotated[int, typer.Option(min=1, max=100_000, help="Trajectories of the teacher to search on.")] = 256,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Seed of their noises.")] = 0,
    solver: Annotated[Teaching, typer.Option(help="The teacher's sampler over the grid.")] = "dpm-solver",
) -> None:
    """Find the levels on which DDIM comes nearest to the teacher's own images, and print them as lines of a spec."""
    from sfddm.pipeline.paths import Paths
    from sfddm.spec.read import load_spec, spec_path

    experiment = load_spec(spec)
    if experiment.teacher.classes:
        raise UserError(f"the teacher of {spec} is told classes, and index sets are searched only for others.")
    levels, clip = _grid(experiment, grid, steps), experiment.evaluation.reference.clip_sample
    folder = Paths(experiment.name).teacher
    if not folder.is_dir():
        raise UserError(f"{folder} is missing: train the teacher first with `dvc repro teacher@{experiment.name}`.")

    from sfddm.diffusion.search import Counting, take_walk
    from sfddm.diffusion.search import search as find

    teacher = _teacher(experiment, folder)
    with Console(stderr=True).status(f"searching {steps} of {len(levels)} levels on {noises} noises"):
        counting = Counting(teacher)
        seen, unseen = (_noise(teacher, seed, indices) for indices in (range(noises), range(noises, 2 * noises)))
        found = find(counting, take_walk(counting, seen, levels, solver, clip), steps)
        fresh = take_walk(teacher, unseen, levels, solver, clip)
        table = _errors_table(experiment, teacher, fresh, found)
    Console().print(table)
    options = f"--grid {len(levels)} --noises {noises} --seed {seed} --solver {solver}"
    typer.echo(
        f"Put these lines in place of a student's index_set in {spec_path(spec)}, "
        f"then run `sfddm run {experiment.name}`:\n\n"
        f"    # Found by: sfddm index-set search {spec} {steps} {options}\n"
        f"    index_set: {{kind: explicit, levels: {list(found)}, search: {counting.images}}}"
    )


def _grid(spec: "Spec", count: int | None, steps: int) -> tuple[int, ...]:
    from sfddm.diffusion.spacing import make_grid

    timesteps = spec.teacher.timesteps
    if count is not None and count > timesteps:
        raise UserError(f"--grid {count}: the teacher has {timesteps} levels, so give at most that many.")
    levels = make_grid(count or min(GRID, timesteps), spec.teacher.noise_schedule, timesteps)
    if steps > len(levels):
        raise UserError(
            f"{steps} steps can't be chosen from a grid of {len(levels)} levels: fewer, or a larger --grid."
        )
    return levels


def _teacher(spec: "Spec", folder: Path) -> "Denoiser":
    from sfddm.networks import storage
    from sfddm.runtime.machine import device

    teacher = storage.load(folder, device())
    contract, described = teacher.contract, spec.teacher
    if (contract.timesteps, contract.noise_schedule) != (described.timesteps, described.noise_schedule):
        raise UserError(f"{folder} has another noise schedule than the spec: run `dvc repro teacher@{spec.name}`.")
    return teacher


def _noise(teacher: "Denoiser", seed: int, indices: range) -> "Tensor":
    import torch

    from sfddm.randomness import Purpose, normals

    return torch.from_numpy(normals(seed, Purpose.SEARCH_NOISE, indices, teacher.image_shape)).to(teacher.device)


def _errors_table(spec: "Spec", teacher: "Denoiser", fresh: "Walk", found: tuple[int, ...]) -> Table:
    """The set found next to the fixed spacings, on noises that the search has not seen."""
    from sfddm.diffusion.search import mean_squared_error
    from sfddm.diffusion.spacing import IndexSetError

    steps = len(found)
    table = Table(title=f"{spec.name}: DDIM on {steps} levels", caption_justify="left")
    table.caption = (
        f"mse: of its images to the teacher's own, {fresh.states.shape[1]} noises that the search did not use"
    )
    for column in ("spacing", "mse", "levels"):
        table.add_column(column, justify="right" if column == "mse" else "left")
    for spacing in get_args(Spacing):
        try:
            levels = spec.levels_of(spaced(spacing, steps))
        except IndexSetError:
            table.add_row(spacing, "", "more steps than it has room for")
        else:
            error = mean_squared_error(teacher, fresh, levels)
            table.add_row(spacing, f"{error:.5f}", " ".join(map(str, levels)))
    table.add_row("found", f"{mean_squared_error(teacher, fresh, found):.5f}", " ".join(map(str, found)), style="bold")
    return table


def _levels_table(spec: "Spec", sets: dict[str, tuple[int, ...]]) -> Table:
    from sfddm.diffusion.levels import angles, log_snr

    teacher = spec.teacher
    degrees = angles(teacher.noise_schedule, teacher.timesteps) * 180 / math.pi
    ratios = log_snr(teacher.noise_schedule, teacher.timesteps)
    title = f"{spec.name}: {teacher.noise_schedule} schedule, T = {teacher.timesteps}"
    table = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), caption_justify="left")
    table.caption = "angle: atan2(sigma, alpha) in degrees, 0 for the image. log-SNR: log(alpha^2 / sigma^2)."
    for column in ("student", "T'", "", ""):
        table.add_column(column, justify="right" if column == "T'" else "left", no_wrap=column != "student")
    for name, levels in sets.items():
        for start in range(0, len(levels), LINE):
            part = levels[start : start + LINE]
            first = (escape(name), str(len(levels))) if start == 0 else ("", "")
            table.add_row(*first, "level", "".join(f"{level:>7}" for level in part))
            table.add_row("", "", "angle", "".join(f"{degrees[level]:>7.2f}" for level in part))
            table.add_row("", "", "log-SNR", "".join(f"{ratios[level - 1]:>7.2f}" for level in part))
        table.add_section()
    return table
