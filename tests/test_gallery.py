"""Examples: what activates them, and what commands say of those that are not active."""

import shutil
from pathlib import Path

import pytest

from sfddm.pipeline.params import active
from sfddm.spec.read import spec_names
from tests.parts import TINY, only_spec
from tests.project import ROOT
from tests.typed import sfddm

EXAMPLE = "digits-folds"


@pytest.fixture
def specs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder specs of a project whose one active spec is tiny, and which has all examples."""
    only_spec(tmp_path)
    shutil.copytree(ROOT / "specs/gallery", tmp_path / "specs/gallery")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "specs"


def test_check_looks_at_active_specs_or_at_examples(
    specs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sfddm(monkeypatch, "spec", "check") == 0
    assert capsys.readouterr().out.splitlines() == ["tiny: 2 students, 2 runs, valid"]
    for path in (specs / "gallery").glob("*.yaml"):
        if path.stem not in (EXAMPLE, "digits-ablation"):
            path.unlink()
    broken = specs / "gallery/digits-ablation.yaml"
    broken.write_text(broken.read_text().replace("timesteps: 1024", "timesteps: none"))
    assert sfddm(monkeypatch, "spec", "check", "--gallery") == 2
    printed = capsys.readouterr()
    assert printed.out.startswith(f"{EXAMPLE}: 3 students") and "specs/gallery/digits-ablation.yaml:" in printed.err
    assert sfddm(monkeypatch, "spec", "check", "--gallery", "tiny") == 2
    assert "--gallery checks all examples" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        ("spec", "check", EXAMPLE),
        ("spec", "show", EXAMPLE),
        ("index-set", "show", EXAMPLE),
        ("plan", EXAMPLE),
        ("report", EXAMPLE),
        ("ui", EXAMPLE),
        ("track", EXAMPLE),
        ("sample", f"{EXAMPLE}-ddim-t128-s0"),
        ("export", f"{EXAMPLE}-ddim-t128-s0", "out", "--format", "onnx"),
        ("promote", f"{EXAMPLE}-ddim-t128-s0"),
        ("compare", f"{EXAMPLE}-ddim-t128-s0", "tiny-ddim-t4-s0"),
    ],
    ids=lambda command: "-".join(command[:2]) if command[0] in ("spec", "index-set") else command[0],
)
def test_commands_say_that_a_name_is_an_examples(
    specs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    assert sfddm(monkeypatch, *command) == 2
    assert f"{EXAMPLE} is an example: `sfddm new {EXAMPLE}` activates it." in capsys.readouterr().err


def test_a_run_of_an_active_spec_is_not_taken_for_an_examples(
    specs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The longest name of a spec that a run's begins with is its spec's."""
    name = f"{EXAMPLE}-mine"
    (specs / f"{name}.yaml").write_text(TINY.replace("name: tiny", f"name: {name}"))
    assert sfddm(monkeypatch, "sample", f"{name}-our-t4-s0") == 2
    assert f"did you mean '{name}-ours-t4-s0'?" in capsys.readouterr().err


def test_a_misspelt_example_is_answered_with_what_activates_it(
    specs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sfddm(monkeypatch, "report", "digits-fold") == 2
    words = f"did you mean '{EXAMPLE}', an example that `sfddm new {EXAMPLE}` activates?"
    assert words in capsys.readouterr().err


def test_all_examples_can_be_active_at_once(specs: Path) -> None:
    """No two specs have a run of the same name."""
    shutil.copy(ROOT / "specs/digits.yaml", specs)
    for path in (specs / "gallery").glob("*.yaml"):
        shutil.copy(path, specs)
    specs_found, faults = active()
    assert [spec.name for spec in specs_found] == spec_names() and faults == []
