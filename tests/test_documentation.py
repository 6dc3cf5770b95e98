"""README.md and docs/: every command is run here as it is written, or by another test, or is named with a reason.

The demo takes a quarter of an hour, so that tiny is in its place.
"""

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML

from tests.documented import PAGES, commands, named
from tests.project import ROOT, WHO, Project, commit

ELSEWHERE = {
    r".*: (dvc repro( report@mine)?|sfddm report mine)": "test_documentation.py::test_commands_of_a_page",
    r"docs/evaluation.md: sfddm judge .*": "test_judged.py::test_the_teachers_own_images_are_as_far_as_the_teacher",
    r".*: sfddm ui digits": "test_ui.py::test_links_come_when_the_page_answers_and_nothing_is_left_when_it_ends",
    r".*: sfddm reproduce \S+": "test_registry.py::test_a_version_is_rebuilt_bit_for_bit",
    r".*: sfddm reproduce \S+ --quick": "test_registry.py::test_code_that_changes_no_byte_leaves_a_version_that_was_"
    "made_before_it_whole",
    r".*: sfddm export .*": "test_export.py::test_the_command",
    r".*: sfddm index-set search .*": "test_index_set.py::test_a_search_prints_lines_that_a_spec_takes",
    r"docs/gpu.md: python -m stages.*": "test_bare_machine.py::test_a_bare_machine_makes_the_bytes_of_the_desk_machine",
    r"docs/gpu.md: (rsync|dvc) .*": "test_bare_machine.py::test_the_desk_machine_takes_over_what_a_bare_machine_made",
    r"(README.md: sfddm run mine|docs/gpu.md: sfddm run .* --jobs 4)": "test_side_by_side.py::test_runs_are_"
    "interrupted_go_on_fail_alone_and_end_with_the_bytes_of_one_after_another",
    r"docs/gpu.md: SFDDM_PARTS=4 .*": "test_parts_of_batches.py::test_losses_are_those_of_the_whole_batch",
    r"docs/gpu.md: SFDDM_SLURM=.*": "test_slurm.py::test_a_stage_runs_as_a_job_and_writes_what_it_writes_here",
    r"docs/mlflow.md: (sfddm sweep .*|dvc queue .*)": "test_sweeps.py::test_a_queue_of_experiments_is_one_comparison",
    r"docs/mlflow.md: dvc exp run .*": "test_sweeps.py::test_an_experiment_in_the_workspace_is_compared_like_those_"
    "of_the_queue",
    r"docs/mlflow.md: (dvc exp branch|git restore|dvc checkout) .*": "test_sweeps.py::test_an_experiment_is_kept_as_a_"
    "branch_or_left_behind",
    r"docs/mlflow.md: (export|mlflow|curl) .*": "test_serving.py::test_a_server_draws_the_same",
    r"docs/shared-server.md: (?!pip ).*": "test_shared_server.py::test_two_clones_share_bytes_runs_and_a_champion",
}
"""Commands that another test runs on tiny, or the one here on another page: a pipeline is run once."""
NOT_HERE = {
    r".*: (make .*|\. .venv/bin/activate)": "they install an environment, and run these tests or the demo in it",
    r".*: pip (install|wheel) .*": "it builds or installs packages",
    r"docs/upgrading.md: git pull": "it needs a remote",
    r"docs/data.md: .*": "it needs the files of CIFAR-10",
    r"docs/gpu.md: SFDDM_NPROC=4 .*": "it needs four GPUs",
    r"docs/\S+: python -m bench.*": "it measures, for minutes to hours on a quiet machine",
    r"docs/reliability-input.md: .*pytest .*": "they are tests themselves",
    r"docs/(study|real-images).md: .*": "hours of training",
}
"""Commands that no test runs, and why."""
ON_TINY = (
    (r"digits-ours-t\d+", "tiny-ours-t4"),
    (r"digits-angle-t4", "tiny-ddim-t4"),
    (r"clothes-ours-t1", "clothes-ours-t4"),
    (r"digits|SPEC", "tiny"),
    (r"--levels 300,1024", "--levels 20,64"),
)
"""What takes the place of the demo's spec, its students, and its levels."""


def run_here(page: Path) -> list[str]:
    """The commands of a page that no table lists."""
    listed = "|".join(f"({form})" for form in (*ELSEWHERE, *NOT_HERE))
    return [line for line in commands(page) if not re.fullmatch(listed, f"{named(page)}: {line}")]


def test_what_is_not_run_here_is_a_command_and_its_test_exists() -> None:
    typed = [f"{named(page)}: {command}" for page in PAGES for command in commands(page)]
    assert len(typed) > 100
    for form in (*ELSEWHERE, *NOT_HERE):
        assert any(re.fullmatch(form, line) for line in typed), form
    for name in ELSEWHERE.values():
        file, _, test = name.partition("::")
        assert f"\ndef {test}(" in (ROOT / "tests" / file).read_text(), name


@pytest.fixture(scope="module")
def demo(original: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A clone after the demo: everything is made, tracked and committed, and the demo's spec can be copied."""
    made = original.copy(tmp_path_factory.mktemp("newcomers") / "clone")
    shutil.copy(ROOT / "specs/digits.yaml", made.folder / "specs/gallery/digits.yaml")
    commit(made, ".")
    made.run("git", "tag", "demo")
    made.run("sfddm", "track")
    return made


@pytest.fixture
def newcomers(demo: Project) -> Project:
    """The same for the next page, with what was promoted before."""
    promoted = demo.folder / "promotions.json"
    kept = promoted.read_bytes() if promoted.exists() else None
    demo.run("git", "reset", "--quiet", "--hard", "demo")
    demo.run("git", "clean", "--quiet", "--force", "-d")
    if kept is not None:
        promoted.write_bytes(kept)
    return demo


@pytest.fixture(scope="module")
def clothes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures of two kinds, a folder each."""
    root, drawn = tmp_path_factory.mktemp("clothes"), np.random.default_rng(0)
    for kind, name in enumerate(("bags", "shirts")):
        (root / name).mkdir()
        for number in range(100):
            picture = drawn.integers(0, 56, (28, 28)) + 200 * (np.arange(28) // 14 == kind)
            Image.fromarray(picture.astype(np.uint8)).save(root / name / f"{number:04}.png")
    return root


LONG = "docs/own-images.md"
"""A page whose commands run a whole pipeline once more."""


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=named(page), marks=[pytest.mark.prove] if named(page) == LONG else [])
        for page in PAGES
        if run_here(page)
    ],
)
def test_commands_of_a_page(newcomers: Project, clothes: Path, page: Path) -> None:
    variables = {**WHO, "GIT_EDITOR": "echo Results >"}
    for line in run_here(page):
        for command in line.split(" && "):
            type_in(newcomers, command, variables, clothes)


def type_in(project: Project, command: str, variables: dict[str, str], data: Path) -> None:
    for written, tiny in (*ON_TINY, ("/data/clothes", str(data))):
        command = re.sub(written, tiny, command)
    words = shlex.split(command)
    if words[0] == "export":
        variables |= dict(word.split("=", 1) for word in words[1:])
        return
    if words[:2] == ["git", "commit"]:
        words.append("--allow-empty")  # all may be committed already
    project.run(*words, **variables)
    if words[:3] == ["sfddm", "new", "clothes"]:
        become_small(project.folder / "specs")
        project.run("sfddm", "spec", "sync")


def become_small(specs: Path) -> None:
    """tiny in place of the students and scorers that docs/own-images.md begins with: a minute for ten."""
    yaml = YAML()
    begun, small = yaml.load(specs / "clothes.yaml"), yaml.load(specs / "tiny.yaml")
    small |= {"name": "clothes", "data": begun["data"], "registry": {**small["registry"], "model": "sfddm-clothes"}}
    yaml.dump(small, specs / "clothes.yaml")
