"""`sfddm sweep`: DVC's queue of experiments over values of a spec's fields."""

import subprocess
import sys
from typing import Annotated

import typer

from sfddm.errors import UserError


def sweep(
    spec: Annotated[str, typer.Argument(help="Name in specs/.")],
    fields: Annotated[
        list[str], typer.Argument(help="PATH=VALUE,VALUE as in students.ours-t4.method.training.iterations=675,1350.")
    ],
) -> None:
    """Queue an experiment of DVC for each combination of values, with everything of the spec up to MLflow."""
    from sfddm.pipeline.git import uncommitted
    from sfddm.pipeline.params import sync
    from sfddm.runtime.files import write_text
    from sfddm.spec.override import override, settings
    from sfddm.spec.read import load_spec, parse_spec, spec_path

    experiment, path, combinations = load_spec(spec), spec_path(spec), settings(fields)
    if changed := uncommitted([str(path), "params.yaml", "code.yaml"]):
        raise UserError(f"{', '.join(changed)}: not committed, and experiments start from a commit: "
                        f"`git add --all && git commit`.")  # fmt: skip
    text = path.read_text(encoding="utf-8")
    queued = {}
    for combination in combinations:
        changed_text = override(text, combination, str(path))
        if parse_spec(changed_text, f"{path} with {_shown(combination)}").name != experiment.name:
            raise UserError("a sweep can't change the name of a spec.")
        queued[_shown(combination)] = changed_text
    try:
        for shown, changed_text in queued.items():
            write_text(path, changed_text)
            sync()
            typer.echo(shown)
            _queue(f"track@{experiment.name}")
    finally:
        write_text(path, text)
        sync()
    typer.echo(
        f"{len(queued)} experiments are queued. Next:\n"
        f"  dvc queue start -j 1       make them, one after another; `dvc queue status` says how far they are\n"
        f"  sfddm ui {experiment.name}  then has a link to all of them, `sweeps`"
    )


def _shown(combination: dict[str, object]) -> str:
    return " ".join(f"{path}={value}" for path, value in combination.items())


def _queue(stage: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "exp", "run", "--queue", stage], capture_output=True, text=True, check=False
    )
    if done.returncode:
        reason = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise UserError(f"DVC queued nothing: {reason[-1] if reason else 'it gave no reason'}")
