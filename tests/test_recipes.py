"""Recipes of docs/architecture.md (solver, term, method, metric, data set), followed in a copy of the code, and run."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.project import ROOT

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code in a folder of its own, with one of each kind added as the recipes say."""
    folder = tmp_path_factory.mktemp("recipes")
    for name in ("sfddm", "stages", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for recipe in (add_solver, add_term, add_method, add_metric, add_data_set):
        recipe(folder)
    return folder


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1, f"{path.name}: {old}"
    path.write_text(text.replace(old, new))


def add_solver(folder: Path) -> None:
    """Heun's method (Karras et al. 2022, algorithm 1): two evaluations per step."""
    solvers, steps = folder / "sfddm/diffusion/solvers.py", folder / "sfddm/diffusion/steps.py"
    edit(solvers, 'Free = Literal["ddim",', 'Free = Literal["heun", "ddim",')
    edit(solvers, 'Solver = Literal["ddim",', 'Solver = Literal["heun", "ddim",')
    edit(solvers, '    "ddim": Traits(),\n', '    "ddim": Traits(),\n    "heun": Traits(evaluations=2),\n')
    edit(
        steps,
        "STEPS: dict",
        "def heun_step(step: Step) -> Tensor:\n"
        "    landed = ddim_step(step.x, step.x0, step.at_s, step.at_r)\n"
        "    return ddim_step(step.x, (step.x0 + step.predict(landed)) / 2, step.at_s, step.at_r)\n\n\n"
        "STEPS: dict",
    )
    edit(steps, '    "ddim": lambda', '    "heun": heun_step,\n    "ddim": lambda')


def add_term(folder: Path) -> None:
    """A term that keeps outputs small."""
    parts = folder / "sfddm/spec/parts.py"
    edit(
        parts,
        "Term = OutputTerm |",
        "@frozen(kw_only=True)\nclass SizeTerm(TermBase):\n"
        '    """The mean square of the output."""\n\n'
        '    kind: Literal["size"]\n    weight: Positive\n\n\n'
        "Term = SizeTerm | OutputTerm |",
    )
    (folder / "sfddm/methods/terms/size.py").write_text(
        '"""The mean square of the student\'s output."""\n\n'
        "def loss(term, at):\n    return at.own.output.float().square().mean()\n"
    )


def add_method(folder: Path) -> None:
    """The teacher's weights, halved."""
    edit(
        folder / "sfddm/spec/students.py",
        "Method = Free |",
        "@frozen(kw_only=True)\nclass Halved(MethodBase):\n"
        '    """The teacher with half of its weights."""\n\n'
        '    kind: Literal["halved"]\n    training: Training\n\n\n'
        "Method = Halved | Free |",
    )
    (folder / "sfddm/methods/halved.py").write_text(
        '"""The teacher\'s weights, halved."""\n\nimport torch\n\n'
        "from sfddm.methods.train import distilled\nfrom sfddm.spec.students import Halved\n"
        "from sfddm.training.loop import Fitted\n\n\n"
        "def distill(job):\n    return distilled(job, make, Halved)\n\n\n"
        "@torch.no_grad()\ndef make(task):\n"
        "    for weights in task.teacher.parameters():\n        weights.mul_(0.5)\n"
        "    return Fitted(network=task.teacher, others={})\n"
    )


def add_metric(folder: Path) -> None:
    """The mean absolute error to the teacher's images."""
    similarity, metrics = folder / "sfddm/evaluation/similarity.py", folder / "sfddm/evaluation/metrics.py"
    edit(
        similarity,
        "def structural_similarity(",
        "def absolute_error(a: Tensor, b: Tensor) -> Tensor:\n"
        "    return (a - b).double().abs().flatten(1).mean(1)\n\n\n"
        "def structural_similarity(",
    )
    edit(similarity, 'measures = {"mse', 'measures = {"mae_to_teacher": absolute_error, "mse')
    edit(metrics, '        "agreement",\n', '        "agreement",\n        "mae_to_teacher",\n')
    edit(
        metrics,
        '    Metric(\n        key="psnr"',
        '    Metric(key="mae_to_teacher", group=TEACHER, heading="MAE", form="{:.3f}"),\n'
        '    Metric(\n        key="psnr"',
    )


def add_data_set(folder: Path) -> None:
    """Checkerboards."""
    edit(
        folder / "sfddm/spec/data.py",
        "Data = Digits |",
        "@frozen(kw_only=True)\nclass Boards:\n"
        '    """Checkerboards."""\n\n'
        '    kind: Literal["boards"]\n    images: Count\n\n'
        "    labelled: ClassVar[bool] = False\n\n"
        "    @property\n    def shape(self) -> tuple[int, int, int]:\n        return 1, 8, 8\n\n\n"
        "Data = Boards | Digits |",
    )
    (folder / "sfddm/data/sets/boards.py").write_text(
        '"""Checkerboards."""\n\nimport numpy as np\n\nfrom sfddm.data.store import Block, Stream\n\n\n'
        "def load(data):\n"
        "    board = (np.indices((8, 8)).sum(0) % 2 * 255).astype(np.uint8)\n"
        "    return (Stream(data.images, [Block(np.stack([board[None]] * data.images), None)]),)\n"
    )


def run(copy: Path, script: str) -> None:
    """Run a script with the copy's code; its last word has to be `well`."""
    done = subprocess.run([sys.executable, "-c", SCRIPT + script], cwd=copy, capture_output=True, text=True)
    assert done.stdout.strip().endswith("well"), done.stderr


SCRIPT = """
import json
from pathlib import Path
import numpy as np
import torch
from attrs import evolve
from sfddm.data import store
from sfddm.data.prepare import prepare
from sfddm.methods.job import distill
from sfddm.spec.data import Data
from sfddm.spec.parse import structure, unstructure
from sfddm.spec.read import parse_spec
from sfddm.spec.students import Method
from tests.parts import TINY, draw, job, untrained_teacher


def made_of(name, method):
    folder = Path(name)
    folder.mkdir()
    described = job(folder)
    return distill(evolve(described, student=evolve(described.student, method=structure(method, Method))))


training = unstructure(parse_spec(TINY, "tiny").students["ours-t4"].method.training) | {"iterations": 3, "warmup": 0}
"""


def test_a_solver_of_two_evaluations_per_step(copy: Path) -> None:
    run(copy, """
sampler = made_of("solver", {"kind": "free", "solver": "heun"}).sampler
teacher, calls = untrained_teacher(), []
teacher.register_forward_hook(lambda *_: calls.append(1))
images = draw(teacher, sampler, 0, range(2))
assert sampler.nfe == len(calls) == 7 and bool(images.isfinite().all())
print("well")
""")  # fmt: skip


def test_a_term_beside_others(copy: Path) -> None:
    run(copy, """
method = unstructure(parse_spec(TINY, "tiny").students["ours-t4"].method)
method |= {"terms": [*method["terms"], {"kind": "size", "weight": 0.5}], "training": training}
made = made_of("term", method)
points = [json.loads(line) for line in made.curve.read_text().splitlines()]
for point in points:
    assert abs(point["loss"] - point["hidden"] - 0.3 * point["feature"] - 0.5 * point["size"]) < 1e-5 < point["size"]
print("well")
""")  # fmt: skip


def test_a_method_in_a_spec(copy: Path) -> None:
    run(copy, """
text = TINY.replace("  ours-t4:", "  halved:\\n    index_set: {kind: uniform, steps: 2}\\n    clip_sample: true\\n"
                    "    method: {kind: halved, training: *training}\\n    seeds: [0]\\n  ours-t4:")
student = parse_spec(text, "tiny").students["halved"]
made = made_of("method", unstructure(student.method))
(Path("method") / "student").mkdir()
made.write(Path("method") / "student")
assert made.cost["total"] == 0 and made.sampler.solver == "ddim"
print("well")
""")  # fmt: skip


def test_a_metric_in_figures_and_table(copy: Path) -> None:
    run(copy, """
from sfddm.evaluation.metrics import JACKKNIFE, figures
from sfddm.evaluation.similarity import pixel_similarities
from sfddm.report.columns import columns_of
from sfddm.report.table import make_table
from tests.rows import OURS, seeds, spec_of

dark = np.zeros((20, 1, 8, 8), np.uint8)
found = pixel_similarities(dark + np.uint8(51), dark)
assert abs(found["mae_to_teacher"] - 0.4) < 1e-6 and found[JACKKNIFE["mae_to_teacher"]]["images"]
(value,) = [each.value for each in figures(found | {"panel": []}, {}) if each.name == "mae_to_teacher"]
assert value == found["mae_to_teacher"]
table = make_table(spec_of({"ours": OURS}), seeds("ours", 0.5, mae_to_teacher=value))
(column,) = [column for column in columns_of(table) if column.name == "MAE"]
assert column.text(table.entries[0]) == "0.400"
print("well")
""")  # fmt: skip


def test_a_data_set_in_a_spec(copy: Path) -> None:
    run(copy, """
data = structure({"kind": "boards", "images": 12}, Data)
Path("data").mkdir()
prepare(data, Path("data"))
images = store.read(Path("data"), "train").images
assert images.shape == (12, 1, 8, 8) and images[3, 0, 0].tolist() == [0, 255] * 4
print("well")
""")  # fmt: skip
