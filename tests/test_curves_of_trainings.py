"""The curve of a training: which points are written, when, and what a reader finds; and the line that shows it."""

import json
from pathlib import Path

import pytest

from sfddm.errors import UserError
from sfddm.runtime import progress
from sfddm.training.curve import Curve, read_points
from tests.clocks import Clock
from tests.ranks import one_of


def steps_due(path: Path, iterations: int) -> list[int]:
    curve = Curve(path, "test", iterations, 1)
    return [step + 1 for step in range(iterations) if curve.due(step)]


def test_points_are_evenly_spaced_and_the_last_iteration_has_one(tmp_path: Path) -> None:
    assert steps_due(tmp_path / "c", 7) == [1, 2, 3, 4, 5, 6, 7]
    assert steps_due(tmp_path / "c", 100) == list(range(1, 101))
    assert steps_due(tmp_path / "c", 400) == list(range(4, 401, 4))
    assert steps_due(tmp_path / "c", 350) == [*range(4, 349, 4), 350]


@pytest.mark.parametrize("iterations", [1, 99, 100, 101, 199, 201, 937, 1395])
def test_there_are_at_most_100_points(tmp_path: Path, iterations: int) -> None:
    due = steps_due(tmp_path / "c", iterations)
    assert len(due) <= 100 and due[-1] == iterations


def test_a_point_is_in_the_file_as_soon_as_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a/new/folder/curve.jsonl"
    with Curve(path, "test", 3, 1) as curve:
        assert path.read_text() == curve.text == ""
        curve.write(0, {"loss": 0.5, "learning_rate": 0.1})
        curve.write(1, {"loss": 0.25, "learning_rate": 0.2})
        written = [{"step": 1, "loss": 0.5, "learning_rate": 0.1}, {"step": 2, "loss": 0.25, "learning_rate": 0.2}]
        assert [json.loads(line) for line in path.read_text().splitlines()] == written == read_points(path)
        assert path.read_text() == curve.text


def test_a_curve_makes_the_folders_that_it_is_in(tmp_path: Path) -> None:
    with Curve(tmp_path / "scratch/curves/test.jsonl", "test", 1, 1):
        pass
    assert (tmp_path / "scratch/curves/test.jsonl").read_text() == ""


def test_a_new_curve_takes_the_place_of_an_old_one(tmp_path: Path) -> None:
    path = tmp_path / "curve.jsonl"
    path.write_text('{"step": 9}\n')
    Curve(path, "test", 3, 1)
    assert read_points(path) == []


def test_a_training_that_goes_on_has_its_own_points_alone(tmp_path: Path) -> None:
    path = tmp_path / "curve.jsonl"
    with Curve(path, "test", 3, 1) as curve:
        for step in range(3):
            curve.write(step, {"loss": 1.0})
        curve.restore('{"step": 1, "loss": 7.0}\n', 1)
        curve.write(1, {"loss": 8.0})
        assert path.read_text() == curve.text == '{"step": 1, "loss": 7.0}\n{"step": 2, "loss": 8.0}\n'


def test_a_line_that_is_still_being_written_is_left_for_later(tmp_path: Path) -> None:
    path = tmp_path / "curve.jsonl"
    assert read_points(path) == []
    path.write_text('{"step": 1}\n{"step": 2}\n{"ste')
    assert read_points(path) == [{"step": 1}, {"step": 2}]


@pytest.mark.parametrize("line", ['{"step": NaN}', '{"step": 1', "x"])
def test_a_line_that_is_no_point_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "curve.jsonl"
    path.write_text(f'{{"step": 1}}\n{line}\n')
    with pytest.raises(UserError, match=r"curve\.jsonl is damaged"):
        read_points(path)


def test_of_several_processes_the_first_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "curve.jsonl"
    one_of(monkeypatch, 1, 2)
    with Curve(path, "test", 3, 1) as curve:
        curve.restore('{"step": 1}\n', 1)
        curve.write(1, {"loss": 1.0})
    assert not path.exists() and curve.text == '{"step": 1}\n{"step": 2, "loss": 1.0}\n', "the same text everywhere"
    one_of(monkeypatch, 0, 2)
    Curve(path, "test", 3, 1)
    assert path.exists()


def test_a_full_disk_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    curve = Curve(Path("/dev/full"), "test", 3, 1)
    with pytest.raises(UserError, match=r"could not write /dev/full: No space left"):
        curve.write(0, {"loss": 1.0})
    curve.__exit__()


def test_the_line_tells_the_loss_the_rate_and_the_time_that_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    with Curve(tmp_path / "curve.jsonl", "teacher", 100, 8) as curve:
        clock.now = 20.0
        curve.write(9, {"loss": 0.12345})  # 10 iterations in 20 s
        curve.restore("", 50)
        clock.now = 35.0
        curve.write(59, {"loss": 2.0})  # 10 iterations since it went on, 15 s ago
    shown = ["teacher: 10/100, loss 0.1235, 4.00 img/s, 180 s left", "teacher: 60/100, loss 2, 5.33 img/s, 60 s left"]
    assert capsys.readouterr().err.splitlines() == shown


def test_on_a_terminal_a_bar_lasts_as_long_as_the_training_and_the_file_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    path, hidden, shown = tmp_path / "curve.jsonl", "\x1b[?25l", "\x1b[?25h"
    with Curve(path, "teacher", 100, 8) as curve:
        assert hidden in capsys.readouterr().err, "a bar hides the cursor"
        assert path in opened()
        curve.write(9, {"loss": 0.5})
    assert shown in capsys.readouterr().err
    assert path not in opened()


def opened() -> list[Path]:
    """The files that this process has open."""
    links = list(Path("/proc/self/fd").iterdir())
    return [link.readlink() for link in links if link.is_symlink()]
