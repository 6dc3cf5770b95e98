"""The one writer: what appears under its final name is whole."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from sfddm.errors import UserError
from sfddm.networks.weights import write_tensors
from sfddm.runtime.files import atomic_file, atomic_folder, digest, digest_folder, read_json, write_json
from sfddm.runtime.locks import locked
from sfddm.training.curve import Curve
from tests.limits import full_disk

WRITERS: tuple[Callable[[Path], object], ...] = (
    lambda folder: np.save(folder / "a.npy", np.zeros(5000)),
    lambda folder: write_tensors(folder / "a.safetensors", {"a": torch.zeros(5000)}),
    lambda folder: (folder / "a.png").write_bytes(bytes(5000)),
    lambda folder: shutil.copyfile(folder.parent / "source", folder / "a"),
)
"""Every kind of writing that stages do in a folder that is being made."""


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_file(path) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_failed_folder_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "out") as partial:
        (partial / "a").write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_writer_left_is_cleared_away(tmp_path: Path) -> None:
    left = tmp_path / ".out.partial"
    left.mkdir()
    (left / "stale").write_text("x")
    with atomic_folder(tmp_path / "out") as partial:
        (partial / "fresh").write_text("y")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["fresh"]
    (tmp_path / ".a.partial").write_text("stale")
    with atomic_file(tmp_path / "a") as partial:
        assert not partial.exists()
        partial.write_text("fresh")


def test_a_folder_replaces_the_one_before(tmp_path: Path) -> None:
    for name in ("first", "second"):
        with atomic_folder(tmp_path / "out") as partial:
            (partial / name).write_text("x")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["second"]


def test_a_full_disk_is_a_users_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(bytes(5000))
    for write in WRITERS:
        with full_disk(1000), pytest.raises(UserError, match=r"could not write .*(File too large|disk full)"), \
                atomic_folder(tmp_path / "out") as folder:  # fmt: skip
            write(folder)
    with full_disk(1000), pytest.raises(UserError, match=r"could not write .*File too large"):
        write_json(tmp_path / "a.json", "x" * 5000)
    with full_disk(1000), pytest.raises(UserError, match=r"could not write .*curve: File too large"), \
            Curve(tmp_path / "curve", "test", 9000, 1) as curve:  # fmt: skip
        for step in range(9000):
            curve.write(step, {"loss": 1.0})
    assert {path.name for path in tmp_path.iterdir()} == {"source", "curve"}


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1, "a": 2})
    write_json(tmp_path / "b.json", {"a": 2, "b": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1}) != digest({"a": 1, "b": 2})


@pytest.mark.parametrize(
    ("content", "words"), [(None, "is missing"), (b'{"a": 1', "is damaged"), (b"\xff", "is damaged")]
)
def test_a_missing_or_damaged_file_says_what_to_do(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=words):
        read_json(path)


def test_a_folders_digest_is_that_of_names_and_bytes(tmp_path: Path) -> None:
    digests = set()
    for name, content in (("a", "x"), ("b", "x"), ("b", "y")):
        with atomic_folder(tmp_path / "out") as folder:
            (folder / name).write_text(content)
        digests.add(digest_folder(tmp_path / "out"))
    assert len(digests) == 3
    with pytest.raises(UserError, match="is missing"):
        digest_folder(tmp_path / "other")


@pytest.mark.process
def test_a_second_process_waits_and_says_for_whom(tmp_path: Path) -> None:
    script = (
        "import pathlib, sys, sfddm.runtime.locks\n"
        "with sfddm.runtime.locks.locked(pathlib.Path(sys.argv[1])): pathlib.Path(sys.argv[2]).touch()\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "a.lock"), str(tmp_path / "done")]
    with locked(tmp_path / "a.lock"):
        second = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert second.stderr is not None
        assert second.stderr.readline().startswith(f"process {os.getpid()} is making this: waiting")
        assert not (tmp_path / "done").exists()
    assert second.wait(timeout=60) == 0 and (tmp_path / "done").exists()


def test_nan_is_never_written_as_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        write_json(tmp_path / "figures.json", {"distance": float("nan")})
    assert list(tmp_path.iterdir()) == []
