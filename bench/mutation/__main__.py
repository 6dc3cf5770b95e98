"""How many small faults the fast tests notice: `python -m bench.mutation`, with `--count`, `--seed`, `--jobs`, `--out`.

Needs the extra `dev`. Takes more than half an hour on two cores; a second start goes on where the first one ended, as
long as neither the code nor a test was changed.
"""

import argparse
from pathlib import Path

from bench.mutation.mutants import Module
from bench.mutation.reach import Reach
from bench.mutation.report import markdown, score
from bench.mutation.run import Run, Sample
from bench.mutation.setup import Setup
from sfddm.pipeline.git import head, uncommitted
from sfddm.runtime.files import write_text
from sfddm.runtime.machine import scratch

SETUP = Setup(
    root=Path(__file__).parents[2],
    package="sfddm",
    targets=(
        "sfddm/randomness.py",
        "sfddm/diffusion/*.py",
        "sfddm/images.py",
        "sfddm/networks/denoiser.py",
        "sfddm/networks/generation.py",
        "sfddm/networks/size.py",
        "sfddm/networks/student.py",
        "sfddm/training/*.py",
        "sfddm/methods/**/*.py",
        "sfddm/evaluation/**/*.py",
        "sfddm/registry/gates.py",
        "sfddm/registry/verdict.py",
    ),
    tests=("tests/**/test_*.py",),
    marker="not process and not prove",
    inputs=("sfddm", "stages", "specs", "tests"),
    warm=(
        "attrs", "cattrs", "coverage", "diffusers.models.unets.unet_2d", "hypothesis", "matplotlib.pyplot", "pytest",
        "rich.progress", "ruamel.yaml", "safetensors.torch", "scipy.linalg", "scipy.special", "sklearn.datasets",
        "torch", "torch._dynamo", "torchmetrics.image", "torchvision", "typer",
    ),
)  # fmt: skip


def main() -> None:
    """Run what is missing, and write what was found."""
    parser = argparse.ArgumentParser(prog="python -m bench.mutation", description=str(__doc__))
    parser.add_argument("--count", type=int, default=400, help="how many mutants")
    parser.add_argument("--seed", type=int, default=0, help="decides which")
    parser.add_argument("--jobs", type=int, default=2, help="how many are run at a time")
    parser.add_argument("--out", type=Path, default=Path("reports/mutation.md"), help="where the Markdown goes")
    given = parser.parse_args()
    run = Run(setup=SETUP, folder=scratch() / "mutation" / SETUP.digest(), jobs=given.jobs)
    modules = [Module(SETUP.root, path) for path in SETUP.modules()]
    texts = {module.path: module.text for module in modules}
    reach = run.reach()
    sample = run.sample(modules, given.count, given.seed)
    verdicts = run.verdicts(sample.mutants, reach, texts)
    write_text(given.out, markdown(verdicts, texts, introduction(modules, reach, sample, given.seed)))
    print(f"{score(verdicts):.0%} of {len(verdicts)} mutants were noticed: {given.out}")


def introduction(modules: list[Module], reach: Reach, sample: Sample, seed: int) -> str:
    """What was run on what."""
    commit = f"{(head() or 'none')[:10]}{' with changes' if uncommitted(SETUP.inputs) else ''}"
    return (
        f"# {len(sample.mutants)} mutants of commit {commit}\n\n"
        f"Drawn with seed {seed} from {sum(map(len, modules))} changes of {len(modules)} modules; mypy refused "
        f"{sample.refused} others. {len(reach.seconds)} tests, which take {sum(reach.seconds.values()):.0f} seconds of "
        f"processor time; {len(reach.left_out)} were left out because they start a process, fail or are skipped."
    )


if __name__ == "__main__":
    main()
