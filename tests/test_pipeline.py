"""The real DVC on the real pipeline of tests/tiny.yaml."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.processes import iterations_kept, kill_group, wait_for, wait_for_stage, wait_until_gone
from tests.project import BIN, LEAVES, OURS, Project

pytestmark = pytest.mark.process
ELSEWHERE = {
    "PYTHONHASHSEED": "7", "TZ": "Pacific/Auckland", "LC_ALL": "C", "SHELL": "/bin/sh", "SFDDM_LIVE_CURVES": "off",
}  # fmt: skip
"""What differs between machines and sessions, and must not reach an output."""


def test_a_second_repro_runs_nothing(project: Project) -> None:
    assert project.changed() == set()
    assert "Running stage" not in project.run("dvc", "repro", *LEAVES)


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("weight: 0.3, state", "weight: 0.4, state", {f"distill@{OURS}", *LEAVES}),
        ("weight: 0.3, state", "weight: 0.30, state", set()),
        ("version: 2", "# a comment\nversion: 2", set()),
        ("  model: sfddm-tiny", "  model: sfddm-small", {"track@tiny"}),
        ("noise_seed: 3", "noise_seed: 4", {"reference@tiny"} | {f"evaluate@tiny-{name}-t4-s0" for name in
                                                                 ("ddim", "ours")} | set(LEAVES)),
        ("prediction: v", "prediction: epsilon", {"teacher@tiny", *LEAVES}),
        ("margin: 0.1", "margin: 0.2", set(LEAVES)),
        ("agreement: 0.5", "agreement: 0.6", set()),
        ("      features: 16", "      features: 12", {"scorer@tiny-convolutional", *LEAVES} | {
            f"evaluate@tiny-{name}-t4-s0" for name in ("ddim", "ours")}),
    ],
)  # fmt: skip
def test_a_change_in_the_spec_re_runs_what_rests_on_it(project: Project, old: str, new: str, changed: set[str]) -> None:
    with project.edit("specs/tiny.yaml", old, new):
        assert project.changed() == changed


def test_a_new_student_re_runs_nothing_of_the_others(project: Project) -> None:
    student = (
        "  new-t2:\n    index_set: {kind: uniform, steps: 2}\n    clip_sample: true\n"
        "    method: {kind: free, solver: ancestral}\n    seeds: [0]\n"
    )
    with project.edit("specs/tiny.yaml", "  ours-t4:\n", student + "  ours-t4:\n"):
        project.run("sfddm", "spec", "sync")
        changed = project.changed()
    project.run("sfddm", "spec", "sync")
    assert changed == {"distill@tiny-new-t2-s0", "evaluate@tiny-new-t2-s0", "track@tiny", "report@tiny"}


def test_a_removed_student_leaves_the_report(project: Project) -> None:
    text = (project.folder / "specs/tiny.yaml").read_text()
    start, end = text.index("  ddim-t4:"), text.index("  ours-t4:")
    with project.edit("specs/tiny.yaml", text[start:end], ""):
        project.run("sfddm", "spec", "sync")
        assert project.changed() == {"track@tiny", "report@tiny"}
        project.run("dvc", "repro", "report@tiny")
        assert "ddim-t4" not in (project.folder / "reports/tiny.html").read_text()
    project.run("sfddm", "spec", "sync")
    project.run("dvc", "repro", "report@tiny")
    assert "ddim-t4" in (project.folder / "reports/tiny.html").read_text()


def test_dvc_can_be_process_1_of_a_container(tmp_path: Path) -> None:
    """Where orphans go to it as well, which end by themselves."""
    alone = ["unshare", *(() if os.getuid() == 0 else ("--user", "--map-root-user")), "--pid", "--fork", "--mount-proc"]
    if shutil.which("unshare") is None or subprocess.run([*alone, "true"], capture_output=True).returncode:
        pytest.skip("no container here: this machine lets nobody have process numbers of their own (unshare --pid)")
    made = Project(tmp_path)
    made.run(*alone, str(BIN / "dvc"), "repro", "data@tiny")
    assert (tmp_path / "runs/tiny/data/data.json").exists()


def test_one_specs_report_needs_nothing_of_another(project: Project) -> None:
    dag = project.run("dvc", "dag", "report@tiny", "--dot")
    assert f"evaluate@{OURS}" in dag and "track@" not in dag
    assert all("tiny" in line for line in dag.splitlines() if "@" in line)


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, list[str]]:
    """Another clone, whose trainings were ended in four ways before the pipeline ran through, and what was printed.

    kill -9 of DVC and its stage, of DVC alone, SIGTERM to the stage, Ctrl-C in the terminal that runs DVC.
    """
    made = Project(tmp_path_factory.mktemp("killed"))
    teacher, student = ("teacher@tiny", "tiny-teacher"), (f"distill@{OURS}", OURS)
    printed = [
        _end(made, *teacher, lambda dvc, _: kill_group(dvc, signal.SIGKILL)),
        _end(made, *teacher, lambda _, stage: os.kill(stage, signal.SIGTERM)),
        _end(made, *student, lambda dvc, _: kill_group(dvc, signal.SIGINT)),
        _end(made, *student, lambda dvc, _: os.kill(dvc, signal.SIGKILL)),
        made.run("dvc", "repro", *LEAVES, **ELSEWHERE),
    ]
    return made, printed


def _end(made: Project, stage: str, name: str, kill: Callable[[int, int], None]) -> str:
    """End a stage as soon as its training has kept some iterations more, and return what was printed."""
    before = iterations_kept(made.folder, name)
    dvc = made.start("dvc", "repro", stage, SFDDM_CHECKPOINT_SECONDS="0", **ELSEWHERE)
    pid = wait_for_stage(made.folder, f"stages.{stage.partition('@')[0]} ")
    wait_for(lambda: iterations_kept(made.folder, name) > before, f"a checkpoint of {name}")
    kill(dvc.pid, pid)
    output, _ = dvc.communicate(timeout=60)
    wait_until_gone(pid)
    return output


def test_two_runs_from_scratch_agree_byte_for_byte_even_if_one_is_killed(
    project: Project, ends: tuple[Project, list[str]]
) -> None:
    killed, _ = ends
    assert project.hashes() == killed.hashes()
    assert len(project.hashes()) > 10
    assert not list(killed.folder.glob("scratch/checkpoints/*")) and not list(killed.folder.rglob("*.partial"))


def test_no_output_names_a_folder_of_this_machine(project: Project) -> None:
    words = {str(project.folder), str(Path.home()), sys.prefix} - {"/"}
    files = [path for name in ("runs", "reports") for path in (project.folder / name).rglob("*") if path.is_file()]
    assert len(files) > 20
    for path in files:
        content = path.read_bytes()
        assert not [word for word in words if word.encode() in content], path


def test_every_training_that_was_ended_went_on_and_said_so(ends: tuple[Project, list[str]]) -> None:
    _, printed = ends
    assert "tiny-teacher: going on after iteration" in printed[1]
    assert "ended by SIGTERM: a checkpoint after iteration" in printed[1] and "exited with 143" in printed[1]
    assert "tiny-teacher: going on after iteration" in printed[2]
    assert "ended by SIGINT: a checkpoint after iteration" in printed[2] and "exited with 130" in printed[2]
    assert f"{OURS}: going on after iteration" in printed[3]
    assert "ended by SIGTERM: a checkpoint after iteration" in printed[3], "the stage ends with the DVC that started it"
    assert f"{OURS}: going on after iteration" in printed[4]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("python", "-m", "stages.data", "tinny"), "did you mean 'tiny'?"),
        (("python", "-m", "stages.distill", "tiny", "ours-t4", "7"), "no student 'ours-t4' with seed 7"),
        (("python", "-m", "stages.evaluate", "tiny", "ours-t4", "x"), "no student 'ours-t4' with seed x"),
        (("python", "-m", "stages.distill", "tiny"), "usage: python -m stages.distill SPEC STUDENT SEED"),
    ],
)
def test_bad_arguments_of_a_stage_end_with_2(project: Project, command: tuple[str, ...], words: str) -> None:
    output = project.run(*command, code=2)
    assert words in output and "Traceback" not in output


def test_a_damaged_teacher_stops_the_student_and_leaves_nothing(project: Project) -> None:
    weights = project.folder / "runs/tiny/teacher/diffusion_pytorch_model.safetensors"
    kept, out = weights.read_bytes(), project.folder / "runs/tiny/students/ours-t4-s0"
    before = sorted(path.stat().st_mtime_ns for path in out.iterdir())
    weights.unlink()
    weights.write_bytes(kept[:1000])
    output = project.run("python", "-m", "stages.distill", "tiny", "ours-t4", "0", code=2)
    weights.write_bytes(kept)
    assert "can't be read as safetensors" in output and "Traceback" not in output
    assert sorted(path.stat().st_mtime_ns for path in out.iterdir()) == before
    assert not list(out.parent.glob(".*partial"))
