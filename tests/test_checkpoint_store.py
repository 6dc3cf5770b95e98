"""What is kept of a training and when, what is found of it again, and what the name of its folder depends on."""

from pathlib import Path

import pytest
import torch

from sfddm.errors import UserError
from sfddm.runtime.machine import machine
from sfddm.training import checkpoints as module
from sfddm.training.checkpoints import Checkpoints
from tests.clocks import Clock
from tests.ranks import group_of_itself, one_of

INPUTS = {"method": {"learning rate": 1e-3}, "seed": 0}


def kept(folder: Path) -> list[str]:
    """The names of all that lies in the folder of a training."""
    return sorted(path.name for path in Checkpoints(folder, {}).folder.glob("*"))


def written(folder: Path, *steps: int, results: tuple[int, ...] = ()) -> Checkpoints:
    """Checkpoints of a training that wrote these, results first; each holds its own number."""
    checkpoints = Checkpoints(folder, {})
    for end in results:
        checkpoints.write_result(end, {"number": torch.tensor(-end)}, f"result {end}")
    for step in steps:
        checkpoints.write(step, {"number": torch.tensor(step)}, f"curve {step}")
    return checkpoints


def found(folder: Path, before: int, end: int) -> tuple[int, int, str] | None:
    """Where a training goes on: the iteration, and what was kept there."""
    checkpoint = Checkpoints(folder, {}).read(before, end)
    return (checkpoint.step, int(checkpoint.tensors["number"]), checkpoint.curve) if checkpoint else None


def test_the_newest_one_within_the_fold_is_gone_on_from(tmp_path: Path) -> None:
    assert found(tmp_path, 0, 10) is None
    written(tmp_path, 3, 5)
    assert found(tmp_path, 0, 10) == (5, 5, "curve 5") == found(tmp_path, 4, 6)
    assert found(tmp_path, 0, 5) == (3, 3, "curve 3"), "at the end it would be a result"
    assert found(tmp_path, 5, 10) is None, "there the fold before ended"
    assert found(tmp_path, 0, 3) is None


def test_a_result_comes_before_all_that_led_to_it(tmp_path: Path) -> None:
    written(tmp_path, 3, 7, results=(5,))
    assert found(tmp_path, 0, 5) == (5, -5, "result 5")
    assert found(tmp_path, 5, 10) == (7, 7, "curve 7")
    assert found(tmp_path, 5, 7) is None and found(tmp_path, 0, 8) == (7, 7, "curve 7")


def test_the_two_last_ones_are_kept_beside_the_results_of_folds(tmp_path: Path) -> None:
    written(tmp_path, 1, 2, 3, 10, 9)
    assert kept(tmp_path) == ["000000009", "000000010"]
    written(tmp_path, results=(12,))
    written(tmp_path, 13, 14, 15)
    assert kept(tmp_path) == ["000000012-result", "000000014", "000000015"]
    assert Checkpoints(tmp_path, {}).newest() == Checkpoints(tmp_path, {}).folder / "000000015"
    written(tmp_path, results=(16,))
    assert kept(tmp_path) == ["000000012-result", "000000016-result"]


def test_what_was_removed_is_gone_whatever_its_inputs(tmp_path: Path) -> None:
    written(tmp_path / "name", 1)
    other = Checkpoints(tmp_path / "name", INPUTS)
    assert other.newest() is None and Checkpoints(tmp_path / "name", {}).newest() is not None
    other.remove()
    other.remove()
    assert not (tmp_path / "name").exists()


def test_what_a_killed_writer_left_is_cleared_away_by_the_first_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = written(tmp_path, 1).folder / ".000000002.partial"
    left.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(module, "is_main", lambda: False)
        assert kept(tmp_path) == [left.name, "000000001"]
    assert kept(tmp_path) == ["000000001"]


def test_the_first_of_several_processes_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with group_of_itself():
        one_of(monkeypatch, 1, 2)
        checkpoints = written(tmp_path, 1, results=(2,))
        assert not checkpoints.folder.exists()
        one_of(monkeypatch, 0, 2)
        assert written(tmp_path, 1, results=(2,)).folder.exists()


@pytest.mark.parametrize("others", [(3, -1), (7, -5), (3, -3)])
def test_processes_that_find_different_checkpoints_refuse_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, others: tuple[int, int]
) -> None:
    """`others` are the largest of the steps that all processes found, and of the same less than 0."""
    written(tmp_path, 5)
    monkeypatch.setattr(module, "all_reduce_max", lambda *_: others)
    with pytest.raises(UserError, match="don't find the same checkpoints: set SFDDM_SCRATCH"):
        found(tmp_path, 0, 10)


def test_all_processes_may_find_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, ...]] = []

    def highest(*numbers: int) -> tuple[int, ...]:
        asked.append(numbers)
        return numbers

    monkeypatch.setattr(module, "all_reduce_max", highest)
    assert found(tmp_path, 0, 10) is None
    written(tmp_path, 4)
    assert found(tmp_path, 0, 10) is not None
    assert (4, -4) in asked and asked[0] == (-1, 1)


def test_one_process_says_where_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = tmp_path / "tiny-teacher"
    found(name, 0, 10)
    written(name, 5)
    assert capsys.readouterr().err == ""
    found(name, 0, 10)
    assert capsys.readouterr().err == "tiny-teacher: going on after iteration 5\n"
    monkeypatch.setattr(module, "is_main", lambda: False)
    found(name, 0, 10)
    assert capsys.readouterr().err == ""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock that checkpoints look at."""
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


@pytest.fixture
def read(tmp_path: Path, clock: Clock) -> Checkpoints:
    """Checkpoints of a training that starts at 100 s."""
    checkpoints = Checkpoints(tmp_path, {})
    clock.now = 100.0
    checkpoints.read(0, 1000)
    return checkpoints


def due_after(checkpoints: Checkpoints, clock: Clock) -> float:
    """How long it is until the next one is due, in eighths of a second."""
    clock.tick, now = 0.0, clock.now
    while not checkpoints.due():
        clock.now += 0.125
    return clock.now - now


def test_the_first_one_is_due_a_minute_after_the_start(read: Checkpoints, clock: Clock) -> None:
    clock.now = 159.9
    assert not read.due()
    clock.now = 160.0
    assert read.due()


def test_the_next_one_is_due_a_minute_after_the_last(read: Checkpoints, clock: Clock) -> None:
    clock.now = 170.0
    read.write(1, {"number": torch.tensor(1)}, "")
    assert due_after(read, clock) == 60.0


def test_writing_takes_a_fiftieth_of_the_time_at_most(read: Checkpoints, clock: Clock) -> None:
    clock.tick = 1.5  # between beginning and end the clock is looked at once more: 3 s
    read.write(1, {"number": torch.tensor(1)}, "")
    clock.now -= 1.5  # the last look was at the end
    assert due_after(read, clock) == 150.0


def test_an_interval_of_0_is_due_at_once_whatever_writing_takes(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SFDDM_CHECKPOINT_SECONDS", "0")
    checkpoints = Checkpoints(tmp_path, {})
    checkpoints.read(0, 1000)
    assert checkpoints.due()
    clock.tick = 9.0
    checkpoints.write(1, {"number": torch.tensor(1)}, "")
    assert checkpoints.due()


def test_an_interval_in_seconds_is_kept_to(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SFDDM_CHECKPOINT_SECONDS", "2.5")
    checkpoints = Checkpoints(tmp_path, {})
    checkpoints.read(0, 1000)
    assert due_after(checkpoints, clock) == 2.5


def test_the_time_that_a_training_took_adds_up_over_its_processes(tmp_path: Path, clock: Clock) -> None:
    clock.now = 1000.0
    for step, (seconds, earlier) in enumerate([(30.0, 0.0), (5.0, 30.0), (0.5, 35.0)], 1):
        checkpoints = Checkpoints(tmp_path, {})
        checkpoints.read(0, 1000)
        assert checkpoints.earlier_seconds == earlier
        clock.now += seconds
        checkpoints.write(step, {"number": torch.tensor(step)}, "")


def key(inputs: dict[str, object] | None = None) -> str:
    """The name of the folder of these inputs' training."""
    return Checkpoints(Path("nowhere"), INPUTS if inputs is None else inputs).folder.name


def test_a_key_is_the_same_for_the_same_inputs_in_any_order() -> None:
    assert key() == key(dict(reversed(INPUTS.items()))) and len(key()) == 16
    assert len({key(), key({**INPUTS, "seed": 1}), key({"seed": 0}), key({})}) == 4


def test_a_training_on_one_kind_of_machine_never_goes_on_on_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """tests/test_machine.py has what a machine's kind depends on."""
    before = key()
    monkeypatch.setattr(module, "machine", lambda processes: {**machine(processes), "processor": "another"})
    assert key() != before


def test_a_key_depends_on_the_number_of_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {key()}
    for count in (2, 3):
        one_of(monkeypatch, 1, count)
        keys.add(key())
        one_of(monkeypatch, 0, count)
        keys.add(key())
    assert len(keys) == 3, "one for all processes of each number"
