"""Several processes that share one stage: real ones, under torchrun on gloo."""

import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from attrs import evolve, frozen

from sfddm.data import store
from sfddm.errors import UserError
from sfddm.registry.workspace import run
from sfddm.runtime.processes import available, drawn_ahead, own_rows, own_share, refuse_tasks, requested
from sfddm.training.batches import Rows, integers, noise_like, real_images
from stages.torchrun import first_failure
from tests.parts import job, only_spec
from tests.processes import iterations_kept, stages_in, wait_for
from tests.project import ROOT
from tests.ranks import one_of
from tests.together import TRAINED, work

TWO = {
    **os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "SFDDM_DEVICE": "cpu", "SFDDM_NPROC": "2",
    "SFDDM_LIVE_CURVES": "off",
}  # fmt: skip
"""The environment of a stage in two processes."""
needs_two = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="this machine has one processor")


def test_every_row_of_every_source_has_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sources of 5, 4 and 7 images in a batch that three processes share."""
    taken, shares, totals = [], [], []
    for rank in range(3):
        one_of(monkeypatch, rank, 3)
        rows = [np.arange(16)[at : at + size][own_rows(size, at)] for at, size in ((0, 5), (5, 4), (9, 7))]
        taken += rows
        totals.append(sum(map(len, rows)))
        shares.append(own_share(16))
    assert sorted(np.concatenate(taken)) == list(range(16))
    assert totals == [6, 5, 5] and shares == [total / 16 for total in totals]
    with pytest.raises(UserError, match=r"2 images of a batch can't be shared by 3 processes: raise batch_size"):
        own_rows(2)


def test_shares_of_a_batch_are_rows_of_the_whole_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Images, mirrored ones among them, noise and numbers."""
    job(tmp_path)
    split = evolve(store.read(tmp_path / "data", "train"), flip=True)

    def drawn() -> list[torch.Tensor]:
        rows, random = Rows(7), np.random.default_rng(0)
        images = real_images(split, rows, torch.device("cpu"))(0, 3)
        return [images, integers(random, 0, 100, rows, images.device), noise_like(random, rows, images)]

    whole = drawn()
    for rank in range(3):
        one_of(monkeypatch, rank, 3)
        assert all(torch.equal(own, of[rank::3]) for own, of in zip(drawn(), whole, strict=True))


def test_a_process_draws_one_ahead_of_its_own_share_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[int] = []

    def draw(job: int) -> int:
        begun.append(job)
        return 10 * job

    one_of(monkeypatch, 1, 2)
    drawn = drawn_ahead(range(8), draw)
    assert next(drawn) == 10
    wait_for(lambda: len(begun) == 2, "the next one", 10)
    assert begun == [1, 3] and list(drawn) == [30, 50, 70] and begun == [1, 3, 5, 7]
    assert list(drawn_ahead([0], draw)) == []


def test_of_processes_that_fail_together_the_killed_one_is_named() -> None:
    assert first_failure({0: (7, 2), 1: (7, -signal.SIGKILL)}) == (1, -signal.SIGKILL)
    assert first_failure({0: (7, -signal.SIGTERM), 1: (7, 2)}) == (1, 2)
    assert first_failure({1: (7, 2), 0: (37, -signal.SIGKILL)}) == (1, 2), "torchrun's own, after half a minute"


def test_a_process_without_torchrun_takes_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")  # by other programs
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert np.arange(7)[own_rows(7, 3)].tolist() == list(range(7)) and own_share(7) == 1.0


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", ""])
def test_a_number_of_processes_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("SFDDM_NPROC", text)
    with pytest.raises(UserError, match="expected a whole number of processes, 1 or more"):
        requested()


def test_more_processes_than_processors_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    there = len(os.sched_getaffinity(0))
    monkeypatch.setenv("SFDDM_NPROC", str(there + 1))
    monkeypatch.setenv("SFDDM_DEVICE", "cpu")
    with pytest.raises(UserError, match=f"{there + 1} processes are asked for .* this machine has {there} processors"):
        requested()


def require_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stage data of tiny ends with exit code 2, and makes nothing."""
    only_spec(folder)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["stages.data", "tiny"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("stages.data", run_name="__main__")
    assert ended.value.code == 2
    assert not (folder / "runs").exists()


def test_several_tasks_of_srun_are_refused_unless_torchrun_started_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
    require_refused(tmp_path, monkeypatch)
    assert "srun started 4 tasks, and each of them would do all of the work" in capsys.readouterr().err
    one_of(monkeypatch, 0, 4)
    refuse_tasks()
    monkeypatch.delenv("TORCHELASTIC_RUN_ID")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "1")
    refuse_tasks()


@needs_two
@pytest.mark.process
def test_two_processes_make_what_one_makes(tmp_path: Path) -> None:
    """The same images, and losses that differ by rounding: of every method, of mixed sources, and of a teacher."""
    job(tmp_path)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    work(tmp_path, tmp_path / "one")
    torch.set_num_threads(threads)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", f"--log-dir={tmp_path}"]
    command = [sys.executable, *launcher, "-m", "tests.together", str(tmp_path), str(tmp_path / "two")]
    subprocess.run(command, check=True, env=TWO, cwd=ROOT, capture_output=True)
    for name in (*TRAINED, "teacher"):
        one, two = (
            [json.loads(line) for line in (tmp_path / which / f"{name}.jsonl").read_text().splitlines()]
            for which in ("one", "two")
        )
        assert len(one) == 4
        for here, there in zip(one, two, strict=True):
            for point in (here, there):
                point.pop("spread", None)  # that of each process's own rows, averaged
            assert here == pytest.approx(there, abs=1e-5), name
    pictures = [np.load(tmp_path / which / "images.npz") for which in ("one", "two")]
    for name in ("drawn", "between"):
        assert np.array_equal(pictures[0][name], pictures[1][name])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tiny's spec and data."""
    path = tmp_path_factory.mktemp("stages")
    only_spec(path)
    start(path, "stages.data", "tiny").communicate(timeout=120)
    return path


def start(folder: Path, *command: str, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", *command], cwd=folder, env={**TWO, **environment}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip


@frozen
class End:
    """How a training in two processes ended."""

    code: int
    printed: str
    processes: int
    """How many there were beside the one that started them."""
    kept: int
    """The iteration after which there was a checkpoint then."""


@pytest.fixture(scope="module")
def ends(folder: Path) -> list[End]:
    """A teacher's training that is ended in three ways, each time going on from where it was, and then runs through."""
    ways: list[Callable[[int, list[int]], None]] = [
        lambda _, processes: os.kill(processes[1], signal.SIGKILL),
        lambda stage, _: os.kill(stage, signal.SIGTERM),
        lambda stage, _: os.kill(stage, signal.SIGKILL),
    ]
    return [*(_end(folder, way) for way in ways), _end(folder, None)]


def _end(folder: Path, way: Callable[[int, list[int]], None] | None) -> End:
    """Go on with the training, and end it as soon as it has kept an iteration more; nothing is left half-written."""
    before, processes = iterations_kept(folder, "tiny-teacher"), list[int]()
    stage = start(folder, "stages.teacher", "tiny", SFDDM_CHECKPOINT_SECONDS="0" if way else "60")
    if way:
        wait_for(lambda: iterations_kept(folder, "tiny-teacher") > before or stage.poll() is not None, "a checkpoint")
        processes = [pid for pid, _ in stages_in(folder) if pid != stage.pid]
        way(stage.pid, processes)
    printed, _ = stage.communicate(timeout=120)
    wait_for(lambda: not list(stages_in(folder)), "all processes to end", 20)
    assert (folder / "runs/tiny/teacher").exists() == (way is None)
    assert not list((folder / "runs").rglob(".*partial"))
    return End(stage.returncode, printed, len(processes), iterations_kept(folder, "tiny-teacher"))


@needs_two
@pytest.mark.process
def test_a_process_that_is_killed_fails_the_stage_and_leaves_no_other(ends: list[End]) -> None:
    assert ends[0].processes == 2
    assert ends[0].code == 2, ends[0].printed
    assert "of 2 was killed (SIGKILL), and the others were ended" in ends[0].printed
    assert "Traceback" not in ends[0].printed


@needs_two
@pytest.mark.process
def test_a_stage_that_is_told_to_end_keeps_a_checkpoint(ends: list[End]) -> None:
    assert ends[1].code == 143, ends[1].printed
    assert "ended by SIGTERM: a checkpoint after iteration" in ends[1].printed
    assert "Traceback" not in ends[1].printed


@needs_two
@pytest.mark.process
def test_a_stage_that_is_killed_takes_its_processes_along(ends: list[End]) -> None:
    assert ends[2].processes == 2
    assert ends[2].code == -signal.SIGKILL


@needs_two
@pytest.mark.process
def test_after_each_end_two_processes_go_on_together(folder: Path, ends: list[End]) -> None:
    for before, after in pairwise(ends):
        assert f"going on after iteration {before.kept}" in after.printed
        assert after.printed.count("going on") == 1, "one process speaks for all"
    assert ends[-1].code == 0, ends[-1].printed
    assert (folder / "runs/tiny/teacher/denoiser.json").exists()
    assert not list((folder / "scratch/checkpoints").iterdir())


@needs_two
@pytest.mark.process
def test_a_version_is_rebuilt_by_as_many_processes_as_made_it(tmp_path: Path) -> None:
    (tmp_path / "asked.py").write_text("import os; open('out', 'w').write(os.environ['SFDDM_NPROC'])")
    for made, here in ((1, "1"), (2, "2"), (10_000, str(available(False)))):
        assert run(tmp_path, "asked", machine={"device": "cpu", "threads": 1, "processes": made}) == 0
        assert (tmp_path / "out").read_text() == here


def test_a_stage_that_shares_nothing_is_refused_under_torchrun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one_of(monkeypatch, 0, 2)
    require_refused(tmp_path, monkeypatch)
    assert "stages.data can't be shared by 2 processes: start it without torchrun" in capsys.readouterr().err


@needs_two
@pytest.mark.process
def test_a_users_error_in_a_process_is_the_stages_own(folder: Path) -> None:
    shutil.rmtree(folder / "runs/tiny/teacher", ignore_errors=True)
    stage = start(folder, "stages.reference", "tiny")
    output, _ = stage.communicate(timeout=120)
    assert stage.returncode == 2, output
    assert "runs/tiny/teacher/denoiser.json is missing" in output
    assert "Traceback" not in output
