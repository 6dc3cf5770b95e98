"""Images of another tool: read from a folder or an .npz, and judged beside the teacher's."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sfddm.errors import UserError
from sfddm.evaluation.judged import read_images
from sfddm.evaluation.statistics import measured, with_bias
from sfddm.runtime.files import read_json
from tests.project import Project
from tests.typed import sfddm

SHAPE = (3, 6, 6)


def images(count: int = 5, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *shape), dtype=np.uint8)


@pytest.mark.parametrize(("key", "last"), [("images", False), ("arr_0", True), ("arr_0", False)])
def test_an_npz_has_its_channels_first_or_last(tmp_path: Path, key: str, last: bool) -> None:
    wanted = images()
    np.savez(tmp_path / "a.npz", **{key: wanted.transpose(0, 2, 3, 1) if last else wanted})
    assert np.array_equal(read_images(tmp_path / "a.npz", SHAPE), wanted)


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path: Path) -> None:
    wanted = images(3)
    for name, image in zip(("b/0", "a", "c"), wanted[[1, 0, 2]], strict=True):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(image.transpose(1, 2, 0)).save(tmp_path / f"{name}.png")
    assert np.array_equal(read_images(tmp_path, SHAPE), wanted)


def write_text(path: Path) -> None:
    path.write_text("not an archive")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.npy", write_text, "ends in .npz"),
        ("a.npz", write_text, "damaged"),
        ("a.npz", lambda path: np.savez(path, labels=images()), "has labels: expected an array called images or arr_0"),
        ("a.npz", lambda path: np.savez(path, images=np.array([{}])), "damaged"),
    ],
)
def test_what_has_no_images_is_refused(tmp_path: Path, name: str, content: Any, words: str) -> None:
    content(tmp_path / name)
    with pytest.raises(UserError, match=words):
        read_images(tmp_path / name, SHAPE)


def test_the_teachers_own_images_are_as_far_as_the_teacher(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project.folder)
    own = np.load("runs/tiny/reference/images.npy")
    np.savez(tmp_path / "own.npz", images=own)
    np.savez(tmp_path / "dark.npz", arr_0=own[:100].transpose(0, 2, 3, 1) // 2)
    np.savez(tmp_path / "few.npz", images=own[:5])
    assert sfddm(monkeypatch, "judge", tmp_path / "own.npz", "--by", "tiny", "--out", tmp_path / "own.json") == 0
    found = read_json(tmp_path / "own.json")
    for name, said in found["scorers"].items():
        teachers = measured(found, "teacher_frechet_distance", name)
        assert teachers and said["frechet_distance_at_n"] == pytest.approx(with_bias(teachers, 1))
    shown = capsys.readouterr().out
    assert "256 images, by tiny" in shown and "1.00" in shown and "…" not in shown
    assert shown.count("  teacher") == 2 and "ratio: to the teacher's distance" in " ".join(shown.split())
    np.savez(tmp_path / "sorted.npz", images=own[np.argsort(own.mean((1, 2, 3)))])
    assert sfddm(monkeypatch, "judge", tmp_path / "sorted.npz", "--by", "tiny", "--out", tmp_path / "sorted.json") == 0
    for name, said in read_json(tmp_path / "sorted.json")["scorers"].items():
        for draw, values in said["frechet_distance_jackknife"].items():
            assert values == pytest.approx(found["scorers"][name]["frechet_distance_jackknife"][draw]), "in any order"
    capsys.readouterr()
    assert sfddm(monkeypatch, "judge", tmp_path / "dark.npz", "--by", "tiny", "--out", tmp_path / "dark.json") == 0
    dark = read_json(tmp_path / "dark.json")["scorers"]["pixels"]
    assert dark["frechet_distance"] > dark["teacher_frechet_distance"]
    assert "Beware: pixels: 100 images are few for 64 features" in capsys.readouterr().out
    for arguments, words in (
        ((tmp_path / "few.npz",), "5 images, and distances need at least"),
        ((tmp_path / "no.npz",), "is not there"),
        ((tmp_path / "own.npz", "--out", "a.txt"), "ends in .json"),
    ):
        assert sfddm(monkeypatch, "judge", *arguments, "--by", "tiny") == 2
        assert words in capsys.readouterr().err
