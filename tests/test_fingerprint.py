"""Fingerprints of code: what changes them, and what does not."""

import ast
import shutil
from contextlib import chdir
from pathlib import Path

import pytest

from sfddm.errors import UserError
from sfddm.pipeline.params import KINDS, STAGES, expand_code, fingerprints, require_current_code
from sfddm.runtime.kinds import PACKAGES
from tests.project import ROOT

DECIDES_NOTHING = {
    "checks", "experiment", "fields", "limits", "read", "schema", "stored", "structure",
}  # fmt: skip
"""Modules of sfddm/spec with functions: they find, read, check and describe specs, and name their parts."""


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The code in a folder of its own, which is the working directory."""
    for package in ("sfddm", "stages"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def changed(copy: Path, path: str, old: str, new: str) -> set[str]:
    """The sections of code.yaml that change when text of a file does."""
    text = (copy / path).read_text()
    assert old in text
    (copy / path).write_text(text.replace(old, new, 1))
    before, after = sections(ROOT), sections(copy)
    return {name for name in before if before[name] != after[name]}


def sections(root: Path) -> dict[str, str]:
    """The fingerprints of the code in a folder: one for each stage, or for each of its kinds."""
    with chdir(root):
        found = {stage: fingerprints(stage) for stage in STAGES}
    kinds = {f"{stage}.{kind}": text for stage, of in found.items() if stage in KINDS for kind, text in of.items()}
    return kinds | {stage: text for stage, text in found.items() if stage not in KINDS}


def test_code_yaml_is_current() -> None:
    assert (ROOT / "code.yaml").read_text() == expand_code(), "run `sfddm spec sync`"


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("sfddm/diffusion/solvers.py", '"""D(x_s, x0)', '"""The step D(x_s, x0)'),
        ("sfddm/diffusion/solvers.py", "    moved = ddim_step", "    # why\n    moved = ddim_step"),
        ("sfddm/diffusion/solvers.py", "def ddim_step(x: Tensor,", "def ddim_step(x: 'Tensor',"),
        ("sfddm/training/curve.py", '"a point without a step"', '"no step"'),
        ("sfddm/spec/experiment.py", 'f"{self.name} has no student', 'f"{self.name} lacks a student'),
        ("sfddm/data/store.py", "\n\ndef whole(", "\n\ndef nobody_calls_this() -> int:\n    return 1\n\n\ndef whole("),
    ],
    ids=["docstring", "comment", "annotation", "error", "spec", "unused"],
)
def test_what_decides_no_number_changes_no_fingerprint(copy: Path, path: str, old: str, new: str) -> None:
    assert changed(copy, path, old, new) == set()


def test_a_changed_rounding_of_shares_changes_what_mixes_sources_and_nothing_else(copy: Path) -> None:
    found = changed(copy, "sfddm/methods/costs.py", "round(batch_size * source.share", "int(batch_size * source.share")
    trained = {"sfddm", "any-step", "progressive", "consistency", "tract"}
    assert found == {f"distill.{kind}" for kind in trained}


def test_a_kind_depends_on_its_own_module_alone(copy: Path) -> None:
    assert changed(copy, "sfddm/methods/tract.py", "distilled(job, ", "distilled(job, *() or ") == {"distill.tract"}


def test_a_definition_counts_wherever_it_is_written(copy: Path) -> None:
    """A function that moves to another module, under the same name, decides the same."""
    path = copy / "sfddm/methods/terms.py"
    text = path.read_text()
    start = text.index("def v_weight(")
    end = text.index("def _per_image(")
    head = "import torch\nfrom torch import Tensor\nfrom sfddm.spec.students import Weighting\nMIN_SNR = 5.0\n"
    (copy / "sfddm/methods/weights.py").write_text(head + text[start:end])
    moved = (text[:start] + text[end:]).replace("MIN_SNR = 5.0\n", "")
    path.write_text(moved.replace("import torch\n", "import torch\nfrom sfddm.methods.weights import v_weight\n", 1))
    assert sections(copy) == sections(ROOT)


def test_a_constant_inside_a_function_counts_for_the_stages_that_call_it(copy: Path) -> None:
    assert changed(copy, "sfddm/evaluation/similarity.py", "/ 3.5", "/ 3.6") == {"evaluate"}


def test_a_stale_file_stops_a_stage_before_it_works(copy: Path) -> None:
    (copy / "code.yaml").write_text(expand_code().replace("reference: ", "reference: 1"))
    require_current_code("scorer")
    with pytest.raises(UserError, match=r"code\.yaml does not describe .*stages/reference\.py.* `sfddm spec sync`"):
        require_current_code("reference")


def test_functions_of_the_spec_package_are_few_and_known() -> None:
    """Spec classes are no part of any fingerprint, so no function of theirs may decide a number."""
    found = {}
    for path in (ROOT / "sfddm/spec").glob("*.py"):
        functions = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]
        found[path.stem] = {function.name for function in functions}
    shapes, labelled = {"shape"}, {"labelled"}  # of what the data stage stores; the checks need them before
    assert found.pop("data") == shapes | labelled
    assert found.pop("methods") == {"any_steps"}
    assert {name for name, functions in found.items() if functions} <= DECIDES_NOTHING


def test_packages_with_a_module_for_each_kind_are_those_of_the_stages() -> None:
    assert set(PACKAGES) == set(KINDS)
