"""Runs side by side: several DVCs in one project, on real processes."""

import os
import shutil
import signal
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console, ConsoleDimensions
from ruamel.yaml import YAML

from sfddm.cli.run import _table
from sfddm.errors import UserError
from sfddm.pipeline.side_by_side import (
    DONE,
    FAILED,
    LEFT,
    RUNS,
    WAITS,
    Place,
    Work,
    exit_code,
    faults,
    places,
    works,
)
from sfddm.spec.read import parse_spec
from tests.parts import tiny
from tests.processes import iterations_kept, stages_in, wait_for
from tests.project import Edit, Project
from tests.test_processes import needs_two

TRAINED = "tiny-ours-t4-s0"


def beside(project: Project, code: int) -> str:
    """What `sfddm run` printed that ended with `code`."""
    going = project.start("sfddm", "run", "tiny", "--jobs", "2", forked=True)
    printed, _ = going.communicate(timeout=600)
    assert going.returncode == code, printed
    return printed


def test_more_jobs_than_devices_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SFDDM_DEVICE", "cpu")
    for name in ("OMP_NUM_THREADS", "SFDDM_SLURM"):
        monkeypatch.delenv(name, raising=False)
    there = len(os.sched_getaffinity(0))
    for jobs in (-1, there + 1):
        with pytest.raises(
            UserError, match=f"this machine has {there} processors: expected a number from 1 to {there}"
        ):
            places(jobs)
    for jobs in (0, there):
        assert there == 1 or [place.environment for place in places(jobs)] == [{"OMP_NUM_THREADS": "1"}] * there
    monkeypatch.setenv("SFDDM_SLURM", "--gpus=1")
    assert len(places(there + 1)) == there + 1, "the devices are the cluster's"
    with pytest.raises(UserError, match="--jobs is 0"):
        places(0)


def test_everything_of_a_spec_is_asked_for_once_after_what_it_reads_and_the_dearest_first() -> None:
    data, teacher, convolutional, pixels, reference, training, ours, ddim, last = shown = works(tiny())
    assert [work.stages for work in shown] == [
        ["data@tiny"],
        ["teacher@tiny"],
        ["scorer@tiny-convolutional"],
        ["scorer@tiny-pixels"],
        ["reference@tiny"],
        ["distill@tiny-ours-t4-s0"],
        ["evaluate@tiny-ours-t4-s0"],
        ["distill@tiny-ddim-t4-s0", "evaluate@tiny-ddim-t4-s0"],
        ["track@tiny", "report@tiny"],
    ]
    assert not data.after and all(work.after == [data] for work in (teacher, convolutional, pixels))
    assert reference.after == training.after == [teacher], "a training needs no reference"
    judged = [reference, convolutional, pixels]
    assert ours.after == [training, *judged] and ddim.after == [teacher, *judged]
    assert last.after == [training, ours, ddim]


def test_what_has_nothing_to_do_is_done_already() -> None:
    shown = works(tiny(), {"evaluate@tiny-ddim-t4-s0", "track@tiny", "report@tiny"})
    assert [work.name for work in shown if work.state == WAITS] == ["tiny-ddim-t4-s0", "tiny, comparison"]
    assert {work.state for work in shown} == {WAITS, DONE}
    assert not [work for work in works(tiny(), set()) if work.state != DONE]


def failed(log: Path, code: int) -> Work:
    """A work whose stage ended with a code and three lines."""
    said = "reading\nerror: mine: 1 of 14 images can't be used:\n  a.png: no image\nReplace them.\n"
    log.write_text(f"{said}ERROR: failed to reproduce 'data@mine': failed to run: exec x, exited with {code}\n")
    return Work("mine, data", ["data@mine"], log, state=FAILED)


def test_all_lines_of_an_error_are_printed_and_none_of_dvcs(tmp_path: Path) -> None:
    (said,) = faults([failed(tmp_path / "log", 2)])
    expected = "mine, data failed: mine: 1 of 14 images can't be used:\n  a.png: no image\nReplace them.\n"
    assert said == f"{expected}{tmp_path / 'log'} has all of it."


@pytest.mark.parametrize(("code", "ends"), [(2, 2), (1, 1), (130, 1)])
def test_what_a_user_can_mend_ends_with_2(tmp_path: Path, code: int, ends: int) -> None:
    done = Work("mine, teacher", [], tmp_path / "none", state=DONE)
    assert exit_code([done, failed(tmp_path / "log", code)]) == ends
    assert exit_code([done]) == 0


def test_a_table_of_80_columns_has_room_for_names_states_and_the_time_that_is_left(tmp_path: Path) -> None:
    log, last = tmp_path / "log", "ours-t4-s0: 1200/20000, loss 0.1234, 1234 img/s, 4321 s left"
    log.write_text(f"{last}\n")
    running = Work("own-ours-t4-s0, training", [], log, state=RUNS, place=Place("2 threads", {}))
    works = [running, Work("own, data", [], log, state=DONE), Work("own-angle-t2-s0", [], log, state=LEFT)]
    console = Console(width=80, height=24, record=True, file=StringIO())
    console.print(_table("own", works, 125, console.size))
    head, _, first, done, left, caption = filter(str.strip, console.export_text().splitlines())
    assert head.split() == ["run", "on", "state", "said", "last"]
    assert first.startswith(" ours-t4-s0, training 2 threads runs     …")
    assert first.rstrip().endswith("1234 img/s, 4321 s left")
    assert len(first.rstrip()) == 79
    assert done.split() == ["data", "done"]
    assert left.split()[:3] == ["angle-t2-s0", "left", "out"]
    assert caption.strip() == "1 of 3 done after 2.1 min"


def test_a_low_terminal_shows_what_runs(tmp_path: Path) -> None:
    works = [Work(f"own-{number}", [], tmp_path / "none", state=WAITS if number else RUNS) for number in range(20)]
    shown = {height: _table("own", works, 1, ConsoleDimensions(80, height)).row_count for height in (24, 40)}
    assert shown == {24: 1, 40: 20}


def test_what_samples_another_student_waits_for_its_training() -> None:
    spec = parse_spec(Path("specs/gallery/digits-study.yaml").read_text(), "digits-study.yaml")
    by_name = {work.name: work for work in works(spec)}
    assert by_name["digits-study-any-t8-s1, training"] in by_name["digits-study-any-t2-s1"].after


def _forget_runs(folder: Path) -> None:
    """Nothing but what the runs share is there."""
    yaml, lock = YAML(), folder / "dvc.lock"
    content = yaml.load(lock.read_text())
    shared = ("data@", "scorer@", "teacher@", "reference@")
    content["stages"] = {name: stage for name, stage in content["stages"].items() if name.startswith(shared)}
    yaml.dump(content, lock)
    for made in (".dvc/cache/runs", "runs/tiny/students", "runs/tiny/results", "runs/tiny/tracked.json", "reports"):
        path = folder / made
        path.unlink() if path.is_file() else shutil.rmtree(path)


@needs_two
@pytest.mark.process
def test_runs_are_interrupted_go_on_fail_alone_and_end_with_the_bytes_of_one_after_another(
    original: Project, tmp_path: Path
) -> None:
    project = original.copy(tmp_path / "project")
    folder = project.folder
    _forget_runs(folder)
    spec = folder / "specs/tiny.yaml"
    text = spec.read_text()
    ours = text[text.index("  ours-t4:\n") : text.index("evaluation:\n")]
    broken = ours.replace("ours-t4", "broken").replace("*training", "{<<: *training, learning_rate: 1.0e+9}")
    with Edit(spec, "evaluation:\n", f"{broken}evaluation:\n"):
        project.run("sfddm", "spec", "sync")
        going = project.start("sfddm", "run", "tiny", "--jobs", "2", SFDDM_CHECKPOINT_SECONDS="0")
        wait_for(lambda: iterations_kept(folder, TRAINED) or going.poll() is not None, "a checkpoint")
        going.send_signal(signal.SIGINT)
        printed, _ = going.communicate(timeout=120)
        assert going.returncode == 130 and "`sfddm run tiny` goes on from there" in printed, printed
        assert iterations_kept(folder, TRAINED) and not list(stages_in(folder))
        assert "error: tiny-broken-s0, training failed: training stopped: the loss" in beside(project, 2)
        assert "going on after iteration" in (folder / f"scratch/logs/{TRAINED}-training.log").read_text()
        assert (folder / "runs/tiny/results/ours-t4-s0/metrics.json").exists()
        assert not (folder / "runs/tiny/tracked.json").exists()
    project.run("sfddm", "spec", "sync")
    beside(project, 0)
    assert "up to date" in project.run("dvc", "status")
    assert project.hashes() == original.hashes()
    assert beside(project, 0).count(": runs") == 0, "nothing is started where nothing is to be done"
