"""The command line's own promises."""

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from sfddm.cli import main
from sfddm.diffusion.sampler import Sampler
from sfddm.networks.contract import Contract
from sfddm.networks.layout import CONTRACT, write_sampler
from sfddm.pipeline.paths import Paths
from sfddm.runtime.files import write_json
from tests.parts import only_spec

HEAVY = ("torch", "diffusers", "mlflow", "numpy", "sklearn", "dvc", "matplotlib", "ruamel.yaml")


COMMANDS = ("", "spec", "sample", "compare", "export", "teacher inspect")
SCRIPT = f"""
import sys
from sfddm.cli import main

for command in {COMMANDS}:
    sys.argv[1:] = [*command.split(), "--help"]
    try:
        main()
    except SystemExit:
        print(command, [name for name in {HEAVY} if name in sys.modules])
"""


@pytest.mark.process
def test_help_imports_nothing_heavy() -> None:
    """In one process: what one command imports is there for all that come after it."""
    output = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True).stdout
    assert output.count("Usage: ") == len(COMMANDS)
    assert [line for line in output.splitlines() if line.endswith("]")] == [f"{command} []" for command in COMMANDS]


MISTAKES = {
    "sample tiny-ours-t4-s0 --out x.gif": "expected a name that ends in .png or .npz",
    "sample tiny-our-t4-s0": "did you mean 'tiny-ours-t4-s0'?",
    "sample tiny-ours-t4-s0 --levels 3,40": "they end at 40",
    "sample tiny-ours-t4-s0 --levels 3;64": "expected noise levels as in",
    "sample tiny-ours-t4-s0 --steps 65": "the teacher has 64",
    "sample tiny-ddim-t4-s0": "has not been made: run `sfddm run tiny`",
    "export tiny-ours-t4-s0 specs --format onnx": "specs is there already",
    "export tiny-our-t4-s0 out --format onnx": "did you mean 'tiny-ours-t4-s0'?",
    "compare tiny-ours-t4-s0 tiny-our-t4-s0": "tiny-ours-t4-s0 has not been evaluated",
    "compare tiny-our-t4-s0 x": "did you mean 'tiny-ours-t4-s0'?",
    "report tinny": "did you mean 'tiny'?",
    "report tiny": "has not been evaluated: run `sfddm run tiny`",
    "advise tinny": "did you mean 'tiny'?",
    "list tinny": "did you mean 'tiny'?",
    "plan tinny": "did you mean 'tiny'?",
    "ui tinny": "did you mean 'tiny'?",
    "index-set search tinny 4": "did you mean 'tiny'?",
    "index-set search tiny 65": "65 steps can't be chosen",
    "index-set search tiny 4": "train the teacher first",
    "teacher inspect none": "none is missing",
    "teacher inspect ../none": "../none: there is no such folder",
    "teacher inspect ~/none": "~/none: there is no such folder",
    "teacher inspect a/b/c": "expected a folder, a checkpoint",
    "new tiny": "is there already",
    "new mine --images none": "none is not a folder",
    "new mine --teacher none": "none is missing",
}
"""Commands that can't be carried out, and what they say."""
SLOW = ("torch", "diffusers", "mlflow", "matplotlib", "dvc")
"""What takes seconds to import."""
REFUSED = f"""
import contextlib, io, json, sys
from sfddm.cli import main

for command in {list(MISTAKES)}:
    sys.argv[1:] = command.split()
    with contextlib.redirect_stderr(io.StringIO()) as said:
        try:
            main()
        except SystemExit as end:
            code = end.code
    print(json.dumps([command, code, " ".join(said.getvalue().split()), [n for n in {SLOW} if n in sys.modules]]))
"""


@pytest.mark.process
def test_mistakes_are_told_before_anything_slow_is_imported(tmp_path: Path) -> None:
    only_spec(tmp_path)
    student = tmp_path / Paths("tiny").student("ours-t4", 0)
    student.mkdir(parents=True)
    write_sampler(student, Sampler(solver="ddim", levels=(16, 32, 48, 64), clip_sample=True))
    write_json(student / CONTRACT, Contract(timesteps=64, noise_schedule="cosine", prediction="v").to_json())
    done = subprocess.run([sys.executable, "-c", REFUSED], cwd=tmp_path, capture_output=True, text=True, check=True)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [command for command, *_ in found] == list(MISTAKES)
    assert [each for each in found if each[1] != 2 or MISTAKES[each[0]] not in each[2] or each[3]] == []


def test_a_folder_inside_a_project_is_told_where_the_root_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    only_spec(tmp_path)
    (tmp_path / "dvc.yaml").touch()
    (tmp_path / "docs/figures").mkdir(parents=True)
    for folder, arguments, code in (
        ("docs/figures", ["list"], 2), ("specs", ["spec", "sync"], 2), (".", ["list"], 0), ("docs", ["--version"], 0),
        ("docs", ["list", "--help"], 0),
    ):  # fmt: skip
        monkeypatch.chdir(tmp_path / folder)
        monkeypatch.setattr("sys.argv", ["sfddm", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert (ended.value.code or 0) == code, (folder, arguments)
        assert (f"`cd {tmp_path}` first" in capsys.readouterr().err.replace("\n", "")) == (code == 2)


def test_the_version_is_the_packages(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["sfddm", "--version"])
    with pytest.raises(SystemExit):
        main()
    assert capsys.readouterr().out == f"sfddm {version('sfddm')}\n"
