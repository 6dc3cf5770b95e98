"""`sfddm judge`: images of another tool in the view of a spec's scorers."""

from pathlib import Path
from typing import Annotated

import typer

from sfddm.errors import UserError

COLUMNS = ("scorer", "distance", "ratio", "above teacher's", "KID", "precision", "recall")
LEGEND = (
    "distance: Frechet, less the bias of few images; below 0, images are not told from real ones. ratio: to the "
    "teacher's distance, – where that is within its error of 0. above teacher's: with the 95 % interval. More: "
    "docs/evaluation.md."
)


def judge(
    images: Annotated[Path, typer.Argument(help="A folder of images, or an .npz with `images` or `arr_0`.")],
    spec: Annotated[str, typer.Option("--by", help="The spec whose scorers judge; these have to be made already.")],
    out: Annotated[Path | None, typer.Option(help="Write all figures there: a name that ends in .json.")] = None,
) -> None:
    """Judge images, whatever made them, by a spec's scorers, beside its teacher's images."""
    from sfddm.pipeline.paths import Paths
    from sfddm.spec.read import load_spec

    if out is not None and out.suffix != ".json":
        raise UserError(f"--out {out}: expected a name that ends in .json.")
    experiment = load_spec(spec)
    paths = Paths(experiment.name)
    needed = {f"reference@{spec}": paths.reference}
    needed |= {f"scorer@{spec}-{name}": paths.scorer(name) for name in experiment.evaluation.scorers}
    if missing := [stage for stage, folder in needed.items() if not folder.is_dir()]:
        raise UserError(f"{spec}'s scorers or its teacher's images are not made: `dvc repro {' '.join(missing)}`.")
    if not images.exists():
        raise UserError(f"{images} is not there: expected a folder of images or an .npz.")

    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from sfddm.evaluation import judged
    from sfddm.evaluation.metrics import SCORERS
    from sfddm.evaluation.reference import read_reference
    from sfddm.evaluation.scorer import load_scorer
    from sfddm.evaluation.statistics import measured, paired_difference, relative
    from sfddm.report.table import cautions
    from sfddm.report.text import warn
    from sfddm.runtime.files import write_json
    from sfddm.runtime.machine import device, scratch

    read = judged.read_images(images, experiment.data.shape)
    panel = {name: load_scorer(paths.scorer(name), device()) for name in experiment.evaluation.scorers}
    found = judged.judge(read, read_reference(paths.reference), panel, str(images), scratch() / "views")
    typer.echo(f"{images}: {found['samples']} images, by {spec}")
    warn(cautions(found), Console())
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == "scorer" else "right", no_wrap=True)
    for name, said in found[SCORERS].items():
        own, teachers = (measured(found, key, name) for key in ("frechet_distance", "teacher_frechet_distance"))
        assert own is not None and teachers is not None
        above, ratio = paired_difference([own], [teachers]), relative(own.whole, teachers)
        table.add_row(
            name,
            f"{own.whole:.3f}",
            "–" if ratio is None else f"{ratio:.2f}",
            f"{above.estimate:+.3f} ± {above.half_width:.3f}",
            f"{said['kernel_distance']:.4f}",
            f"{said['precision']:.3f}",
            f"{said['recall']:.3f}",
        )
        table.add_row("  teacher", f"{teachers.whole:.3f}", "" if ratio is None else "1.00", style="dim")
    Console().print(table)
    Console().print(LEGEND, style="dim", markup=False, highlight=False)
    if out is not None:
        write_json(out, found)
