"""Fingerprints of code: what changes them, and what does not."""

import shutil
from contextlib import chdir
from pathlib import Path

import pytest

from sfddm.errors import UserError
from sfddm.pipeline.params import active, code, expand_code, require_current_code
from tests.project import ROOT

SECTIONS = (
    "data.digits", "data.folder", "scorer.classifier", "scorer.pixels", "scorer.torchvision", "teacher", "reference",
    "distill.free", "distill.resampled",
    "distill.sfddm+feature+hidden", "distill.sfddm+output", "distill.any-step+hidden", "distill.progressive",
    "distill.consistency", "distill.tract", "evaluate.classifier+pixels", "evaluate.pixels+torchvision", "track",
    "report",
)  # fmt: skip
"""Sections of code.yaml, each method and some combinations of terms among them."""


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
    """The fingerprints of the code in a folder."""
    with chdir(root):
        return {section: code(section) for section in SECTIONS}


def test_code_yaml_is_current() -> None:
    assert (ROOT / "code.yaml").read_text() == expand_code(active()[0]), "run `sfddm spec sync`"


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("sfddm/diffusion/steps.py", '"""D(x_s, x0)', '"""The step D(x_s, x0)'),
        ("sfddm/diffusion/steps.py", "    moved = ddim_step", "    # why\n    moved = ddim_step"),
        ("sfddm/diffusion/steps.py", "def ddim_step(x: Tensor,", "def ddim_step(x: 'Tensor',"),
        ("sfddm/data/store.py", "the {split} split has no images", "there are no images in {split}"),
        ("sfddm/spec/experiment.py", 'f"{self.name} has no student', 'f"{self.name} lacks a student'),
        ("sfddm/data/store.py", "\n\ndef whole(", "\n\ndef nobody_calls_this() -> int:\n    return 1\n\n\ndef whole("),
    ],
    ids=["docstring", "comment", "annotation", "error", "spec", "unused"],
)
def test_what_decides_no_number_changes_no_fingerprint(copy: Path, path: str, old: str, new: str) -> None:
    assert changed(copy, path, old, new) == set()


def test_a_changed_rounding_of_shares_changes_what_mixes_sources_and_nothing_else(copy: Path) -> None:
    found = changed(copy, "sfddm/spec/parts.py", "round(batch_size * source.share", "int(batch_size * source.share")
    assert found == {"distill.sfddm+feature+hidden", "distill.sfddm+output"}


def test_a_method_depends_on_its_own_module_alone(copy: Path) -> None:
    assert changed(copy, "sfddm/methods/tract.py", "make, TRACT", "make, *(TRACT,)") == {"distill.tract"}


def test_a_method_depends_on_the_terms_of_its_loss_alone(copy: Path) -> None:
    found = changed(copy, "sfddm/methods/terms/output.py", "distance.mean()", "distance.sum()")
    assert found == {"distill.sfddm+output"}


def test_what_a_method_costs_is_part_of_what_it_stores(copy: Path) -> None:
    old, new = "training = self.training.images * TRAINED * share + scoring_cost(", "training = 1 + scoring_cost("
    found = changed(copy, "sfddm/spec/students.py", old, new)
    assert found == {"distill.any-step+hidden"}


def test_a_new_method_and_a_new_term_change_nothing_of_the_others(copy: Path) -> None:
    path = copy / "sfddm/spec/students.py"
    text = path.read_text()
    new = text.replace(
        "Method = Free", "@frozen(kw_only=True)\nclass New:\n    kind: Literal['new']\n\n\nMethod = New | Free"
    )
    path.write_text(new)
    parts = copy / "sfddm/spec/parts.py"
    parts.write_text(
        parts.read_text().replace("Term = OutputTerm", "class NewTerm:\n    kind: str\n\n\nTerm = NewTerm | OutputTerm")
    )
    assert sections(copy) == sections(ROOT)


def test_a_definition_counts_wherever_it_is_written(copy: Path) -> None:
    """A function that moves to another module, under the same name, decides the same."""
    path = copy / "sfddm/methods/terms/hidden.py"
    text = path.read_text()
    start, end = text.index("def v_weight("), text.index("def _per_image(")
    head = "from torch import Tensor\nfrom sfddm.spec.parts import Weighting\nMIN_SNR = 5.0\n"
    (copy / "sfddm/methods/weights.py").write_text("import torch\n" + head + text[start:end])
    moved = (text[:start] + text[end:]).replace("MIN_SNR = 5.0\n", "")
    path.write_text(moved.replace("import torch\n", "import torch\nfrom sfddm.methods.weights import v_weight\n", 1))
    assert sections(copy) == sections(ROOT)


def test_a_constant_inside_a_function_counts_for_the_stages_that_call_it(copy: Path) -> None:
    assert changed(copy, "sfddm/evaluation/similarity.py", "/ 3.5", "/ 3.6") == {
        "evaluate.classifier+pixels", "evaluate.pixels+torchvision"
    }  # fmt: skip


def test_a_stale_file_stops_a_stage_before_it_works(copy: Path) -> None:
    shutil.copytree(ROOT / "specs", copy / "specs")
    (copy / "code.yaml").write_text(expand_code(active()[0]).replace('reference: "', 'reference: "0'))
    require_current_code("scorer.classifier")
    with pytest.raises(UserError, match=r"code\.yaml does not describe the code of reference .* `sfddm spec sync`"):
        require_current_code("reference")


def test_words_of_a_metric_evaluate_no_student_again(copy: Path) -> None:
    found = changed(copy, "sfddm/evaluation/metrics.py", "KID: kernel distance", "KID: the kernel distance")
    assert found == {"report", "track"}


def test_a_scorer_judges_the_students_of_panels_with_its_kind_alone(copy: Path) -> None:
    found = changed(copy, "sfddm/evaluation/scorers/torchvision.py", "0.485", "0.486")
    assert found == {"scorer.torchvision", "evaluate.pixels+torchvision"}


def test_each_scorer_of_a_panel_counts_for_who_is_judged_by_it(copy: Path) -> None:
    found = changed(copy, "sfddm/evaluation/scorers/pixels.py", "avg_pool2d(images, 2", "avg_pool2d(images, 3")
    assert found == {"scorer.pixels", "evaluate.classifier+pixels", "evaluate.pixels+torchvision"}


def test_how_errors_are_shown_evaluates_no_student_again(copy: Path) -> None:
    """Differences are computed from what is stored."""
    found = changed(copy, "sfddm/evaluation/statistics.py", "CONFIDENCE = 0.95", "CONFIDENCE = 0.9")
    assert found == {"report", "track"}
