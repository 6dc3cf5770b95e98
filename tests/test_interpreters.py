"""A stage that another Python starts than the one that sfddm was installed for."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.project import ROOT

pytestmark = pytest.mark.process
REMEDY = "Type `. .venv/bin/activate`, or `make setup` first if there is no .venv, and then try again."


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python without packages."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    return folder / "bin" / "python"


def said(*command: str | Path) -> list[str]:
    """The lines that a command prints, which has to end with 2."""
    ended = subprocess.run(command, cwd=ROOT, env={}, capture_output=True, text=True)
    assert ended.returncode == 2 and ended.stdout == "", ended.stderr
    return ended.stderr.splitlines()


def test_a_python_without_the_packages_says_so_in_two_lines(bare: Path) -> None:
    problem, remedy = said(bare, "-m", "stages.data", "digits")
    assert problem.startswith(f"error: {bare} has no attrs, ") and "torch" in problem
    assert remedy == REMEDY


def test_an_old_python_says_so_in_two_lines(bare: Path) -> None:
    problem, remedy = said(bare, "-c", "import sys; sys.version_info = (3, 8, 18); import stages.data")
    assert problem == f"error: {bare} is Python 3.8: stages need 3.11 or newer."
    assert remedy == REMEDY


def test_old_pythons_can_parse_what_says_so() -> None:
    """As far as this Python knows the older ones: without f-strings, annotations of variables and the like."""
    ast.parse((ROOT / "stages/__init__.py").read_text(), feature_version=(3, 4))
