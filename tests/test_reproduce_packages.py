"""What `sfddm reproduce` says of packages that are not those of requirements.lock."""

from pathlib import Path

import pytest

from sfddm.errors import UserError
from sfddm.registry import packages as module
from sfddm.registry.packages import DECIDING, packages_item
from tests.project import ROOT

LOCK = """\
# comments count for nothing
--index-url https://example.org
Jinja2==3.1.4 \\
    --hash=sha256:0000 \\
    --hash=sha256:1111
torch==2.15.0 ; python_version >= '3' \\
    --hash=sha256:2222
torch==1.0 ; python_version < '3'
numpy==2.4.6
some-extra==1.0
"""
INSTALLED = {"Jinja2": "3.1.4", "torch": "2.15.0+cu132", "numpy": "2.4.6"}


@pytest.fixture
def lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = Path("requirements.lock")
    path.write_text(LOCK)
    return path


def install(monkeypatch: pytest.MonkeyPatch, **versions: str) -> None:
    there = {**INSTALLED, **versions}

    def version(name: str) -> str:
        if name not in there:
            raise module.PackageNotFoundError(name)
        return there[name]

    monkeypatch.setattr(module, "version", version)


def test_installed_packages_that_are_the_pinned_ones_are_said_to_be(
    lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A build of torch for some GPU is that version; an extra that is not installed is no difference."""
    install(monkeypatch)
    found = packages_item(lock)
    assert found.verdict == "as in requirements.lock" and found.passed and found.name == "packages"


def test_other_packages_are_named_those_first_that_may_change_numbers_and_are_no_fault(
    lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, Jinja2="3.1.5", torch="2.14.0+cpu", numpy="2.5.0rc1")
    found = packages_item(lock)
    assert found.passed and found.verdict == (
        "other than in requirements.lock: numpy 2.5.0rc1 in place of 2.4.6, torch 2.14.0+cpu in place of 2.15.0 "
        "(may change numbers); Jinja2 3.1.5 in place of 3.1.4 (change no numbers)"
    )
    install(monkeypatch, Jinja2="3.1.5")
    assert packages_item(lock).verdict.endswith("lock: Jinja2 3.1.5 in place of 3.1.4 (change no numbers)")


def test_a_commit_without_a_lock_file_pins_nothing(lock: Path) -> None:
    lock.unlink()
    assert packages_item(lock).verdict == "the commit has no requirements.lock" and packages_item(lock).passed


def test_a_damaged_lock_file_is_refused(lock: Path) -> None:
    lock.write_text("numpy==\n<<<<<<< HEAD\n")
    with pytest.raises(UserError, match=r"requirements\.lock is damaged \(.*`git checkout requirements\.lock`"):
        packages_item(lock)


def test_every_package_that_decides_numbers_is_pinned_under_that_name() -> None:
    pinned = module._pinned(ROOT / "requirements.lock")
    assert set(DECIDING) <= set(pinned)
