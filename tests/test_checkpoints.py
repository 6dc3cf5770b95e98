"""Trainings that are killed, stopped by a signal or met by a full disk, and go on to the same bytes."""

import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from attrs import evolve
from torch import Tensor, nn

from sfddm.errors import UserError
from sfddm.methods.job import Job, distill
from sfddm.runtime.signals import Interrupted, postponed
from sfddm.training.checkpoints import Checkpoints
from sfddm.training.curve import Curve
from sfddm.training.loop import Losses, train
from tests.limits import full_disk
from tests.mortal import Killed, Mortal
from tests.parts import METHODS, of

ITERATIONS = 8
"""Iterations of a training here; the progressive one has two folds of half as many."""
SETTINGS = evolve(METHODS["sfddm"].training, iterations=ITERATIONS, batch_size=16)


@pytest.fixture(autouse=True)
def after_every_iteration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SFDDM_CHECKPOINT_SECONDS", "0")


def described(folder: Path, name: str) -> Job:
    return of(folder, evolve(METHODS[name], training=SETTINGS))


def made(described: Job, folder: Path) -> dict[str, bytes]:
    """The bytes of all that a job makes, its curve included."""
    student = distill(described)
    folder.mkdir()
    student.write(folder)
    assert student.curve is not None
    return {path.name: path.read_bytes() for path in (*folder.iterdir(), student.curve)}


def mortal(described: Job, inputs: Mapping[str, Any] | None = None) -> Job:
    return evolve(described, checkpoints=Mortal(described.cache.parent / "checkpoints", inputs or {}))


@pytest.mark.parametrize("name", METHODS)
def test_killed_after_every_iteration_it_ends_with_the_same_bytes(tmp_path: Path, name: str) -> None:
    undisturbed = made(described(tmp_path, name), tmp_path / "undisturbed")
    kills = 0
    while True:
        try:
            survived = made(mortal(described(tmp_path, name)), tmp_path / "survived")
            break
        except Killed:
            kills += 1
    assert kills == ITERATIONS and survived == undisturbed


@pytest.mark.parametrize("name", METHODS)
def test_a_training_draws_from_no_generator_whose_state_a_checkpoint_would_have_to_keep(
    tmp_path: Path, name: str
) -> None:
    states: list[tuple[Tensor, np.ndarray]] = []

    def keep(_: int) -> None:
        states.append((torch.get_rng_state(), np.random.get_state()[1]))  # type: ignore[index]

    distill(evolve(described(tmp_path, name), training_starts=keep))
    keep(ITERATIONS)
    assert torch.equal(states[0][0], states[1][0]) and (states[0][1] == states[1][1]).all()


def kill(described: Job, times: int, inputs: Mapping[str, Any] | None = None) -> list[Path]:
    """Kill a job's training so many times, one iteration apart; what is kept then."""
    for _ in range(times):
        with pytest.raises(Killed):
            distill(mortal(described, inputs))
    return sorted(mortal(described, inputs).checkpoints.folder.iterdir())


def test_the_last_two_are_kept_and_removed_at_the_end(tmp_path: Path) -> None:
    one = described(tmp_path, "sfddm")
    assert [path.name for path in kill(one, 5)] == ["000000004", "000000005"]
    checkpoints = mortal(one).checkpoints
    assert checkpoints.newest() == checkpoints.folder / "000000005"
    checkpoints.remove()
    assert not (tmp_path / "checkpoints").exists() and checkpoints.newest() is None


def test_a_result_takes_the_place_of_the_checkpoints_before_it(tmp_path: Path) -> None:
    kept = kill(described(tmp_path, "progressive"), 6)
    assert [path.name for path in kept] == ["000000004-result", "000000005", "000000006"]


@pytest.mark.parametrize("end", [b"", b"\0\0\xc0\x7f"], ids=["truncated", "NaN"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], end: bytes
) -> None:
    undisturbed = made(described(tmp_path, "sfddm"), tmp_path / "undisturbed")
    state = kill(described(tmp_path, "sfddm"), 5)[-1] / "state.safetensors"
    state.write_bytes(state.read_bytes()[:-4] + end)
    again = evolve(described(tmp_path, "sfddm"), checkpoints=Checkpoints(tmp_path / "checkpoints", {}))
    assert made(again, tmp_path / "survived") == undisturbed
    printed = capsys.readouterr().err
    assert "passing over a damaged checkpoint" in printed and "going on after iteration 4" in printed


def test_other_inputs_never_go_on_from_a_stale_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = described(tmp_path, "sfddm")
    kill(one, 2, {"learning rate": 1e-3})
    capsys.readouterr()
    kill(one, 1, {"learning rate": 2e-3})
    assert "going on" not in capsys.readouterr().err
    kill(one, 1, {"learning rate": 1e-3})
    assert "going on after iteration 2" in capsys.readouterr().err


def test_other_code_never_goes_on_from_a_stale_checkpoint(tmp_path: Path) -> None:
    """Stages give the fingerprint of their code with the inputs."""
    folders = [Checkpoints(tmp_path, {"code": code}).folder for code in ("0123", "0123", "4567")]
    assert folders[0] == folders[1] != folders[2]


def test_another_number_of_threads_never_goes_on_from_a_stale_checkpoint(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    folders = []
    for threads in (1, 2, 1):
        torch.set_num_threads(threads)
        folders.append(Checkpoints(tmp_path, {}).folder)
    torch.set_num_threads(before)
    assert folders[0] == folders[2] != folders[1]


def fit(folder: Path, at: int, number: int) -> nn.Linear:
    """Train one weight; a signal arrives in iteration `at`."""
    network = nn.Linear(1, 1, bias=False)
    network.weight.data[:] = 0

    def loss(step: int, _: nn.Linear) -> Losses:
        if step == at:
            signal.raise_signal(number)
        return {"loss": (network.weight - 3).square().mean()}

    with Curve(folder / "curve", "test", ITERATIONS, 1) as curve:
        return train(network, loss, SETTINGS, curve, Checkpoints(folder / "checkpoints", {}), seed=0).network


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("at", [3, ITERATIONS - 1])
def test_a_signal_ends_the_iteration_keeps_it_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: int, at: int
) -> None:
    undisturbed = fit(tmp_path / "undisturbed", -1, number)
    monkeypatch.delenv("SFDDM_CHECKPOINT_SECONDS")
    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match="`dvc repro` goes on from there") as ended:
        fit(tmp_path / "signalled", at, number)
    assert ended.value.exit_code == code and signal.getsignal(number) == before
    kept = [path.name for path in tmp_path.glob("signalled/checkpoints/*/*")]
    assert kept == (["000000004"] if at == 3 else ["000000008-result"])
    assert torch.equal(fit(tmp_path / "signalled", -1, number).weight, undisturbed.weight)
    assert (tmp_path / "signalled/curve").read_bytes() == (tmp_path / "undisturbed/curve").read_bytes()


def test_a_second_ctrl_c_ends_it_at_once() -> None:
    with pytest.raises(Interrupted), postponed():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        pytest.fail("still running")


@pytest.mark.parametrize("room", [2000, 20_000])
def test_a_full_disk_keeps_what_was_there(tmp_path: Path, room: int) -> None:
    """Too little room for the trajectories, and for a checkpoint alone."""
    one = described(tmp_path, "sfddm")
    undisturbed = made(one, tmp_path / "undisturbed")
    kept = kill(one, 2)
    if room == 2000:
        shutil.rmtree(tmp_path / "cache")
    again = evolve(one, checkpoints=Checkpoints(tmp_path / "checkpoints", {}))
    with full_disk(room), pytest.raises(UserError, match=r"could not write .*File too large"):
        distill(again)
    assert sorted(again.checkpoints.folder.iterdir()) == kept
    assert not list(tmp_path.rglob("*.partial"))
    assert made(evolve(one, checkpoints=Checkpoints(tmp_path / "checkpoints", {})), tmp_path / "b") == undisturbed


def test_a_short_interval_is_stretched_to_what_writing_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SFDDM_CHECKPOINT_SECONDS", "1e-9")
    checkpoints = Checkpoints(tmp_path, {})
    checkpoints.read(0, 10)
    assert checkpoints.due()
    checkpoints.write(1, {"weight": torch.zeros(1_000_000)}, "")
    assert not checkpoints.due(), "the next one is due after fifty times what this one took"


@pytest.mark.parametrize("text", ["", "soon", "-1", "nan", "inf"])
def test_an_interval_that_is_no_time_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("SFDDM_CHECKPOINT_SECONDS", text)
    with pytest.raises(UserError, match="expected a number of seconds, 0 or more"):
        Checkpoints(tmp_path, {})
